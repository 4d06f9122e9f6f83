// ROUGE-L (Lin, 2004) with the arithmetic of the COCO caption evaluation.
#pragma once
#include <span>

#include "readback/score/text/words.h"

namespace readback::score {

// F of the longest common subsequence with beta 1.2: (1 + beta²) P R / (R + beta² P), where P and R are the largest
// precision and the largest recall over the references, not necessarily of the same one; 0 to 1. No tokens count as
// one empty token. Errors: DataError without references.
double rouge_l(const Tokens& candidate, std::span<const Tokens> references);

}  // namespace readback::score
