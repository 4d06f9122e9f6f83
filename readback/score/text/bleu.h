// BLEU-1 … 4 (Papineni et al., ACL 2002), with the arithmetic of the COCO caption evaluation.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "readback/score/text/ngrams.h"

namespace readback::score {

// What BLEU counts in one or more sentences; sums over sentences give the corpus score.
struct BleuCounts {
  std::array<int64_t, kMaxOrder> matches{}, guesses{};
  int64_t candidate_length = 0;
  int64_t reference_length = 0;  // the closest one; the shorter of two that are equally close
  BleuCounts& operator+=(const BleuCounts& other);
};

// Errors: DataError without references.
BleuCounts count_bleu(const Tokens& candidate, std::span<const Tokens> references);
// BLEU-1 … BLEU-4 of the counts: geometric mean of the clipped precisions times the brevity penalty. Precisions are
// (matches + 1e-15) / (guesses + 1e-9), so that a sentence without matches scores about 0 and not NaN.
std::array<double, kMaxOrder> bleu(const BleuCounts& counts);

}  // namespace readback::score
