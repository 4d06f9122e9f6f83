// Where the records of an uncompressed ZIP file lie, as torch.save writes them (with or without the ZIP64 extension):
// https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace readback::checkpoint {

struct ZipRecord {
  uint64_t offset = 0;  // of the data, from the start of the file
  uint64_t size = 0;
};

// Records by name. `where` names the file in messages.
// Errors: CheckpointError for anything damaged, compressed or encrypted, out of range, or named twice.
std::map<std::string, ZipRecord> read_zip_directory(std::string_view bytes, const std::string& where);

}  // namespace readback::checkpoint
