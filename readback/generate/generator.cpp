#include "readback/generate/generator.h"

#include "readback/base/error.h"

namespace readback::generate {

std::vector<Result<double>> Generator::denoising_errors(std::span<const image::Image* const> /*images*/,
                                                        std::span<const std::string> /*prompts*/,
                                                        const Context& /*context*/) {
  throw UsageError(describe(description(), "a generator that says how well a text helps to remove noise",
                            "one that does not", "Stable Diffusion models do"));
}

GenerationOptions resolve(const GenerationOptions& options, const Generator& generator) {
  const GenerationOptions defaults = generator.defaults();
  for_each_field(options, [&](const auto& field, const auto& value) {
    if constexpr (is_optional_v<std::remove_cvref_t<decltype(value)>>) {
      if (value && !(defaults.*(field.member)) && !generator.capabilities().own_defaults) {
        throw UsageError(describe(field.name, "nothing: " + generator.description() + " has no such option", "a value",
                                  "Leave it out"));
      }
    }
  });
  const GenerationOptions resolved = with_defaults(options, defaults);
  check_options(resolved);
  return resolved;
}

void expect_drawable(std::span<const Request> requests, const Generator& generator) {
  const Capabilities can = generator.capabilities();
  for (const Request& request : requests) {
    if (request.picture && !can.variations) {
      throw UsageError(describe(generator.description(), "a text to draw", "a picture to draw anew",
                                "An unCLIP that has an image_encoder draws pictures anew"));
    }
    if (request.picture && !request.prompt.empty()) {
      throw UsageError(describe(request.sample, "a text or a picture to draw", "both"));
    }
    if (!request.picture && !can.prompts) {
      throw UsageError(describe(generator.description(), "a picture to draw anew", "the text '" + request.prompt + "'",
                                "It has no prior, which texts need: name the repository of a whole pipeline"));
    }
  }
}

}  // namespace readback::generate
