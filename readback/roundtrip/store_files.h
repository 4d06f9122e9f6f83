// Names and files in a run folder.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

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

}  // namespace readback::roundtrip
