// BLEU, METEOR, ROUGE-L, CIDEr and SPICE as metrics of single captions, each tokenized as a line of its own
// (text/ptb_tokenizer.h).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/score/metric.h"
#include "readback/score/text/cider.h"

namespace readback::score {

// Sentence BLEU of the given order, 1 … 4. NaN without references.
std::unique_ptr<Metric> make_bleu_metric(MetricInfo info, int order);

// METEOR with the tables of meteor_tables_path(). NaN without references. Errors: DataError without the tables.
std::unique_ptr<Metric> make_meteor_metric(MetricInfo info);

// ROUGE-L with beta 1.2. NaN without references.
std::unique_ptr<Metric> make_rouge_metric(MetricInfo info);

// Document frequencies come from `corpus` (the references of every sample), not from what is scored.
std::unique_ptr<Metric> make_cider_metric(MetricInfo info, CiderVariant variant,
                                          const std::vector<std::vector<std::string>>& corpus);

// SPICE by the programs of spice_folder(). NaN without references and where it cannot score a caption. Errors:
// DataError when something that it needs is not there.
std::unique_ptr<Metric> make_spice_metric(MetricInfo info);

}  // namespace readback::score
