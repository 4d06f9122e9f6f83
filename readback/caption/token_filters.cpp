#include "readback/caption/token_filters.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "readback/base/error.h"

namespace readback::caption {

namespace {

// transformers sorts ascending and drops tokens while the sum up to and with them is at most 1 - p; equal ones in the
// order of their ids. A token's rank in that order:
struct Weighted {
  float weight;
  int64_t token;
  bool operator<(const Weighted& other) const {
    return weight < other.weight || (weight == other.weight && token < other.token);
  }
};

// Zeroes what nucleus filtering drops from one row of probabilities.
void keep_nucleus(std::span<float> row, double top_p) {
  const double dropped = 1 - top_p;
  // All tokens below this together weigh less than what is dropped: only the others need an order.
  const auto negligible = static_cast<float>(dropped / 2 / static_cast<double>(row.size()));
  std::vector<Weighted> kept;
  double below = 0;  // the weight of all that come before `begin`, ascending
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] > negligible) {
      kept.push_back({row[i], static_cast<int64_t>(i)});
    } else {
      below += row[i];
      row[i] = 0;
    }
  }
  // The first token that stays, by halving.
  auto begin = kept.begin(), end = kept.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end);
    double lower = 0;
    for (auto i = begin; i != middle; ++i) lower += i->weight;
    if (below + lower <= dropped) {
      for (auto i = begin; i != middle; ++i) row[static_cast<size_t>(i->token)] = 0;
      below += lower;
      begin = middle;
    } else {
      end = middle;
    }
  }
  // The heaviest token stays whatever it weighs.
  if (end != kept.end() && below + begin->weight <= dropped) row[static_cast<size_t>(begin->token)] = 0;
}

}  // namespace

at::Tensor penalize(const at::Tensor& scores, const std::vector<std::vector<int64_t>>& sequences,
                    const std::vector<int64_t>& end_tokens, const DecodingOptions& options) {
  const auto count = std::ssize(sequences);
  at::Tensor too_short = at::empty({count}, at::kBool);
  size_t longest = 0;
  for (int64_t s = 0; s < count; ++s) {
    const auto& sequence = sequences[static_cast<size_t>(s)];
    too_short.data_ptr<bool>()[s] = std::ssize(sequence) < options.min_length.value();
    longest = std::max(longest, sequence.size());
  }
  const bool any_too_short = !end_tokens.empty() && too_short.any().item<bool>();
  if (!any_too_short && options.repetition_penalty.value() == 1.0) return scores;
  at::Tensor result = scores.clone();
  if (options.repetition_penalty.value() != 1.0) {
    at::Tensor ids = at::empty({count, static_cast<int64_t>(longest)}, at::kLong);
    int64_t* out = ids.data_ptr<int64_t>();
    for (const auto& sequence : sequences) {
      // What fills shorter rows up is penalised already.
      out = std::copy(sequence.begin(), sequence.end(), out);
      out = std::fill_n(out, longest - sequence.size(), sequence.front());
    }
    ids = ids.to(scores.options().dtype(at::kLong), /*non_blocking=*/true);
    const at::Tensor seen = scores.gather(1, ids);
    const double penalty = options.repetition_penalty.value();
    result.scatter_(1, ids, at::where(seen < 0, seen * penalty, seen / penalty));
  }
  if (any_too_short) {
    too_short = too_short.to(scores.options().dtype(at::kBool), /*non_blocking=*/true);
    for (const int64_t token : end_tokens) {
      result.select(1, token).masked_fill_(too_short, -std::numeric_limits<float>::infinity());
    }
  }
  return result;
}

