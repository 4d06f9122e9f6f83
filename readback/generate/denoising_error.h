// How well a denoiser undoes noise. B pictures, c × h × w latents.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/generate/denoiser.h"
#include "readback/generate/noise_schedule.h"

namespace readback::generate {

struct NoisyPictures {
  at::Tensor latents;    // [B, c, h, w], scaled
  at::Tensor noise;      // as latents
  at::Tensor timesteps;  // int64 [B], on the CPU
};

// Mean squared error of what is predicted from each picture's noised latents, fp32 [B].
at::Tensor denoising_error(const Denoiser& denoiser, const NoiseSchedule& schedule, const NoisyPictures& pictures);

}  // namespace readback::generate
