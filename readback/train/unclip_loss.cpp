#include "readback/train/unclip_loss.h"

#include <ATen/ATen.h>

#include <vector>

namespace readback::train {

at::Tensor variance_divergence(const generate::NoiseSchedule& schedule, const at::Tensor& clean,
                               const at::Tensor& estimate, const at::Tensor& place, const at::Tensor& t) {
  std::vector<int64_t> shape(static_cast<size_t>(clean.dim()), 1);
  shape[0] = t.numel();
  const auto at_step = [&](const at::Tensor& steps) {
    return schedule.alphas_cumprod.index_select(0, steps).view(shape).to(clean.device());
  };
  const at::Tensor counted = t.clamp_min(1), alpha = at_step(counted), previous = at_step(counted - 1);
  const at::Tensor beta = 1 - alpha / previous, least = beta * (1 - previous) / (1 - alpha);
  const at::Tensor log_variance = least.log() + (place + 1) / 2 * (beta.log() - least.log());
  const at::Tensor error = previous.sqrt() * beta / (1 - alpha) * (clean - estimate);
  const at::Tensor divergence =
      0.5 * (log_variance - least.log() - 1 + (least + error.square()) * (-log_variance).exp());
  return divergence.mul(t.gt(0).view(shape).to(clean.device())).mean();
}

}  // namespace readback::train
