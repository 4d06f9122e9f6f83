#include "readback/caption/token_filters.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

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
    ids = ids.to(scores.device());
    const at::Tensor seen = scores.gather(1, ids);
    const double penalty = options.repetition_penalty.value();
    result.scatter_(1, ids, at::where(seen < 0, seen * penalty, seen / penalty));
  }
  if (any_too_short) {
    too_short = too_short.to(scores.device());
    for (const int64_t token : end_tokens) {
      result.select(1, token).masked_fill_(too_short, -std::numeric_limits<float>::infinity());
    }
  }
  return result;
}

at::Tensor filter(const at::Tensor& scores, const DecodingOptions& options) {
  at::Tensor logits = options.temperature.value() == 1.0 ? scores : scores / options.temperature.value();
  const int64_t vocabulary = logits.size(1);
  if (options.top_k.value() > 0 && options.top_k.value() < vocabulary) {
    const at::Tensor least =
        std::get<0>(logits.topk(options.top_k.value())).narrow(1, options.top_k.value() - 1, 1);  // [S, 1]
    logits = logits.masked_fill(logits < least, -std::numeric_limits<float>::infinity());
  }
  const at::Tensor weights = at::softmax(logits, 1).to(at::kCPU).contiguous();
  if (options.top_p.value() < 1.0) {
    float* const data = weights.data_ptr<float>();
    at::parallel_for(0, weights.size(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        keep_nucleus({data + s * vocabulary, static_cast<size_t>(vocabulary)}, options.top_p.value());
      }
    });
  }
  return weights;
}

int64_t draw(std::span<const float> weights, Random stream, int64_t step) {
  // Exponential race: of independent times E_i / w_i with E_i exponential, w_i's is first with probability w_i / Σ w.
  const uint64_t first = static_cast<uint64_t>(step) * weights.size();
  double earliest = std::numeric_limits<double>::infinity();
  int64_t winner = -1;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double weight = weights[i];
    if (!(weight > 0)) continue;
    stream.seek(first + i);
    const double uniform = (stream.next() + 0.5) * 0x1.0p-32;
    // -log u ≥ 1 - u: most tokens are too late already by this bound and need no logarithm.
    if (1 - uniform >= earliest * weight) continue;
    const double time = -std::log(uniform) / weight;
    if (time < earliest) {
      earliest = time;
      winner = static_cast<int64_t>(i);
    }
  }
  if (winner < 0) throw DataError(describe("sampling a token", "finite logits", "none with a positive probability"));
  return winner;
}

}  // namespace readback::caption
