// Names and locks in a run folder.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "readback/roundtrip/store.h"

namespace readback::roundtrip {

// A sample's id as a file name: letters, digits, '.', '-' and '_' stay, other bytes become %XX; long ids are cut and
// end in a hash. Different ids give different names.
std::string file_stem(const std::string& sample);

// Written beside the target, then renamed: a kill leaves no half of a file. Unlike write_file it does not wait for the
// disk (10 ms a picture on some), so a power failure may leave an empty file; a resume looks for those.
// Errors: StoreError.
void write_without_sync(const std::filesystem::path& path, std::string_view bytes);

// Errors: StoreError unless `folder` is missing, empty or holds a run.
void check_run_folder(const std::filesystem::path& folder);

nlohmann::json to_json(const Manifest& manifest);
Manifest read_manifest(const std::filesystem::path& folder);  // Errors: StoreError

// Errors: StoreError that lists every option and digest in which the two differ. What only one of them has a digest of
// is the checkpoint of a metric that the other start does without.
void check_same_run(const std::filesystem::path& folder, const Manifest& stored, const Manifest& asked);

}  // namespace readback::roundtrip
