#include "readback/roundtrip/manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/options_difference.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kFormat = 2;
constexpr int kDeepest = 32;  // a run's options nest three deep
constexpr int64_t kMostCandidates = 1'000'000;
constexpr const char* kDamaged = "The file is damaged: restore it from a copy, or begin in another folder";

const char* kind_of(const json& value) { return value.is_discarded() ? "nothing" : value.type_name(); }

// json::parse that names the file, and takes no nesting that could exhaust the stack afterwards.
json parse(const std::string& text, const fs::path& file) {
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth <= kDeepest) return true;
    throw StoreError(describe(file.string(), "a run's options", "deeper nesting than any of them has", kDamaged));
  };
  try {
    return json::parse(text, shallow);
  } catch (const json::exception& reason) {
    throw StoreError(describe(file.string(), "a run's options as JSON", reason.what(), kDamaged));
  }
}

std::string dump(const json& value) { return value.dump(2, ' ', false, json::error_handler_t::replace); }

json or_object(const json& value) { return value.is_null() ? json::object() : value; }

json to_json(const Manifest& manifest) {
  return {{"format", kFormat},
          {"results_version", manifest.results_version},
          {"device", manifest.device},
          {"options", or_object(manifest.options)},
          {"digests", or_object(manifest.digests)},
          {"about", or_object(manifest.about)}};
}

// The values of an object that must be there and of a type.
class Reader {
 public:
  Reader(const json& object, const fs::path& file) : object_(object), file_(file) {}

  const json& object(const char* key) const {
    const json& value = at(key, "an object");
    if (!value.is_object()) fail(key, "an object", kind_of(value));
    return value;
  }
  int64_t integer(const char* key, int64_t least, int64_t most) const {
    const std::string expected = fmt::format("an integer from {} to {}", least, most);
    const json& value = at(key, expected);
    if (!value.is_number_integer()) fail(key, expected, value.is_number() ? value.dump() : kind_of(value));
    const bool large = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(most);
    if (large || value.get<int64_t>() < least || value.get<int64_t>() > most) fail(key, expected, value.dump());
    return value.get<int64_t>();
  }
  uint64_t unsigned_integer(const char* key) const {
    const json& value = at(key, "an integer of 0 or more");
    if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<int64_t>() < 0)) {
      fail(key, "an integer of 0 or more", value.is_number() ? value.dump() : kind_of(value));
    }
    return value.get<uint64_t>();
  }
  std::string text(const char* key) const {
    const json& value = at(key, "a string");
    if (!value.is_string()) fail(key, "a string", kind_of(value));
    return value.get<std::string>();
  }
  const json& at(const char* key, const std::string& expected) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(key, expected, "nothing");
    return *found;
  }
  [[noreturn]] void fail(const char* key, const std::string& expected, const std::string& got) const {
    throw StoreError(describe(fmt::format("{}, {}", file_.string(), key), expected, got, kDamaged));
  }

 private:
  const json& object_;
  const fs::path& file_;
};

Manifest from_json(const json& stored, const fs::path& file) {
  if (!stored.is_object()) throw StoreError(describe(file.string(), "an object", kind_of(stored), kDamaged));
  const Reader reader(stored, file);
  const int64_t format = reader.integer("format", 1, INT64_MAX);
  if (format > kFormat) {
    throw StoreError(describe(file.string(), fmt::format("format {} or earlier", kFormat), std::to_string(format),
                              "A later version of readback wrote it: use that one"));
  }
  Manifest manifest{reader.object("options"), reader.object("digests"), reader.object("about")};
  if (format == 1) {
    manifest.results_version = 1;
    const auto device = manifest.about.find("device");
    if (device != manifest.about.end() && device->is_string()) {
      manifest.device = device->get<std::string>().starts_with("cuda") ? "cuda" : "cpu";
    }
  } else {
    manifest.results_version = reader.integer("results_version", 1, INT64_MAX);
    manifest.device = reader.text("device");
  }
  return manifest;
}

// One line for each key whose values differ: "  num_candidates: 10 in the run, 5 now".
std::string differences(const std::string& title, const json& stored, const json& asked,
                        const json& defaults = json::object()) {
  std::string lines;
  for (const auto& [name, before, now] : option_differences(stored, asked, defaults)) {
    lines += fmt::format("\n  {}{}: {} in the run, {} now", title, name, before, now);
  }
  return lines;
}

std::string digest_kind(const json& digest) {
  if (!digest.is_string()) return "";
  const std::string text = digest.get<std::string>();
  return text.substr(0, text.find(':') == std::string::npos ? 0 : text.find(':'));
}

}  // namespace

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / "run.json";
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw StoreError(describe(folder.string(), "a run folder", "no run.json in it", "Give the folder of a run"));
  }
  std::string text;
  try {
    text = read_file(path);
  } catch (const DataError& reason) {
    throw StoreError(reason.what());
  }
  return from_json(parse(text, path), path);
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  write_file(folder / "run.json", dump(to_json(manifest)) + "\n");
}

Manifest normalized(const Manifest& manifest) { return from_json(json::parse(dump(to_json(manifest))), "run.json"); }

RunShape shape_of(const Manifest& manifest, const fs::path& file) {
  const Reader reader(manifest.options, file);
  RunShape shape;
  shape.num_candidates = reader.integer("num_candidates", 1, kMostCandidates);
  shape.seed = reader.unsigned_integer("seed");
  const std::string expected = "a list of i2t2i, t2i2t or both";
  const json& directions = reader.at("directions", expected);
  if (!directions.is_array() || directions.empty()) reader.fail("directions", expected, kind_of(directions));
  for (const json& item : directions) {
    const auto direction = item.is_string() ? find_direction(item.get<std::string>()) : std::nullopt;
    if (!direction || std::ranges::find(shape.directions, *direction) != shape.directions.end()) {
      reader.fail("directions", expected, directions.dump());
    }
    shape.directions.push_back(*direction);
  }
  return shape;
}

std::vector<std::string> check_same_run(const fs::path& folder, const Manifest& stored, const Manifest& asked,
                                        const json& defaults) {
  if (stored.results_version != asked.results_version) {
    throw StoreError(
        describe(folder.string(), fmt::format("a run of results version {} to go on with", asked.results_version),
                 fmt::format("results version {}, in which equal options give other results", stored.results_version),
                 "Choose another output folder. The run there can still be read and reported"));
  }
  json before = json::object(), now = json::object();
  std::vector<std::string> notes;
  for (const auto& [name, digest] : asked.digests.items()) {
    const auto found = stored.digests.find(name);
    if (found == stored.digests.end()) continue;
    if (digest_kind(*found) == digest_kind(digest)) {
      before[name] = *found;
      now[name] = digest;
    } else {
      notes.push_back(
          fmt::format("Whether the contents of the {} are as before cannot be told: its digest was {}, of "
                      "another kind than {} now.",
                      name, found->dump(), digest.dump()));
    }
  }
  const std::string lines =
      differences("", json::object({{"device", stored.device}}), json::object({{"device", asked.device}})) +
      differences("", stored.options, asked.options, defaults) + differences("contents of the ", before, now);
  if (!lines.empty()) {
    throw StoreError(describe(folder.string(), "to go on with the run in it",
                              "other options:" + lines + "\nGive the same options, or another output folder"));
  }
  return notes;
}

}  // namespace readback::roundtrip
