// The one table of metrics, and how they are made from their names.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/score/embedder.h"
#include "readback/score/metric.h"

namespace readback::score {

// What metrics are made of beside the comparisons.
struct MetricContext {
  std::vector<std::vector<std::string>> corpus;  // the references of every sample: CIDEr's document frequencies
  std::shared_ptr<EmbeddingCache> clip;          // for the clip-* metrics
};

// Every metric there is, in the order of tables: clip-image, clip-image-pooled, clip-text, clip-text-pooled, bleu-1 to
// bleu-4, meteor, rouge-l, cider, cider-d, cider-plain, oracle-text, oracle-image. `checkpoint` is filled in when a
// metric is made.
const std::vector<MetricInfo>& all_metrics();

// Errors: UsageError that lists the names; what the metric's model or tables throw when they are not there.
const MetricInfo& find_metric(const std::string& name);
std::unique_ptr<Metric> make_metric(const std::string& name, const MetricContext& context);

// The metrics that a data set allows, without further forms of one: the oracle's need the scenes' truth, BLEU, ROUGE-L
// and CIDEr reference texts, METEOR its tables too (text/meteor/tables.h).
std::vector<std::string> default_metrics(bool has_references, bool has_truth);

}  // namespace readback::score
