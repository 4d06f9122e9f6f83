// Policy gradient for the captioner: captions are sampled and those are made likelier that let the generator rebuild
// the image better than the others do (REINFORCE with the leave-one-out baseline, https://arxiv.org/abs/2402.14740).
// B images, N captions of each, side by side, D noise draws of each image, T tokens, c × h × w latents.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "readback/generate/noise_schedule.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/train/caption_batch.h"
#include "readback/train/unified_options.h"

namespace readback::train {

struct PolicyBatch {
  CaptionBatch captions;  // [B · N, T]
  at::Tensor advantages;  // fp32 [B, N]
};

// Noise on pictures, by which their captions are compared.
struct NoiseDraws {
  at::Tensor latents;    // [B, c, h, w], scaled
  at::Tensor noise;      // [B · D, c, h, w]
  at::Tensor timesteps;  // int64 [B · D], on the CPU
};

// r_i - mean of the image's other rewards, [B, N] → [B, N]. N at least 2.
at::Tensor leave_one_out(const at::Tensor& rewards);

// Mean squared error of what the UNet predicts when it reads `texts` [R, T, D], of which text r is about picture
// pictures[r]; averaged over the picture's draws, without gradients. fp32 [R].
at::Tensor denoising_errors(const models::Unet& unet, const generate::NoiseSchedule& schedule, const NoiseDraws& draws,
                            const at::Tensor& texts, const at::Tensor& pictures);

// -mean of A_i log p(y_i | x), a caption's log-probability being that of its learned tokens. `images`: the B images, as
// the captioner's patches() gives them.
at::Tensor policy_loss(const caption::TokenCaptioner& captioner, const caption::Pictures& images,
                       const PolicyBatch& batch);

}  // namespace readback::train
