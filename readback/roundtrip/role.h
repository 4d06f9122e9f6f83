// What a metric means in a direction.
#pragma once
#include "readback/roundtrip/direction.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

// I2T2I ends with an image and has a text in the middle, T2I2T the reverse.
enum class Role {
  kDistance,  // of the reconstruction from the original
  kQuality,   // of the intermediate result
};
Role role(Direction direction, score::Inputs inputs);

// Whether the metric compares with the small world's truth, which only that world has.
bool knows_truth(score::Inputs inputs);

// Whether the value of a candidate depends on its picture, so that it means nothing when the safety checker blanked
// that. T2I2T: always, since the text was read from the picture. I2T2I: the reconstruction's distances, while the
// caption in the middle is as good as any.
bool needs_picture(Direction direction, score::Inputs inputs);

}  // namespace readback::roundtrip
