// What `readback score agreement` does with judged captions and with judged pairs.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "readback/base/context.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/score/text/caption_scores.h"

namespace readback::cli {

struct AgreementFlags {
  std::string layout, format = "text", interval = "percentile", run, data_set;
  std::vector<std::string> judgements, captions;
  std::vector<std::string> metrics = score::CaptionScoreOptions().metrics;
  int64_t num_references = 5, draws = 5;
  uint64_t seed = 0;

  score::BootstrapOptions bootstrap() const {
    return {.method = interval == "bca" ? score::BootstrapMethod::kBca : score::BootstrapMethod::kPercentile};
  }
};

// A metric's values of judged captions.
struct CaptionValues {
  std::string title, formula;
  std::vector<double> values;  // higher is better; NaN where there is none
};
using Absent = std::vector<std::pair<std::string, std::string>>;  // metrics that cannot be computed, and why

// Of the metrics of captions. Errors: DataError when none can be computed.
std::vector<CaptionValues> values_of_metrics(const data::MatchedCaptions& captions, const AgreementFlags& flags,
                                             Absent& absent, const Context& context);

// Of every metric of a run from words to words whose samples are the judged captions, by their ids; nothing where no
// run is given. Errors: DataError when it has none of them, StoreError.
std::vector<CaptionValues> values_of_run(const std::vector<std::string>& ids, const AgreementFlags& flags);

// What such a run takes: {"id", "image", "captions": [the judged one]} a line, each id once. Nothing where no file is
// named. `images`: of each caption.
void write_data_set(const data::MatchedCaptions& captions, const std::vector<std::string>& images,
                    const AgreementFlags& flags);

void score_pair_agreement(const AgreementFlags& flags);  // score_agreement_pairs.cpp

}  // namespace readback::cli
