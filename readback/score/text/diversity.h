// How varied a set of texts is.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace readback::score {

struct TextDiversity {
  double distinct_1 = 0, distinct_2 = 0;  // distinct n-grams by all n-grams (https://arxiv.org/abs/1510.03055)
  double entropy_2 = 0;                   // of the bigrams' distribution, in bits (https://arxiv.org/abs/1809.05972)
  double distinct_texts = 0;              // share of texts that no earlier one equals
};

// Of PTB tokens. Zeros where there are no n-grams.
TextDiversity text_diversity(std::span<const std::string> texts);

}  // namespace readback::score
