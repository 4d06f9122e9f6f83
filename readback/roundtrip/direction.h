// The two round trips.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace readback::roundtrip {

// Image → text → image, and text → image → text.
enum class Direction { kI2T2I, kT2I2T };
constexpr std::array<const char*, 2> names_of(Direction) { return {"i2t2i", "t2i2t"}; }  // see base/options.h
const char* name(Direction direction);                                                   // "i2t2i", "t2i2t"
std::optional<Direction> find_direction(std::string_view name);
// Errors: UsageError.
Direction parse_direction(const std::string& name);

}  // namespace readback::roundtrip
