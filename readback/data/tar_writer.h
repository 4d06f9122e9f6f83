// Archives of tar, as GNU tar and Python's tarfile write them: regular files alone, without times and owners, so that
// equal contents make equal archives.
#pragma once
#include <cstdint>
#include <string>

namespace readback::data {

// The 512 bytes before a member's contents. `type`: '0' a file, 'L' GNU's long name of the next one, 'x' pax's. `name`
// and `prefix` are at most 100 and 155 bytes.
std::string tar_header(const std::string& name, int64_t size, char type = '0', const std::string& prefix = "");
// Header and contents, filled up to whole blocks. A name of more than 100 bytes goes before it as GNU writes it.
std::string tar_member(const std::string& name, const std::string& contents, char type = '0');
std::string tar_end();

}  // namespace readback::data
