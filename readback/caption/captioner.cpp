#include "readback/caption/captioner.h"

#include "readback/base/error.h"

namespace readback::caption {

std::vector<Result<TextProbability>> Captioner::text_probabilities(std::span<const image::Image* const> /*images*/,
                                                                   std::span<const std::string> /*texts*/,
                                                                   const Context& /*context*/) {
  throw UsageError(
      describe(description(), "a captioner that says how probable a text is", "one that does not", "BLIP models do"));
}

std::vector<Result<double>> Captioner::answer_probabilities(std::span<const image::Image* const> /*images*/,
                                                            std::span<const std::string> /*questions*/,
                                                            const std::string& /*answer*/, const Context& /*context*/) {
  throw UsageError(describe(description(), "a captioner that says how probable an answer is", "one that does not",
                            "A server does that gives log-probabilities: openai:URL#MODEL"));
}

}  // namespace readback::caption
