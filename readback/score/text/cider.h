// CIDEr and CIDEr-D (Vedantam et al., CVPR 2015).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "readback/score/text/ngrams.h"

namespace readback::score {

// In how many documents (all references of one image) each n-gram occurs.
class DocumentFrequencies {
 public:
  void add(std::span<const Tokens> references);  // one document
  int64_t documents() const { return documents_; }
  int64_t frequency(const std::string& ngram) const;

 private:
  std::unordered_map<std::string, int64_t> frequencies_;
  int64_t documents_ = 0;
};

// kD: tf-idf weights clipped to the reference's and a Gaussian penalty (sigma 6) on the difference in length. The COCO
// caption evaluation (pycocoevalcap) and everything after it call this one "CIDEr"; the authors' own code calls it
// CIDEr-D and has kPlain, the cosine without either, as CIDEr.
enum class CiderVariant { kPlain, kD };

// One candidate against its references: 10 times the mean over n = 1 … 4 and over references of the cosine of the
// tf-idf vectors. Errors: DataError without references.
double cider(const Tokens& candidate, std::span<const Tokens> references, const DocumentFrequencies& frequencies,
             CiderVariant variant = CiderVariant::kD);

}  // namespace readback::score
