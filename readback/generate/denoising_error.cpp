#include "readback/generate/denoising_error.h"

#include <ATen/ATen.h>

namespace readback::generate {

at::Tensor denoising_error(const Denoiser& denoiser, const NoiseSchedule& schedule, const NoisyPictures& pictures) {
  const auto& [latents, noise, t] = pictures;
  const at::Tensor predicted = denoiser.predict(schedule.add_noise(latents, noise, t), t);
  return (predicted - schedule.target(latents, noise, t)).square().mean({1, 2, 3});
}

}  // namespace readback::generate
