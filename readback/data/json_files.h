// JSON of strangers: bounded in depth, and without what nobody reads.
#pragma once
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "readback/data/problems.h"

namespace readback::data {

// Errors: nlohmann::json::exception, also for more than 64 levels.
nlohmann::json parse_json(std::string_view text);
// Whether a text that is no JSON ends too early, or is another kind of text.
Damage damage_of(const nlohmann::json::exception& error);

// The file's value without the members of objects that `dropped` names (Karpathy's files are mostly words that their
// sentences hold, too). Nothing where `problems` was told that it is cut, damaged or not in UTF-8.
std::optional<nlohmann::json> read_json_file(const std::filesystem::path& path,
                                             std::initializer_list<const char*> dropped, Problems& problems);

// Where the beginning of a JSON text has values: "images[].file_name", "[].image" in a list of objects. Empty for other
// texts.
std::set<std::string> json_keys(std::string_view head);

}  // namespace readback::data
