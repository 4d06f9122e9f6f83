// Policy gradient for the captioner: captions are sampled and those are made likelier that let the generator rebuild
// the image better than the others do (REINFORCE with the leave-one-out baseline, https://arxiv.org/abs/2402.14740).
// B images, N captions of each, side by side, D noise draws of each image, T tokens, c × h × w latents.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "readback/generate/noise_schedule.h"
#include "readback/models/blip/blip.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/train/caption_batch.h"

namespace readback::train {

struct PolicyOptions {
  double weight = 0;        // 0: no policy gradient
  int64_t samples = 4;      // N
  int64_t draws = 1;        // D, the same for all captions of an image
  int64_t max_length = 20;  // of a sampled caption in tokens, the prompt's counted
  // Whether advantages are divided by their deviation over the batch. Differences of denoising errors are of the order
  // of a hundredth and other ones for each generator and resolution; divided, a weight means the same for all, also
  // with other rewards in the sum. One divisor for the batch, not one for each image, which would give images whose
  // captions are all alike as much to say as those where the choice matters.
  bool scaled = true;
  double clip_weight = 0;  // of the cosine of image and caption in the reward …
  std::string clip;        // … by this CLIP repository
};

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

// -mean of A_i log p(y_i | x), a caption's log-probability being that of its learned tokens. `images` is the decoder's
// prepare() of the B images.
at::Tensor policy_loss(const models::BlipTextDecoder& decoder, models::BlipState images, const PolicyBatch& batch);

}  // namespace readback::train
