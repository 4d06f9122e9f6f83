#include "readback/train/draft.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/generate/sampler.h"

namespace readback::train {

void check(const DraftOptions& options) {
  check_options(options);
  if (options.gradient_steps > options.steps) {
    throw UsageError(describe("draft_gradient_steps", fmt::format("1 to {}, all steps", options.steps),
                              std::to_string(options.gradient_steps)));
  }
}

at::Tensor draft(const models::Unet& unet, const nlohmann::json& sampler, const DraftBatch& batch,
                 const DraftOptions& options) {
  check(options);
  const bool guided = options.guidance != 1.0;
  const generate::UnetDenoiser denoiser(unet,
                                        guided ? at::cat({batch.empty.expand_as(batch.text), batch.text}) : batch.text);
  return generate::Sampler("ddim", sampler, options.steps)
      .sample(denoiser, batch.noise,
              {.guidance = guided ? std::optional(options.guidance) : std::nullopt,
               .gradient_steps = options.gradient_steps});
}

}  // namespace readback::train
