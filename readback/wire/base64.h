// Base64 (RFC 4648).
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace readback::wire {

std::string to_base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);  // none for what is not base64

}  // namespace readback::wire
