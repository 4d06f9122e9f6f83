#include "readback/score/text/meteor/tables.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "readback/base/error.h"

namespace readback::score {

namespace fs = std::filesystem;
using namespace meteor_format;

namespace {

constexpr const char* kRemedy =
    "Make it with: readback score prepare-meteor --package DIR/pycocoevalcap/meteor (DIR is the Location that `pip "
    "show pycocoevalcap` prints)";

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

fs::path meteor_tables_path() {
  if (const char* path = environment("READBACK_METEOR")) return path;
  const fs::path name = fs::path("readback") / "meteor-en.bin";
  if (const char* data = environment("XDG_DATA_HOME")) return data / name;
  const char* home = environment("HOME");
  return fs::path(home ? home : ".") / ".local/share" / name;
}

bool has_meteor_tables() {
  std::error_code ignored;
  return fs::is_regular_file(meteor_tables_path(), ignored);
}

std::shared_ptr<const MeteorTables> MeteorTables::load(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw DataError(describe("METEOR", "its tables in " + path.string(), std::strerror(errno), kRemedy));
  struct stat status {};
  void* bytes = MAP_FAILED;
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    bytes = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  }
  ::close(file);
  if (bytes == MAP_FAILED) throw DataError(describe(path.string(), "METEOR's tables", "not a readable file", kRemedy));
  std::shared_ptr<MeteorTables> tables(
      new MeteorTables(path, static_cast<const std::byte*>(bytes), static_cast<size_t>(status.st_size)));
  tables->check();
  return tables;
}

MeteorTables::MeteorTables(fs::path path, const std::byte* bytes, size_t size)
    : path_(std::move(path)), bytes_(bytes), size_(size) {}

MeteorTables::~MeteorTables() { ::munmap(const_cast<std::byte*>(bytes_), size_); }

void MeteorTables::fail(const std::string& expected, const std::string& got) const {
  throw DataError(describe(path_.string(), expected, got, kRemedy));
}

void MeteorTables::check() {
  if (size_ < sizeof header_) fail("METEOR's tables", fmt::format("{} bytes", size_));
  std::memcpy(&header_, bytes_, sizeof header_);
  if (header_.magic != kMagic) fail("METEOR's tables", "a file that begins otherwise");
  if (header_.version != kVersion) {
    fail(fmt::format("METEOR's tables of version {}", kVersion), fmt::format("version {}", header_.version));
  }
  if (header_.file_size != size_) {
    fail(fmt::format("{} bytes, as its header says", header_.file_size), fmt::format("{} bytes", size_));
  }
  for (size_t i = 0; i < kSections; ++i) {
    const auto [offset, count] = header_.sections[i];
    if (offset % 8 != 0 || offset > size_ || count > (size_ - offset) / kItemSizes[i]) {
      fail("sections within the file", fmt::format("section {} with {} items at byte {}", i, count, offset));
    }
  }
  const auto count = [this](Section id) { return header_.sections[id].count; };
  const uint64_t words = count(kFlags), nodes = count(kNodeWords);
  const bool words_agree =
      count(kTextEnds) == words + 1 && count(kSynsetEnds) == words + 1 && count(kIrregularEnds) == words + 1;
  const bool nodes_agree = nodes > 0 && count(kChildEnds) == nodes + 1 && count(kParaphraseEnds) == nodes + 1;
  if (!words_agree || !nodes_agree || words >= kNone || nodes >= kNone || !std::has_single_bit(count(kSlots))) {
    fail("sections of sizes that agree", fmt::format("{} words and {} phrases that do not", words, nodes));
  }
}

template <class T>
std::span<const T> MeteorTables::section(Section id) const {
  const Extent& extent = header_.sections[id];
  return {reinterpret_cast<const T*>(bytes_ + extent.offset), extent.count};
}

std::span<const uint32_t> MeteorTables::items(Section ends, Section values, uint32_t index) const {
  const auto bounds = section<uint32_t>(ends);
  const auto all = section<uint32_t>(values);
  const uint32_t begin = bounds[index], end = bounds[index + 1];
  if (begin > end || end > all.size()) fail("offsets within their section", fmt::format("[{}, {})", begin, end));
  return all.subspan(begin, end - begin);
}

std::string_view MeteorTables::text(uint32_t word) const {
  const auto ends = section<uint32_t>(kTextEnds);
  const auto all = section<char>(kText);
  if (word + 1 >= ends.size() || ends[word] > ends[word + 1] || ends[word + 1] > all.size()) {
    fail("words within the text", fmt::format("word {}", word));
  }
  return {all.data() + ends[word], ends[word + 1] - ends[word]};
}

uint32_t MeteorTables::find(std::string_view word) const {
  const auto slots = section<uint32_t>(kSlots);
  const size_t mask = slots.size() - 1;
  for (size_t probe = 0, slot = hash_word(word) & mask; probe <= mask; ++probe, slot = (slot + 1) & mask) {
    if (slots[slot] == 0) return kNone;
    if (text(slots[slot] - 1) == word) return slots[slot] - 1;
  }
  return kNone;
}

bool MeteorTables::has_flag(uint32_t word, Flag flag) const {
  return word != kNone && (section<uint8_t>(kFlags)[word] & flag) != 0;
}

std::span<const uint32_t> MeteorTables::synsets(uint32_t word) const {
  return word == kNone ? std::span<const uint32_t>() : items(kSynsetEnds, kSynsets, word);
}

std::span<const uint32_t> MeteorTables::irregular_synsets(uint32_t word) const {
  return word == kNone ? std::span<const uint32_t>() : items(kIrregularEnds, kIrregulars, word);
}

uint32_t MeteorTables::child(uint32_t node, uint32_t word) const {
  if (word == kNone) return kNone;
  const auto siblings = items(kChildEnds, kNodeWords, node);
  const auto found = std::lower_bound(siblings.begin(), siblings.end(), word);
  if (found == siblings.end() || *found != word) return kNone;
  return static_cast<uint32_t>(&*found - section<uint32_t>(kNodeWords).data());
}

std::span<const uint32_t> MeteorTables::paraphrases(uint32_t node) const {
  return items(kParaphraseEnds, kParaphrases, node);
}

}  // namespace readback::score
