// The known answers of tools/reference/text.py.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/source_dir.h"

namespace readback::text::testing {

using Json = nlohmann::ordered_json;

inline std::filesystem::path goldens() { return tests::source_dir() / "tests/goldens/text"; }

inline Json golden(const std::string& name) {
  std::ifstream stream(goldens() / name);
  return Json::parse(stream);
}

// The digest of tools/reference/text.py, of lists that come one after the other.
class Digest {
 public:
  template <typename Values>
  void add(const Values& values) {
    for (const auto value : values) step(static_cast<uint64_t>(value) + 2);
    step(1);
  }
  void add(const std::string& text) { add(std::vector<uint8_t>(text.begin(), text.end())); }
  std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum_));
    return text;
  }

 private:
  void step(uint64_t value) { sum_ += value * (++count_ * 0x9E3779B97F4A7C15u | 1); }
  uint64_t sum_ = 0, count_ = 0;
};

template <typename Values>
std::string digest(const Values& values) {
  Digest one;
  one.add(values);
  return one.hex();
}

// [piece, how often] pairs.
inline std::string text_of(const Json& pieces) {
  std::string text;
  for (const Json& piece : pieces) {
    for (int i = 0; i < piece[1].get<int>(); ++i) text += piece[0].get_ref<const std::string&>();
  }
  return text;
}

// Long lists and texts are kept as their length and digest.
inline Json compact(const std::vector<int64_t>& ids) {
  if (ids.size() <= 200) return ids;
  return {{"count", ids.size()}, {"digest", digest(ids)}};
}
inline Json shorten(const std::string& text) {
  size_t characters = 0;
  for (const char c : text) characters += (c & 0xC0) != 0x80;
  if (characters <= 400) return text;
  return {{"characters", characters}, {"digest", digest(text)}};
}

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "readback-text-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  void copy(const std::filesystem::path& file) const {
    std::filesystem::copy_file(file, path_ / file.filename(), std::filesystem::copy_options::overwrite_existing);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace readback::text::testing
