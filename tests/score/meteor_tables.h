// The small tables of tests/goldens/score/meteor, as a file.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "readback/base/files.h"
#include "readback/score/text/meteor/build.h"
#include "tests/source_dir.h"

namespace readback::score {

inline const std::filesystem::path kMeteorGoldens = tests::source_dir() / "tests/goldens/score/meteor";

inline std::string small_meteor_tables() {
  const auto read = [](const char* name) { return read_file(kMeteorGoldens / "tables" / name); };
  const std::string words = read("function.words"), prefixes = read("english.prefixes"),
                    synsets = read("english.synsets"), exceptions = read("english.exceptions"),
                    paraphrases = read("paraphrases.txt");
  return build_meteor_tables({words, prefixes, synsets, exceptions, paraphrases});
}

// A folder of its own that is removed, and READBACK_METEOR set to a file in it that need not exist.
class MeteorFolder {
 public:
  MeteorFolder() {
    std::string name = testing::TempDir() + "readback_meteor_XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    if (const char* value = std::getenv("READBACK_METEOR")) before_ = value;
    ::setenv("READBACK_METEOR", file().c_str(), 1);
  }
  ~MeteorFolder() {
    before_ ? ::setenv("READBACK_METEOR", before_->c_str(), 1) : ::unsetenv("READBACK_METEOR");
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path folder() const { return folder_; }
  std::filesystem::path file() const { return folder_ / "meteor.bin"; }

 private:
  std::filesystem::path folder_;
  std::optional<std::string> before_;
};

}  // namespace readback::score
