#include "readback/train/draft.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/generate/scheduler.h"

namespace readback::train {

void check(const DraftOptions& options) {
  if (options.steps < 1) throw UsageError(describe("--draft-steps", "at least 1", std::to_string(options.steps)));
  if (options.gradient_steps < 1 || options.gradient_steps > options.steps) {
    throw UsageError(describe("--draft-gradient-steps", fmt::format("1 to {}, all steps", options.steps),
                              std::to_string(options.gradient_steps)));
  }
}

at::Tensor draft(const models::Unet& unet, const nlohmann::json& sampler, const DraftBatch& batch,
                 const DraftOptions& options) {
  check(options);
  const auto ddim = generate::make_scheduler("ddim", sampler, options.steps);
  const bool guided = options.guidance != 1.0;
  const at::Tensor texts = guided ? at::cat({batch.empty.expand_as(batch.text), batch.text}) : batch.text;
  const models::TextContext context = unet.prepare(texts);
  at::Tensor latents = batch.noise * ddim->init_noise_sigma();
  for (int64_t i = 0; i < ddim->size(); ++i) {
    c10::AutoGradMode with_gradients(c10::GradMode::is_enabled() && i >= ddim->size() - options.gradient_steps);
    const at::Tensor input = latents.to(unet.conv_in.weight.scalar_type());
    const at::Tensor timestep = at::full({texts.size(0)}, ddim->timesteps()[static_cast<size_t>(i)],
                                         at::TensorOptions(at::kFloat).device(latents.device()));
    at::Tensor output = unet.forward(guided ? at::cat({input, input}) : input, timestep, context).to(at::kFloat);
    if (guided) {
      const std::vector<at::Tensor> halves = output.chunk(2);
      output = halves[0] + options.guidance * (halves[1] - halves[0]);
    }
    latents = ddim->step(output, i, latents, {});
  }
  return latents;
}

}  // namespace readback::train
