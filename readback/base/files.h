// Whole-file reading and atomic writing.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace readback {

// Errors: DataError (or CheckpointError, as the caller wraps it) naming the path and the system's reason.
std::string read_file(const std::filesystem::path& path);
nlohmann::json read_json(const std::filesystem::path& path);

// Writes beside the target, syncs, then renames: a full disk or a kill leaves the old file whole. Errors: StoreError.
void write_file(const std::filesystem::path& path, std::string_view bytes);

}  // namespace readback