Choices filter(const at::Tensor& scores, const DecodingOptions& options, int64_t& fetched) {
  at::Tensor logits = options.temperature.value() == 1.0 ? scores : scores / options.temperature.value();
  const int64_t vocabulary = logits.size(1);
  const bool has_top_k = options.top_k.value() > 0 && options.top_k.value() < vocabulary;
  if (has_top_k) {
    const at::Tensor least =
        std::get<0>(logits.topk(options.top_k.value())).narrow(1, options.top_k.value() - 1, 1);  // [S, 1]
    logits = logits.masked_fill(logits < least, -std::numeric_limits<float>::infinity());
  }
  at::Tensor weights = at::softmax(logits, 1);
  const bool has_top_p = options.top_p.value() < 1.0;
  if (!weights.is_cpu() && (has_top_k || has_top_p)) return heaviest(weights, options.top_p.value(), fetched);
  weights = weights.to(at::kCPU).contiguous();
  if (has_top_p) {
    float* const data = weights.data_ptr<float>();
    at::parallel_for(0, weights.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        keep_nucleus({data + s * vocabulary, static_cast<size_t>(vocabulary)}, options.top_p.value());
      }
    });
  }
  return {weights, {}, vocabulary};
}

Choices heaviest(const at::Tensor& weights, double top_p, int64_t& fetched) {
  const int64_t vocabulary = weights.size(1);
  auto [ascending, tokens] = weights.sort(/*stable=*/true, /*dim=*/1, /*descending=*/false);
  if (top_p < 1.0) {
    at::Tensor dropped = ascending.cumsum(1, at::kDouble) <= 1 - top_p;
    dropped.select(1, vocabulary - 1).fill_(false);  // the heaviest token stays whatever it weighs
    ascending.masked_fill_(dropped, 0);
  }
  const at::Tensor kept = (ascending > 0).sum(1, /*keepdim=*/true);  // [S, 1]
  // A double holds any token.
  const auto fetch = [&](int64_t count) {
    const int64_t first = vocabulary - count;
    return at::cat({ascending.narrow(1, first, count).to(at::kDouble), tokens.narrow(1, first, count).to(at::kDouble),
                    kept.to(at::kDouble)},
                   1)
        .to(at::kCPU);
  };
  int64_t count = std::min(fetched, vocabulary);
  at::Tensor all = fetch(count);
  if (const auto most = all.select(1, 2 * count).max().item<int64_t>(); most > count) {
    fetched = 2 * most;
    count = std::min(fetched, vocabulary);
    all = fetch(count);
  }
  return {all.narrow(1, 0, count).to(at::kFloat).contiguous(), all.narrow(1, count, count).to(at::kLong).contiguous(),
          vocabulary};
}

int64_t draw(const Choices& choices, int64_t s, Random stream, int64_t step) {
  const auto count = static_cast<size_t>(choices.weights.size(1));
  const float* const weights = choices.weights.data_ptr<float>() + static_cast<size_t>(s) * count;
  const int64_t* const tokens =
      choices.tokens.defined() ? choices.tokens.data_ptr<int64_t>() + static_cast<size_t>(s) * count : nullptr;
  // Exponential race: of independent times E_i / w_i with E_i exponential, w_i's is first with probability w_i / Σ w.
  const uint64_t first = static_cast<uint64_t>(step) * static_cast<uint64_t>(choices.vocabulary_size);
  double earliest = std::numeric_limits<double>::infinity();
  int64_t winner = -1;
  for (size_t i = 0; i < count; ++i) {
    const double weight = weights[i];
    if (!(weight > 0)) continue;
    const int64_t token = tokens ? tokens[i] : static_cast<int64_t>(i);
    stream.seek(first + static_cast<uint64_t>(token));
    const double uniform = (stream.next() + 0.5) * 0x1.0p-32;
    // -log u ≥ 1 - u: most tokens are too late already by this bound and need no logarithm.
    if (1 - uniform >= earliest * weight) continue;
    const double time = -std::log(uniform) / weight;
    if (time < earliest) {
      earliest = time;
      winner = token;
    }
  }
  if (winner < 0) throw DataError(describe("sampling a token", "finite logits", "none with a positive probability"));
  return winner;
}

}  // namespace readback::caption
