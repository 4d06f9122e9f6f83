#include "readback/score/text/spice/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace readback::score {

namespace {

constexpr size_t kKeyLength = 64;

std::string to_line(const std::string& key, const SpiceTable& table) {
  std::string line = key;
  for (const SpiceCounts& counts : table) {
    line += fmt::format(" {} {} {}", counts.matched, counts.candidate_only, counts.reference_only);
  }
  return line + " .\n";
}

bool parse_line(const std::string& line, std::string& key, SpiceTable& table) {
  std::istringstream fields(line);
  fields >> key;
  for (SpiceCounts& counts : table) fields >> counts.matched >> counts.candidate_only >> counts.reference_only;
  std::string end;
  return fields >> end && end == "." && key.size() == kKeyLength;
}

}  // namespace

SpiceCache::SpiceCache(std::filesystem::path path) : path_(std::move(path)) {
  std::ifstream stream(path_);
  std::string key;
  SpiceTable table;
  for (std::string line; std::getline(stream, line);) {
    if (parse_line(line, key, table)) tables_.insert_or_assign(key, table);
  }
}

const SpiceTable* SpiceCache::find(const std::string& key) const {
  const auto found = tables_.find(key);
  return found == tables_.end() ? nullptr : &found->second;
}

void SpiceCache::put(std::span<const std::pair<std::string, SpiceTable>> results) {
  std::string lines = "\n";  // ends what a killed process may have left; alone it is a line without a key
  for (const auto& [key, table] : results) {
    tables_.insert_or_assign(key, table);
    lines += to_line(key, table);
  }
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  ::flock(file, LOCK_EX);
  for (std::string_view rest = lines; !rest.empty();) {
    const ssize_t count = ::write(file, rest.data(), rest.size());
    if (count <= 0) break;
    rest.remove_prefix(static_cast<size_t>(count));
  }
  ::close(file);
}

}  // namespace readback::score
