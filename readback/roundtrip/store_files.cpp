#include "readback/roundtrip/store_files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int kFormat = 1;

std::string dotted(std::string pointer) {
  for (char& c : pointer) {
    if (c == '/') c = '.';
  }
  return pointer.substr(1);
}

// One line for each key whose values differ: "  num_candidates: 10 in the run, 5 now".
std::string differences(const std::string& title, const json& stored, const json& asked) {
  if (stored == asked) return "";
  const json before = stored.flatten(), now = asked.flatten();
  std::set<std::string> keys;
  for (const auto& [key, value] : before.items()) keys.insert(key);
  for (const auto& [key, value] : now.items()) keys.insert(key);
  std::string lines;
  for (const std::string& key : keys) {
    const std::string old_value = before.contains(key) ? before.at(key).dump() : "absent";
    const std::string new_value = now.contains(key) ? now.at(key).dump() : "absent";
    if (old_value == new_value || key.empty()) continue;
    lines += fmt::format("\n  {}{}: {} in the run, {} now", title, dotted(key), old_value, new_value);
  }
  return lines;
}

// The entries of `a` whose keys `b` has too.
json shared(const json& a, const json& b) {
  json result = json::object();
  for (const auto& [key, value] : a.items()) {
    if (b.contains(key)) result[key] = value;
  }
  return result;
}

}  // namespace

std::string file_stem(const std::string& sample) {
  constexpr size_t kLongest = 120;
  std::string stem;
  for (const char c : sample) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || (c == '.' && !stem.empty());
    stem += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  if (stem.size() > kLongest) stem = stem.substr(0, kLongest) + fmt::format("%{:016x}", fnv1a(sample));
  return stem;
}

void write_without_sync(const fs::path& path, std::string_view bytes) {
  const fs::path partial = path.string() + ".partial";
  const auto attempt = [&] {
    std::FILE* file = std::fopen(partial.c_str(), "wb");
    if (!file) return errno;
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const int write_error = errno;
    if (std::fclose(file) != 0) return errno;
    if (!written) return write_error;
    return ::rename(partial.c_str(), path.c_str()) == 0 ? 0 : errno;
  };
  if (const int error = attempt(); error != 0) {
    ::unlink(partial.c_str());
    throw StoreError(describe(path.string(), "to be written", std::strerror(error),
                              error == ENOSPC ? "Free some space and start again; what was committed is safe" : ""));
  }
}

void check_run_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) return;
  if (!fs::is_directory(folder, error)) throw StoreError(describe(folder.string(), "a folder", "a file"));
  if (fs::exists(folder / "run.json", error)) return;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("run.")) {
      throw StoreError(describe(folder.string(), "an empty folder or one that holds a run", "\"" + name + "\" in it",
                                "Give another --output"));
    }
  }
}

json to_json(const Manifest& manifest) {
  return {{"format", kFormat}, {"options", manifest.options}, {"digests", manifest.digests}, {"about", manifest.about}};
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / "run.json";
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw StoreError(describe(folder.string(), "a run folder", "no run.json in it", "`readback run` makes one"));
  }
  try {
    const json stored = read_json(path);
    if (stored.at("format") != kFormat) {
      throw StoreError(describe(path.string(), fmt::format("format {}", kFormat), stored.at("format").dump(),
                                "Another version of readback wrote it"));
    }
    return {stored.at("options"), stored.at("digests"), stored.at("about")};
  } catch (const json::exception& reason) {
    throw StoreError(describe(path.string(), "a run's options", reason.what()));
  } catch (const DataError& reason) {
    throw StoreError(reason.what());
  }
}

void check_same_run(const fs::path& folder, const Manifest& stored, const Manifest& asked) {
  const std::string lines =
      differences("", stored.options, asked.options) +
      differences("contents of the ", shared(stored.digests, asked.digests), shared(asked.digests, stored.digests));
  if (lines.empty()) return;
  throw StoreError(describe(folder.string(), "to go on with the run in it",
                            "other options:" + lines + "\nGive the same options, or another --output"));
}

}  // namespace readback::roundtrip
