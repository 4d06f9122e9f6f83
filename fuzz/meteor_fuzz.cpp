// Any bytes as METEOR's files: a gzip or zip file, made tables, or the five texts that tables are made of (between
// zero bytes); anything else changes numbers in tables that were whole. Whatever loads can score captions.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/memory_file.h"
#include "readback/base/error.h"
#include "readback/score/text/meteor/archive.h"
#include "readback/score/text/meteor/build.h"
#include "readback/score/text/meteor/meteor.h"
#include "readback/score/text/meteor/tables.h"

namespace {

using namespace readback::score;

constexpr MeteorSources kSources{"the\nof\na\n", "mr\nno #NUMERIC_ONLY#\n", "dog\n1 2\nhound\n1\nrun\n3 4\n",
                                 "run\nran\n",
                                 "0.5\na big dog\nhounds\n0.25\nran\nwas running\n0.1\nhounds\nthe dog\n"};

void score_with(const std::string& tables) {
  const MemoryFile file(reinterpret_cast<const uint8_t*>(tables.data()), tables.size());
  try {
    Meteor meteor(MeteorTables::load(file.path()));
    meteor.score("a big dog ran to mr. hound", std::vector<std::string>{"hounds was running", "the dogs ran"});
  } catch (const readback::DataError&) {
  }
}

// Records of five bytes: which 32-bit number, two bytes, and what is there: below 2^23 as it is, else from the top.
std::string changed_tables(std::string_view records) {
  static const std::string whole = build_meteor_tables(kSources);
  std::string tables = whole;
  for (; records.size() >= 5; records.remove_prefix(5)) {
    uint16_t where = 0;
    std::memcpy(&where, records.data(), 2);
    uint32_t value = 0;
    std::memcpy(&value, records.data() + 2, 3);
    if (value >= 1U << 23) value |= 0xFF000000U;
    std::memcpy(tables.data() + where % (tables.size() / 4) * 4, &value, 4);
  }
  return tables;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (bytes.starts_with("\x1f\x8b")) {
      gunzip(bytes, "fuzz");
    } else if (bytes.starts_with("PK")) {
      for (const char* member : {"stored.txt", "folder/deflated.txt"}) read_zip_member(bytes, member, "fuzz");
    } else if (bytes.starts_with("readback-meteor")) {
      score_with(std::string(bytes));
    } else if (bytes.starts_with("T")) {
      std::string_view texts[5];
      std::string_view rest = bytes.substr(1);
      for (std::string_view& text : texts) {
        text = rest.substr(0, rest.find('\0'));
        rest.remove_prefix(std::min(rest.size(), text.size() + 1));
      }
      score_with(build_meteor_tables({texts[0], texts[1], texts[2], texts[3], texts[4]}));
    } else {
      score_with(changed_tables(bytes));
    }
  } catch (const readback::DataError&) {
  }
  return 0;
}
