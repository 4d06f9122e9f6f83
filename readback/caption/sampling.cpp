// Greedy decoding and sampling: every candidate goes its own way. Candidates whose tokens are equal so far share one
// sequence of the model, and those that have ended leave it.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "readback/base/error.h"
#include "readback/caption/decoding.h"
#include "readback/caption/token_filters.h"

namespace readback::caption {

namespace {

struct Candidate {
  int64_t group = 0, index = 0;  // in the caller's order
  int64_t row = 0;               // of the model's sequences: the logits that continue it
  bool done = false;
  Decoded decoded;
};

// Chooses the next token of each of `candidates` that is not done; scores: penalised logits [S, V].
using Choose = std::function<std::vector<int64_t>(const std::vector<Candidate*>& candidates, const at::Tensor& scores)>;

// Rows of the model's next step: one for each different continuation, padded so that groups have equally many.
struct Layout {
  std::vector<int64_t> groups, sources, tokens;  // groups: positions in the previous layout
};

// `position` maps a caller's group to its place in the model and is brought up to date, as the candidates' rows are.
Layout lay_out(const std::vector<Candidate*>& candidates, std::map<int64_t, int64_t>& position) {
  std::map<int64_t, std::map<std::pair<int64_t, int64_t>, std::vector<Candidate*>>> rows;
  size_t per_group = 0;
  for (Candidate* candidate : candidates) {
    auto& group = rows[candidate->group];
    group[{candidate->row, candidate->decoded.token_ids.back()}].push_back(candidate);
    per_group = std::max(per_group, group.size());
  }
  Layout layout;
  std::map<int64_t, int64_t> next_position;
  for (const auto& [group, continuations] : rows) {
    next_position[group] = static_cast<int64_t>(layout.groups.size());
    layout.groups.push_back(position.at(group));
    for (const auto& [continuation, owners] : continuations) {
      for (Candidate* owner : owners) owner->row = static_cast<int64_t>(layout.sources.size());
      layout.sources.push_back(continuation.first);
      layout.tokens.push_back(continuation.second);
    }
    for (size_t i = continuations.size(); i < per_group; ++i) {
      layout.sources.push_back(layout.sources.back());
      layout.tokens.push_back(layout.tokens.back());
    }
  }
  position = std::move(next_position);
  return layout;
}

std::vector<std::vector<Decoded>> decode_each(StepModel& model, const DecodingStart& start,
                                              const DecodingOptions& options, const Choose& choose,
                                              const TokenCallback& on_token) {
  std::vector<Candidate> candidates;
  std::map<int64_t, int64_t> position;
  for (int64_t g = 0; g < start.logits.size(0); ++g) {
    position[g] = g;
    const std::vector<int64_t>& prompt = start.prompts[static_cast<size_t>(g)];
    for (int64_t i = 0; i < options.num_captions; ++i) candidates.push_back({g, i, g, false, {prompt, 0, 0}});
  }
  std::vector<Candidate*> going;
  for (Candidate& candidate : candidates) going.push_back(&candidate);

  const auto ends = [&](int64_t token) {
    return std::find(start.end_tokens.begin(), start.end_tokens.end(), token) != start.end_tokens.end();
  };
  // Of all tokens so far, on the model's device until the end: what is fetched at every token waits for the device.
  std::vector<at::Tensor> log_probabilities;
  std::vector<Candidate*> owners;
  for (at::Tensor logits = start.logits; !going.empty();) {
    // Nobody reads the rows without owner.
    std::vector<std::vector<int64_t>> sequences(static_cast<size_t>(logits.size(0)), going.front()->decoded.token_ids);
    for (const Candidate* c : going) sequences[static_cast<size_t>(c->row)] = c->decoded.token_ids;
    const std::vector<int64_t> chosen = choose(going, penalize(logits, sequences, start.end_tokens, options));

    std::vector<int64_t> rows;
    for (const Candidate* c : going) rows.push_back(c->row);
    const at::Tensor row = sent(rows, logits.device());
    const at::Tensor own = logits.index({row, sent(chosen, logits.device())}).to(at::kDouble);
    log_probabilities.push_back(own - at::logsumexp(logits, 1).index_select(0, row).to(at::kDouble));
    for (size_t i = 0; i < going.size(); ++i) {
      Candidate& c = *going[i];
      owners.push_back(&c);
      c.decoded.token_ids.push_back(chosen[i]);
      if (on_token) on_token(c.group, c.index, c.decoded.token_ids);
      c.done = ends(chosen[i]) || std::ssize(c.decoded.token_ids) >= options.max_length.value();
    }
    std::erase_if(going, [](const Candidate* c) { return c->done; });
    if (going.empty()) break;
    const Layout layout = lay_out(going, position);
    model.select(layout.groups, layout.sources);
    logits = model.step(layout.tokens);
  }

  const at::Tensor fetched = owners.empty() ? at::Tensor() : at::cat(log_probabilities).to(at::kCPU);
  for (size_t i = 0; i < owners.size(); ++i) owners[i]->decoded.log_probability += fetched.data_ptr<double>()[i];

  std::vector<std::vector<Decoded>> result(static_cast<size_t>(start.logits.size(0)));
  for (Candidate& c : candidates) {
    c.decoded.score = c.decoded.log_probability;
    result[static_cast<size_t>(c.group)].push_back(std::move(c.decoded));
  }
  return result;
}

}  // namespace

std::vector<std::vector<Decoded>> greedy(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         const TokenCallback& on_token) {
  const Choose best_token = [](const std::vector<Candidate*>& candidates, const at::Tensor& scores) {
    const auto [best, tokens] = scores.max(1);
    // Fetched at once; a double holds any token.
    const at::Tensor fetched = at::stack({best.to(at::kDouble), tokens.to(at::kDouble)}).to(at::kCPU);
    if (!fetched[0].isfinite().all().item<bool>()) {
      throw DataError(describe("greedy decoding", "finite logits", "NaN or infinity"));
    }
    const double* const token = fetched.data_ptr<double>() + scores.size(0);
    std::vector<int64_t> chosen;
    for (const Candidate* c : candidates) chosen.push_back(static_cast<int64_t>(token[c->row]));
    return chosen;
  };
  return decode_each(model, start, options, best_token, on_token);
}

std::vector<std::vector<Decoded>> sample(StepModel& model, const DecodingStart& start, const DecodingOptions& options,
                                         std::span<const Random> streams, const TokenCallback& on_token) {
  int64_t fetched = 1024;  // of each sequence's tokens: more than a nucleus has, and quickly fetched
  const Choose drawn_token = [&](const std::vector<Candidate*>& candidates, const at::Tensor& scores) {
    const Choices choices = filter(scores, options, fetched);
    std::vector<int64_t> chosen(candidates.size());
    at::parallel_for(0, static_cast<int64_t>(candidates.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        const Candidate& c = *candidates[i];
        const auto step = std::ssize(c.decoded.token_ids) - std::ssize(start.prompts[static_cast<size_t>(c.group)]);
        chosen[i] = draw(choices, c.row, streams[static_cast<size_t>(c.group * options.num_captions + c.index)], step);
      }
    });
    return chosen;
  };
  return decode_each(model, start, options, drawn_token, on_token);
}

}  // namespace readback::caption
