// SHA-256 (FIPS 180-4), for telling files apart.
#pragma once
#include <string>
#include <string_view>

namespace readback {

// 64 hexadecimal digits, lower case.
std::string sha256_hex(std::string_view bytes);

}  // namespace readback
