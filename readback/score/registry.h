// The one table of metrics, and how they are made from their names. Metrics of captions also score whole sets at once,
// as `readback score captions` does: these have their table in score/text/caption_scores.cpp.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"
#include "readback/score/embedder.h"
#include "readback/score/lazy.h"
#include "readback/score/metric.h"
#include "readback/score/set_metrics.h"
#include "readback/score/text/word_vectors.h"

namespace readback::score {

// What metrics are made of beside the comparisons.
struct MetricContext {
  std::vector<std::vector<std::string>> corpus;  // the references of every sample: CIDEr's document frequencies
  // Loaded when the first metric asks for it.
  Lazy<EmbeddingCache> clip;                  // clip-*, clipscore, refclipscore
  Lazy<EmbeddingCache> dino;                  // dino-image
  Lazy<EmbeddingCache> inception;             // inception-image
  Lazy<EmbeddingCache> sbert;                 // sbert-text
  Lazy<const WordVectors> vectors;            // wmd-*
  Lazy<caption::Captioner> judge_captioner;   // text-probability, vqascore
  Lazy<generate::Generator> judge_generator;  // denoising-error
};

// Every metric of single samples, in the order of tables: of images, of texts, of texts and references, of images and
// texts, and with the scenes' truth. `checkpoint` is filled in when a metric is made.
const std::vector<MetricInfo>& all_metrics();

// Errors: UsageError that lists the names; what the metric's model or tables throw when they are not there.
const MetricInfo& find_metric(const std::string& name);
std::unique_ptr<Metric> make_metric(const std::string& name, const MetricContext& context);

// The metrics that a data set and the given checkpoints (options of MetricCheckpoints, such as "dino") allow, without
// those of only_on_request in the table (registry.cpp): the oracle's need the scenes' truth, BLEU, ROUGE-L and CIDEr
// reference texts, METEOR its tables too (text/meteor/tables.h).
std::vector<std::string> default_metrics(bool has_references, bool has_truth,
                                         const std::set<std::string>& checkpoints = {"clip"});

}  // namespace readback::score
