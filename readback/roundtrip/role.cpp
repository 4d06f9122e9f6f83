#include "readback/roundtrip/role.h"

namespace readback::roundtrip {

Role role(Direction direction, score::Inputs inputs) {
  using score::Inputs;
  // Images with texts are never compared across a whole round trip, whose ends are alike.
  if (inputs == Inputs::kImageText || inputs == Inputs::kImageTextReferences) return Role::kQuality;
  const bool of_image = inputs == Inputs::kImages || inputs == Inputs::kImageTruth;
  return of_image == (direction == Direction::kI2T2I) ? Role::kDistance : Role::kQuality;
}

bool knows_truth(score::Inputs inputs) {
  return inputs == score::Inputs::kTextTruth || inputs == score::Inputs::kImageTruth;
}

bool needs_picture(Direction direction, score::Inputs inputs) {
  return direction == Direction::kT2I2T || role(direction, inputs) == Role::kDistance;
}

}  // namespace readback::roundtrip
