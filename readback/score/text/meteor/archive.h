// Reads gzip files and members of zip files, with zlib.
#pragma once
#include <string>
#include <string_view>

namespace readback::score {

// `where` names the file in errors: DataError when the bytes are damaged, cut off or of a kind that is not read.
std::string gunzip(std::string_view bytes, const std::string& where);

// One stored or deflated member; its checksum is compared. No encryption, no zip64.
std::string read_zip_member(std::string_view zip, std::string_view member, const std::string& where);

}  // namespace readback::score
