// Models that metrics ask.
#pragma once
#include <cstdlib>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"

namespace readback::score {

// A picture of side n fits the text of n letters.
class JudgingCaptioner final : public caption::Captioner {
 public:
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request>,
                                                             const caption::DecodingOptions&, const Context&) override {
    return {};
  }
  std::vector<Result<caption::TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                                   std::span<const std::string> texts,
                                                                   const Context&) override {
    std::vector<Result<caption::TextProbability>> results;
    for (size_t i = 0; i < images.size(); ++i) {
      const auto length = static_cast<int64_t>(texts[i].size());
      if (texts[i] == "unreadable") {
        results.emplace_back(Failure{"unreadable: expected a text, got none"});
      } else {
        results.push_back(caption::TextProbability{-static_cast<double>(std::abs(images[i]->width - length)), length});
      }
    }
    return results;
  }
  std::string description() const override { return "a judge"; }
};

// Draws, and cannot tell what fits.
class MuteGenerator final : public generate::Generator {
 public:
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request>,
                                                  const generate::GenerationOptions&, const Context&) override {
    return {};
  }
  std::string description() const override { return "a drawer"; }
};

}  // namespace readback::score
