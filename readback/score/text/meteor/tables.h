// What METEOR knows of English: function words, WordNet's synonyms and a table of paraphrases.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "readback/score/text/meteor/table_format.h"

namespace readback::score {

// $READBACK_METEOR when set, else readback/meteor-en.bin in $XDG_DATA_HOME or ~/.local/share.
std::filesystem::path meteor_tables_path();
bool has_meteor_tables();

// A file made by prepare_meteor_tables(), mapped into memory: loading reads the header only. Immutable, so that any
// number of threads may share it. What a damaged file says is checked where it is read: members throw DataError.
class MeteorTables {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Errors: DataError when the file is not there (it says which command makes it) or is not of this format.
  static std::shared_ptr<const MeteorTables> load(const std::filesystem::path& path = meteor_tables_path());
  ~MeteorTables();
  MeteorTables(const MeteorTables&) = delete;
  MeteorTables& operator=(const MeteorTables&) = delete;

  uint32_t find(std::string_view word) const;  // its number, or kNone
  bool has_flag(uint32_t word, meteor_format::Flag flag) const;

  // Synsets by WordNet's own base forms: of the word itself, and of its bases when it is an irregular form.
  std::span<const uint32_t> synsets(uint32_t word) const;
  std::span<const uint32_t> irregular_synsets(uint32_t word) const;

  // The phrase that continues phrase `node` (0: the empty one) with a word, or kNone.
  uint32_t child(uint32_t node, uint32_t word) const;
  // The phrases that mean the same as phrase `node`, in the order of the source.
  std::span<const uint32_t> paraphrases(uint32_t node) const;

 private:
  MeteorTables(std::filesystem::path path, const std::byte* bytes, size_t size);
  [[noreturn]] void fail(const std::string& expected, const std::string& got) const;
  void check();
  template <class T>
  std::span<const T> section(meteor_format::Section id) const;
  std::span<const uint32_t> items(meteor_format::Section ends, meteor_format::Section values, uint32_t index) const;
  std::string_view text(uint32_t word) const;

  std::filesystem::path path_;
  const std::byte* bytes_;
  size_t size_;
  meteor_format::Header header_{};
};

}  // namespace readback::score
