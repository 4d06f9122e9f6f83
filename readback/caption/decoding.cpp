#include "readback/caption/decoding.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::caption {

namespace {

void check(const DecodingStart& start) {
  const int64_t groups = start.logits.size(0), vocabulary = start.logits.size(1);
  if (std::ssize(start.prompts) != groups) {
    throw UsageError(describe("decoding, prompts", fmt::format("{}, one for each row of logits", groups),
                              std::to_string(start.prompts.size())));
  }
  const auto outside = [&](int64_t token) { return token < 0 || token >= vocabulary; };
  const auto expect_inside = [&](const char* what, const std::vector<int64_t>& tokens) {
    const auto found = std::find_if(tokens.begin(), tokens.end(), outside);
    if (found == tokens.end()) return;
    throw UsageError(describe(std::string("decoding, ") + what,
                              fmt::format("tokens below {}, the vocabulary", vocabulary), std::to_string(*found)));
  };
  expect_inside("end_tokens", start.end_tokens);
  for (const auto& prompt : start.prompts) {
    if (prompt.empty()) throw UsageError(describe("decoding, prompts", "a begin token at least", "an empty prompt"));
    expect_inside("prompts", prompt);
  }
}

}  // namespace

at::Tensor sent(const std::vector<int64_t>& numbers, c10::Device device) {
  const at::Tensor here = at::tensor(numbers);
  return here.to(here.options().device(device), /*non_blocking=*/true);
}

void check(const DecodingOptions& options, int64_t prompt_tokens) {
  const auto require = [](bool holds, const char* option, const std::string& expected, const auto& got) {
    if (!holds) throw UsageError(describe(option, expected, fmt::format("{}", got)));
  };
  check_options(options);
  const int64_t most = options.max_length.value();
  require(most > prompt_tokens, "max_length",
          fmt::format("more than the prompt's {} tokens, which it counts", prompt_tokens), most);
  require(options.min_length.value() <= most, "min_length", fmt::format("at most max_length = {}", most),
          options.min_length.value());
  if (!options.do_sample) {
    require(options.num_captions <= options.num_beams.value(), "num_captions",
            fmt::format("at most num_beams = {} unless sampling", options.num_beams.value()), options.num_captions);
  }
}

std::vector<std::vector<Decoded>> decode(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         std::span<const Random> streams, const TokenCallback& on_token) {
  check(start);
  for (const auto& prompt : start.prompts) check(options, std::ssize(prompt));
  if (options.do_sample) return sample(model, start, options, streams, on_token);
  return options.num_beams.value() == 1 ? greedy(model, start, options, on_token)
                                        : beam_search(model, start, options, on_token);
}

}  // namespace readback::caption
