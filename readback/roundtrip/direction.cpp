#include "readback/roundtrip/direction.h"

#include "readback/base/error.h"

namespace readback::roundtrip {

const char* name(Direction direction) { return names_of(direction)[static_cast<size_t>(direction)]; }

std::optional<Direction> find_direction(std::string_view wanted) {
  for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
    if (wanted == name(direction)) return direction;
  }
  return std::nullopt;
}

Direction parse_direction(const std::string& name) {
  if (const auto direction = find_direction(name)) return *direction;
  throw UsageError(describe("directions", "i2t2i, t2i2t or both", "\"" + name + "\""));
}

}  // namespace readback::roundtrip
