// A whole set of captions against its references, as the COCO caption evaluation scores it: values of the set and of
// every caption.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/context.h"
#include "readback/data/caption_file.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/score/text/document_frequencies.h"

namespace readback::score {

// Document frequencies of another set than the one at hand.
struct StoredFrequencies {
  std::string source;  // what they are of, in words
  DocumentFrequencies frequencies;
};

// Every metric that scores sets of captions, by name: bleu (all four orders), meteor, rouge, cider, …
std::vector<std::string> caption_metrics();

struct CaptionScoreOptions {
  std::vector<std::string> metrics = {"bleu", "meteor", "rouge", "cider"};
  std::optional<StoredFrequencies> frequencies;  // CIDEr's; none: those of the references at hand
};

// One line of the table.
struct CaptionScore {
  std::string name;             // "bleu-1", as in the registry
  std::string title, formula;   // "BLEU-1"
  std::vector<double> samples;  // of each caption by itself
};

// Values that come from the same sums over captions: BLEU-1 … 4; for all others one.
struct CaptionScoreGroup {
  std::vector<CaptionScore> scores;
  Aggregate aggregate;  // values in the order of `scores`
};

struct CaptionScores {
  std::vector<CaptionScoreGroup> groups;                    // in the order asked for
  std::vector<std::pair<std::string, std::string>> absent;  // metrics that this machine cannot compute, and why
};

// All references are tokenized together and so are all candidates, as pycocoevalcap does (text/ptb_tokenizer.h).
// Metrics run on several threads; the context's progress hears of SPICE only, which takes minutes. Errors: UsageError
// for an unknown metric; DataError for captions without references; Interrupted.
CaptionScores score_captions(const data::MatchedCaptions& captions, const CaptionScoreOptions& options,
                             const Context& context = {});

// References of a set as CIDEr counts them, one document an id.
DocumentFrequencies document_frequencies(const data::CaptionFile& references);

// The share of different words of the references that `frequencies` has seen: 1 when it was made from a set that
// contains them, far less when it was made from another one.
double word_coverage(const data::MatchedCaptions& captions, const DocumentFrequencies& frequencies);

}  // namespace readback::score
