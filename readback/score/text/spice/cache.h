// SPICE's results of earlier runs, so that the same captions need not start Java again.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "readback/score/text/spice/result.h"

namespace readback::score {

// A text file that only grows: a line is a key of 64 hexadecimal digits, the counts of each category and a full stop.
// Processes may append to it at the same time. Damaged lines are passed over; a file that cannot be written is no
// error.
class SpiceCache {
 public:
  explicit SpiceCache(std::filesystem::path path);

  const SpiceTable* find(const std::string& key) const;  // nullptr when unknown
  void put(std::span<const std::pair<std::string, SpiceTable>> results);

 private:
  std::filesystem::path path_;
  std::unordered_map<std::string, SpiceTable> tables_;
};

}  // namespace readback::score
