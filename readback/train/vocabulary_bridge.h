// Which of the captioner's tokens says what each of the generator's says: CLIP's byte pairs and any captioner's pieces.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "readback/text/tokenizer.h"

namespace readback::train {

// The two vocabularies: their tokenizers, and what only the models' configurations know, since BLIP's repositories
// leave the begin token out of their vocabulary.
struct Vocabularies {
  const text::Tokenizer& captioner;
  const text::Tokenizer& generator;
  int64_t captioner_size = 0;                      // how many logits the captioner gives
  int64_t captioner_begin = 0, captioner_end = 0;  // BLIP's [DEC] and [SEP]
};

struct VocabularyBridge {
  at::Tensor map;                // int64 [the generator's vocabulary]: ids of the captioner
  int64_t unknown = 0;           // the captioner's [UNK], for tokens without a counterpart; else its end token
  int64_t captioner_size = 0;    // of its vocabulary
  int64_t counterparts() const;  // how many of the generator's tokens have one
  int64_t reached() const;       // how many of the captioner's tokens, [UNK] not counted, are a counterpart
  double coverage() const;       // reached() as a share of the captioner's vocabulary
  // "20,543 of the generator's 49,408 tokens, 67.3 % of the captioner's"
  std::string summary() const;
};

// The rule: the generator's token that ends a word, "w</w>", is the captioner's word "w"; any other piece "w" is the
// continuation "w"; the begin and end tokens are the captioner's; what has no counterpart is [UNK]. WordPiece (BLIP)
// marks continuations, "##w"; byte pairs of OPT, LLaMA and SmolLM and T5's unigrams mark what begins a word, "Ġw" and
// "▁w". Pieces are compared as text, so that half a character has no counterpart; of several tokens that say the same
// the first is taken. For BLIP and Stable Diffusion 1.x this agrees with the paper's published map in 38,463 of 49,408
// tokens; the others, e.g. "piano" ↔ "##pia", follow no rule that was published. For BLIP-2 no map was published.
VocabularyBridge build_bridge(const Vocabularies& vocabularies);

// A given map: a file of torch.save with one int64 tensor, as the paper's reindex.pth; nothing in it is executed.
// Errors: CheckpointError (another type, length or ids that the captioner has not).
VocabularyBridge load_bridge(const std::filesystem::path& path, const Vocabularies& vocabularies);

// Errors: CheckpointError that prints the coverage when it is below `minimum`.
void expect_coverage(const VocabularyBridge& bridge, double minimum);

}  // namespace readback::train
