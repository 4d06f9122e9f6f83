#include "readback/train/policy_gradient.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "readback/generate/denoiser.h"
#include "readback/generate/denoising_error.h"
#include "readback/train/preference.h"

namespace readback::train {

at::Tensor leave_one_out(const at::Tensor& rewards) {
  // By pairs, so that equal rewards give exactly 0, which no scale makes large.
  const at::Tensor differences = rewards.unsqueeze(2) - rewards.unsqueeze(1);  // [B, N, N]
  return differences.sum(2) / static_cast<double>(rewards.size(1) - 1);
}

at::Tensor denoising_errors(const models::Unet& unet, const generate::NoiseSchedule& schedule, const NoiseDraws& draws,
                            const at::Tensor& texts, const at::Tensor& pictures) {
  c10::NoGradGuard no_grad;
  const generate::UnetDenoiser denoiser(unet, texts);
  const at::Tensor latents = draws.latents.index_select(0, pictures);
  const int64_t count = draws.noise.size(0) / draws.latents.size(0);
  at::Tensor sum = at::zeros({texts.size(0)}, latents.options());
  for (int64_t draw = 0; draw < count; ++draw) {
    const at::Tensor chosen = pictures * count + draw;
    sum += denoising_error(denoiser, schedule,
                           {.latents = latents,
                            .noise = draws.noise.index_select(0, chosen),
                            .timesteps = draws.timesteps.index_select(0, chosen.cpu())});
  }
  return sum / static_cast<double>(count);
}

at::Tensor policy_loss(const caption::TokenCaptioner& captioner, const caption::Pictures& images,
                       const PolicyBatch& batch) {
  const at::Tensor logits = captioner.logits(repeated(images, batch.advantages.size(1)), batch.captions.texts);
  const at::Tensor tokens = token_log_probabilities(logits, batch.captions.labels);
  return -(tokens.sum(1) * batch.advantages.flatten()).mean();
}

}  // namespace readback::train
