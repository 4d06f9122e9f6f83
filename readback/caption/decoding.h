// Text decoding for any model that extends sequences one token at a time: greedy, beam search and sampling, each as
// transformers' generate() does it. G groups (images), S sequences, V vocabulary.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "readback/base/random.h"
#include "readback/caption/captioner.h"

namespace readback::caption {

// The model's side. Sequences of a group stand side by side, equally many in each; at first one in each.
class StepModel {
 public:
  virtual ~StepModel() = default;
  // Keeps the groups `groups`, and in them the sequences `sources` (old indices, which may repeat; those of the first
  // kept group first, equally many in each).
  virtual void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) = 0;
  // Appends one token to every sequence; logits of what follows, float32 [S, V].
  virtual at::Tensor step(const std::vector<int64_t>& tokens) = 0;
};

// `numbers`, int64, on `device`: sent there without waiting for what it computes.
at::Tensor sent(const std::vector<int64_t>& numbers, c10::Device device);

// Where decoding starts.
struct DecodingStart {
  std::vector<std::vector<int64_t>> prompts;  // of each group, at least its begin token; their lengths may differ
  at::Tensor logits;                          // of what follows each prompt, float32 [G, V]
  std::vector<int64_t> end_tokens;            // each of them ends a text (transformers' eos_token_id); may be empty
};

struct Decoded {
  std::vector<int64_t> token_ids;  // the prompt and what follows, the end token included when it was reached
  double log_probability = 0;      // of what follows the prompt, under the model's own logits
  double score = 0;                // beam search: transformers' sequences_scores, by which the captions are ranked
};

// Hears every token: the group, the candidate in it, and its tokens so far. Of beams it is the best running one, as
// candidate 0. Decoding ends with what it throws.
using TokenCallback = std::function<void(int64_t group, int64_t candidate, const std::vector<int64_t>& tokens)>;

// The functions below take resolved options, see resolve() in decoding_options.h.
// Errors: UsageError naming the option that makes no sense, for a prompt of `prompt_tokens` tokens.
void check(const DecodingOptions& options, int64_t prompt_tokens);

// `num_captions` per group. A group's texts do not depend on the other groups; max_length and min_length count its own
// prompt. `streams` holds group · num_captions + i for candidate i, and is only read when sampling.
// Errors: UsageError, see check(), also for prompts or end tokens that the logits do not fit; DataError when logits are
// not finite.
std::vector<std::vector<Decoded>> decode(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         std::span<const Random> streams, const TokenCallback& on_token = {});

// The ways that decode() chooses from, without check().
std::vector<std::vector<Decoded>> beam_search(StepModel& model, const DecodingStart& start,
                                              const DecodingOptions& options, const TokenCallback& on_token = {});
std::vector<std::vector<Decoded>> greedy(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         const TokenCallback& on_token = {});
std::vector<std::vector<Decoded>> sample(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         std::span<const Random> streams, const TokenCallback& on_token = {});

}  // namespace readback::caption
