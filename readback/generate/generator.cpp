#include "readback/generate/generator.h"

#include "readback/base/error.h"

namespace readback::generate {

std::vector<Result<double>> Generator::denoising_errors(std::span<const image::Image* const> /*images*/,
                                                        std::span<const std::string> /*prompts*/,
                                                        const Context& /*context*/) {
  throw UsageError(describe(description(), "a generator that says how well a text helps to remove noise",
                            "one that does not", "Stable Diffusion models do"));
}

}  // namespace readback::generate
