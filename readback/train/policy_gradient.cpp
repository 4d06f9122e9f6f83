#include "readback/train/policy_gradient.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "readback/generate/denoiser.h"

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
    const at::Tensor noise = draws.noise.index_select(0, chosen);
    const at::Tensor t = draws.timesteps.index_select(0, chosen.cpu());
    const at::Tensor predicted = denoiser.predict(schedule.add_noise(latents, noise, t), t);
    sum += (predicted - schedule.target(latents, noise, t)).square().mean({1, 2, 3});
  }
  return sum / static_cast<double>(count);
}

at::Tensor policy_loss(const models::BlipTextDecoder& decoder, models::BlipState images, const PolicyBatch& batch) {
  const at::Tensor hidden = decoder.hidden_states(batch.captions.ids, images, /*cache=*/false);
  const at::Tensor logits = decoder.logits(hidden).slice(1, 0, -1).flatten(0, 1).to(at::kFloat);
  const at::Tensor surprise = at::cross_entropy_loss(logits, batch.captions.labels.slice(1, 1).flatten(), {},
                                                     at::Reduction::None, -100);  // 0 where nothing is learned
  return (surprise.view({batch.captions.ids.size(0), -1}).sum(1) * batch.advantages.flatten()).mean();
}

}  // namespace readback::train
