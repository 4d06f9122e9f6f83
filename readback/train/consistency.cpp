#include "readback/train/consistency.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "readback/generate/denoiser.h"
#include "readback/generate/schedulers/lcm.h"

namespace readback::train {

namespace {

// The end of the way that `noisy` at t lies on, by a consistency model. [B, c, h, w]
at::Tensor answer(const models::Unet& unet, const generate::NoiseSchedule& schedule, const ConsistencyBatch& batch,
                  const at::Tensor& noisy, const at::Tensor& t) {
  const generate::UnetDenoiser denoiser(unet, {.text = batch.text, .guidance = batch.guidance});
  const at::Tensor clean = schedule.clean(noisy, denoiser.predict(noisy, t), t);
  const at::Tensor skip = at::empty({t.numel(), 1, 1, 1}, at::kFloat), out = at::empty_like(skip);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const generate::BoundaryScalings scalings = generate::boundary_scalings(static_cast<float>(t[i].item<int64_t>()));
    skip[i].fill_(scalings.skip);
    out[i].fill_(scalings.out);
  }
  return skip.to(noisy.device()) * noisy + out.to(noisy.device()) * clean;
}

// One DDIM step of the guided teacher, from `noisy` at `start` to `end`.
at::Tensor teacher_step(const models::Unet& teacher, const generate::NoiseSchedule& schedule,
                        const ConsistencyBatch& batch, const at::Tensor& noisy, const at::Tensor& start,
                        const at::Tensor& end) {
  const at::Tensor texts = at::cat({batch.empty.expand_as(batch.text), batch.text});
  const std::vector<at::Tensor> outputs =
      generate::UnetDenoiser(teacher, texts).predict(noisy.repeat({2, 1, 1, 1}), start.repeat({2})).chunk(2);
  const at::Tensor guided = outputs[0] + batch.guidance.view({-1, 1, 1, 1}) * (outputs[1] - outputs[0]);
  return schedule.add_noise(schedule.clean(noisy, guided, start), schedule.noise_in(noisy, guided, start), end);
}

}  // namespace

at::Tensor consistency_loss(const ConsistencyModels& models, const generate::NoiseSchedule& schedule,
                            const ConsistencyOptions& options, const ConsistencyBatch& batch) {
  const int64_t stride = schedule.steps() / options.ddim_steps;
  const at::Tensor start = (batch.ddim_steps + 1) * stride - 1, end = (start - stride).clamp_min(0);
  const at::Tensor noisy = schedule.add_noise(batch.latents, batch.noise, start);
  at::Tensor target;
  {
    c10::NoGradGuard no_grad;
    target =
        answer(models.target, schedule, batch, teacher_step(models.teacher, schedule, batch, noisy, start, end), end);
  }
  const at::Tensor squared = (answer(models.student, schedule, batch, noisy, start) - target).square();
  const double c = options.huber_c;
  return c == 0 ? squared.mean() : ((squared + c * c).sqrt() - c).mean();
}

}  // namespace readback::train
