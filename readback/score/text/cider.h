// CIDEr and CIDEr-D (Vedantam et al., CVPR 2015).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "readback/score/text/ngrams.h"

namespace readback::score {

// In how many documents (all references of one image) each n-gram occurs.
class DocumentFrequencies {
 public:
  void add(std::span<const Tokens> references);  // one document
  int64_t documents() const { return documents_; }
  int64_t frequency(const Ngram& ngram) const;

 private:
  struct Slot {
    Ngram ngram;
    int64_t frequency = 0;  // 0: free
  };
  // Where the n-gram is or would be put: a table of 2^n slots, looked through from the place that the hash names.
  size_t find(const Ngram& ngram) const;
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(1024);
  size_t used_ = 0;
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
