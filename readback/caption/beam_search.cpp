// Beam search as in transformers' generate(early_stopping=False): with E end tokens (1 + E) · num_beams continuations
// are looked at, so that num_beams unfinished ones remain even when the others end; scores are float32 as there.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/caption/decoding.h"
#include "readback/caption/token_filters.h"

namespace readback::caption {

namespace {

struct Beam {
  std::vector<int64_t> tokens;
  float score = 0;             // sum of processed log-probabilities
  double log_probability = 0;  // sum of the model's own
  int64_t row = 0;             // of the logits that continue it
};

struct Continuation {
  int64_t beam = 0, token = 0;
  float score = 0;
  double log_probability = 0;
};

struct Group {
  int64_t index = 0;  // in the caller's order
  int64_t prompt_tokens = 0;
  std::vector<Beam> running;      // best first
  std::vector<Decoded> finished;  // best first, at most num_beams
  bool done = false;
};

// The best tokens after every row, best first.
struct BestTokens {
  at::Tensor scores, tokens, log_probabilities;  // [S, count]: float32, int64, float32
};

BestTokens best_tokens(const at::Tensor& logits, const std::vector<std::vector<int64_t>>& sequences, int64_t count,
                       const std::vector<int64_t>& end_tokens, const DecodingOptions& options) {
  const at::Tensor log_probabilities = at::log_softmax(logits, 1);
  const auto [scores, tokens] =
      penalize(log_probabilities, sequences, end_tokens, options).topk(std::min(count, logits.size(1)));
  // Fetched at once, since each fetch waits for the device; a double holds any token.
  const at::Tensor fetched =
      at::stack({scores.to(at::kDouble), tokens.to(at::kDouble), log_probabilities.gather(1, tokens).to(at::kDouble)})
          .to(at::kCPU);
  if (!fetched[0].select(1, 0).isfinite().all().item<bool>()) {
    throw DataError(describe("beam search", "finite logits", "NaN or infinity"));
  }
  return {fetched[0].to(at::kFloat), fetched[1].to(at::kLong), fetched[2].to(at::kFloat)};
}

class Search {
 public:
  Search(const std::vector<int64_t>& end_tokens, const DecodingOptions& options)
      : options_(options), end_tokens_(end_tokens) {}

  // How many continuations of a group are looked at.
  int64_t looked_at() const { return std::max<int64_t>(2, 1 + std::ssize(end_tokens_)) * options_.num_beams.value(); }

  // Moves `group` on by one token; its beams' rows then are those that they continue.
  void advance(Group& group, const BestTokens& best) const {
    const auto tokens = static_cast<int64_t>(group.running.front().tokens.size()) + 1;
    const bool full = tokens >= options_.max_length.value();
    const float penalty = length_penalty(tokens - group.prompt_tokens);
    std::vector<Beam> running;
    const std::vector<Continuation> continuations = best_continuations(group, best);
    for (size_t rank = 0; rank < continuations.size(); ++rank) {
      const Continuation& next = continuations[rank];
      const Beam& source = group.running[static_cast<size_t>(next.beam)];
      const bool ended = full || ends(next.token);
      if (ended && rank >= static_cast<size_t>(options_.num_beams.value()))
        continue;  // a spare one must be able to go on
      if (!ended && running.size() == static_cast<size_t>(options_.num_beams.value())) continue;
      std::vector<int64_t> extended = source.tokens;
      extended.push_back(next.token);
      if (ended) {
        group.finished.push_back({std::move(extended), next.log_probability, next.score / penalty});
      } else {
        running.push_back({std::move(extended), next.score, next.log_probability, source.row});
      }
    }
    const auto better = [](const Decoded& a, const Decoded& b) { return a.score > b.score; };
    std::stable_sort(group.finished.begin(), group.finished.end(), better);
    const auto beams = static_cast<size_t>(options_.num_beams.value());
    if (group.finished.size() > beams) group.finished.resize(beams);
    group.running = std::move(running);
    // Ends when the best running beam, at its present length, is no better than the worst finished one.
    group.done = full || (group.finished.size() == beams &&
                          group.running.front().score / penalty <= static_cast<float>(group.finished.back().score));
  }

 private:
  bool ends(int64_t token) const {
    return std::find(end_tokens_.begin(), end_tokens_.end(), token) != end_tokens_.end();
  }

  float length_penalty(int64_t tokens) const {
    return static_cast<float>(std::pow(static_cast<double>(tokens), options_.length_penalty.value()));
  }

  std::vector<Continuation> best_continuations(const Group& group, const BestTokens& best) const {
    const int64_t count = best.scores.size(1);
    std::vector<Continuation> all;
    for (size_t beam = 0; beam < group.running.size(); ++beam) {
      const int64_t offset = group.running[beam].row * count;
      for (int64_t i = offset; i < offset + count; ++i) {
        all.push_back({static_cast<int64_t>(beam), best.tokens.data_ptr<int64_t>()[i],
                       best.scores.data_ptr<float>()[i] + group.running[beam].score,
                       best.log_probabilities.data_ptr<float>()[i] + group.running[beam].log_probability});
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Continuation& a, const Continuation& b) { return a.score > b.score; });
    all.resize(std::min(all.size(), static_cast<size_t>(looked_at())));
    return all;
  }

  const DecodingOptions& options_;
  const std::vector<int64_t>& end_tokens_;
};

}  // namespace

std::vector<std::vector<Decoded>> beam_search(StepModel& model, const DecodingStart& start,
                                              const DecodingOptions& options, const TokenCallback& on_token) {
  const Search search(start.end_tokens, options);
  if (const int64_t vocabulary = start.logits.size(1); vocabulary < search.looked_at()) {
    throw UsageError(describe(
        "beam search, num_beams",
        fmt::format("at most {}, of {} tokens with {} end tokens",
                    vocabulary * options.num_beams.value() / search.looked_at(), vocabulary, start.end_tokens.size()),
        std::to_string(options.num_beams.value())));
  }
  std::vector<std::vector<Decoded>> result(static_cast<size_t>(start.logits.size(0)));
  std::vector<Group> groups;
  for (int64_t g = 0; g < start.logits.size(0); ++g) {
    const std::vector<int64_t>& prompt = start.prompts[static_cast<size_t>(g)];
    groups.push_back({g, std::ssize(prompt), {Beam{prompt, 0, 0, g}}, {}, false});
  }

  for (at::Tensor logits = start.logits;;) {
    std::vector<std::vector<int64_t>> sequences;
    for (const Group& group : groups) {
      for (const Beam& beam : group.running) sequences.push_back(beam.tokens);
    }
    const BestTokens best = best_tokens(logits, sequences, search.looked_at(), start.end_tokens, options);
    std::vector<int64_t> kept, sources, tokens;
    std::vector<Group> going;
    for (size_t g = 0; g < groups.size(); ++g) {
      search.advance(groups[g], best);
      if (groups[g].done) {
        groups[g].finished.resize(static_cast<size_t>(options.num_captions));
        result[static_cast<size_t>(groups[g].index)] = std::move(groups[g].finished);
        continue;
      }
      if (on_token) on_token(groups[g].index, 0, groups[g].running.front().tokens);
      kept.push_back(static_cast<int64_t>(g));
      for (Beam& beam : groups[g].running) {
        sources.push_back(beam.row);
        tokens.push_back(beam.tokens.back());
        beam.row = static_cast<int64_t>(sources.size()) - 1;
      }
      going.push_back(std::move(groups[g]));
    }
    if (going.empty()) return result;
    groups = std::move(going);
    model.select(kept, sources);
    logits = model.step(tokens);
  }
}

}  // namespace readback::caption
