// The two ways there and back.
#pragma once
#include <array>
#include <string>

#include "readback/base/options.h"

namespace readback::roundtrip {

// Image → text → image, and text → image → text.
enum class Direction { kI2T2I, kT2I2T };
constexpr std::array<const char*, 2> names_of(Direction) { return {"i2t2i", "t2i2t"}; }

inline const char* name(Direction direction) { return names_of(direction)[static_cast<size_t>(direction)]; }
// Errors: UsageError.
inline Direction parse_direction(const std::string& name) { return parse_enum<Direction>("directions", name); }

}  // namespace readback::roundtrip
