// Pictures drawn from noise in several steps, of which the last carry gradients: DRaFT-K,
// https://arxiv.org/abs/2309.17400. B pictures, c × h × w latents, T tokens, D text width.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "readback/models/stable_diffusion/unet.h"
#include "readback/train/unified_options.h"

namespace readback::train {

struct DraftBatch {
  at::Tensor noise;  // [B, c, h, w]
  at::Tensor text;   // [B, T, D]
  at::Tensor empty;  // [1, T, D], of the empty text; only read with guidance
};

// Errors: UsageError.
void check(const DraftOptions& options);

// Latents by DDIM, fp32 [B, c, h, w]. `sampler`: the generator's scheduler configuration, as its pipeline takes it.
// Errors: UsageError.
at::Tensor draft(const models::Unet& unet, const nlohmann::json& sampler, const DraftBatch& batch,
                 const DraftOptions& options);

}  // namespace readback::train
