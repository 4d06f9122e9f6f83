#include "readback/score/text/meteor/prepare.h"

#include <cstring>
#include <string>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "readback/score/text/meteor/archive.h"
#include "readback/score/text/meteor/build.h"
#include "readback/score/text/meteor/table_format.h"

namespace readback::score {

namespace fs = std::filesystem;

namespace {

constexpr const char* kJarDigest = "1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2";
constexpr const char* kParaphrasesDigest = "c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48";

std::string read_checked(const fs::path& path, const std::string& digest) {
  std::string bytes = read_file(path);
  if (const std::string found = sha256_hex(bytes); found != digest) {
    throw DataError(describe(path.string(), "SHA-256 " + digest, found, "Take the files of pycocoevalcap 1.2"));
  }
  return bytes;
}

}  // namespace

MeteorPreparation prepare_meteor_tables(const fs::path& package, const fs::path& output) {
  const fs::path jar_path = package / "meteor-1.5.jar", paraphrases_path = package / "data" / "paraphrase-en.gz";
  const std::string jar = read_checked(jar_path, kJarDigest);
  const auto member = [&](const char* name) { return read_zip_member(jar, name, jar_path.string()); };
  const std::string function_words = member("function/english.words"),
                    prefixes = member("nonbreaking/english.prefixes"), synsets = member("synonym/english.synsets"),
                    exceptions = member("synonym/english.exceptions"),
                    paraphrases = gunzip(read_checked(paraphrases_path, kParaphrasesDigest), paraphrases_path.string());
  const std::string bytes = build_meteor_tables({function_words, prefixes, synsets, exceptions, paraphrases});
  write_file(output, bytes);

  meteor_format::Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto count = [&header](meteor_format::Section id) { return header.sections[id].count; };
  return {bytes.size(), count(meteor_format::kFlags), count(meteor_format::kNodeWords) - 1,
          count(meteor_format::kParaphrases)};
}

}  // namespace readback::score
