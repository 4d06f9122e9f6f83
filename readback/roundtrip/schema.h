// The tables of run.sqlite.
#pragma once
#include <cstdint>
#include <filesystem>

#include "readback/roundtrip/database.h"

namespace readback::roundtrip {

// Makes the tables where there are none. Errors: StoreError (tables of another version).
void prepare_schema(Database& database, const std::filesystem::path& file);
// The version of tables that can be read. Errors: StoreError (none yet, or of a later version).
int64_t readable_schema(Database& database, const std::filesystem::path& file);

}  // namespace readback::roundtrip
