// Makes METEOR's tables out of the files of the pycocoevalcap package.
#pragma once
#include <cstdint>
#include <filesystem>

namespace readback::score {

struct MeteorPreparation {
  uint64_t bytes;  // written
  uint64_t words, phrases, paraphrases;
};

// Reads meteor-1.5.jar and data/paraphrase-en.gz in `package` (pycocoevalcap/meteor), both of which must have the
// SHA-256 digests of pycocoevalcap 1.2, and writes `output` at once or not at all. Takes about 600 MB of memory.
// Errors: DataError when a file is missing or another one, StoreError when the output cannot be written.
MeteorPreparation prepare_meteor_tables(const std::filesystem::path& package, const std::filesystem::path& output);

}  // namespace readback::score
