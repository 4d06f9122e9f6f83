// The version of what equal options give.
#pragma once
#include <cstdint>

#include "readback/base/random.h"

namespace readback::roundtrip {

// Part of a run's identity. Raised whenever streams of random numbers or arithmetic change what equal options give.
//   1  streams version 1. Runs whose run.json has format 1 have no such number and count as 1.
//   2  streams version 2: a caption and the noise of its picture no longer share their random numbers.
inline constexpr int64_t kResultsVersion = 2;
static_assert(kStreamsVersion == 2, "other streams give other results: raise kResultsVersion and say why");

}  // namespace readback::roundtrip
