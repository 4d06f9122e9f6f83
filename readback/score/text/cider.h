// CIDEr and CIDEr-D (Vedantam et al., CVPR 2015).
#pragma once
#include <span>

#include "readback/score/text/document_frequencies.h"

namespace readback::score {

// kD: tf-idf weights clipped to the reference's and a Gaussian penalty (sigma 6) on the difference in length. The COCO
// caption evaluation (pycocoevalcap) and everything after it call this one "CIDEr"; the authors' own code calls it
// CIDEr-D and has kPlain, the cosine without either, as CIDEr.
enum class CiderVariant { kPlain, kD };

// One candidate against its references: 10 times the mean over n = 1 … 4 and over references of the cosine of the
// tf-idf vectors. Errors: DataError without references.
double cider(const Tokens& candidate, std::span<const Tokens> references, const DocumentFrequencies& frequencies,
             CiderVariant variant = CiderVariant::kD);

}  // namespace readback::score
