#include "readback/caption/captioner.h"

#include "readback/base/error.h"

namespace readback::caption {

std::vector<Result<TextProbability>> Captioner::text_probabilities(std::span<const image::Image* const> /*images*/,
                                                                   std::span<const std::string> /*texts*/,
                                                                   const Context& /*context*/) {
  throw UsageError(
      describe(description(), "a captioner that says how probable a text is", "one that does not", "BLIP models do"));
}

}  // namespace readback::caption
