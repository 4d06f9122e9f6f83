// What unCLIP's decoder learns of its own uncertainty. Paper: https://arxiv.org/abs/2102.09672, section 3.1.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/generate/noise_schedule.h"

namespace readback::train {

// How far the step that the network would take is from the one that knows the clean picture: the divergence of the two
// normal distributions of x_{t-1}, a mean over all values. clean, estimate, place: [B, …]: the picture, what the
// network takes it for, and where the logarithm of the variance that it gives lies between the least, at -1, and the
// greatest, at 1; t: int64 [B] on the CPU. The step from 0 adds nothing and counts as 0.
at::Tensor variance_divergence(const generate::NoiseSchedule& schedule, const at::Tensor& clean,
                               const at::Tensor& estimate, const at::Tensor& place, const at::Tensor& t);

}  // namespace readback::train
