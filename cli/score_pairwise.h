// What the verbs that score pairs of files share: flags, names of metrics, lines of the table.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common.h"
#include "readback/score/checkpoints.h"
#include "readback/score/pairwise.h"
#include "score_table.h"

namespace readback::cli {

// What --metrics names, and the metrics of the registry that it stands for.
struct ShortName {
  std::string name;  // "clip"
  struct Line {
    std::string title;   // "CLIP-pooled": the key in JSON
    std::string metric;  // "clip-image-pooled"
  };
  std::vector<Line> lines;  // none for metrics that the verb computes itself
};

struct ScoreFlags {
  MachineFlags machine{.options = {.dtype = "float32"}};  // values that equal the references' rather than fast ones
  score::MetricCheckpoints checkpoints{.clip = ""};
  std::vector<std::string> metrics;
  std::string per_sample, format = "text";
  int64_t batch_size = 32;
  uint64_t seed = 0;  // of the random pairs
  bool allow_missing = false;
  // `names`: for --help, what --metrics takes. Checkpoints are added by the verb.
  void add_to(CLI::App& verb, const std::string& names);
  // Flags of some of the checkpoints: {"clip", "dino", "dino_size"}.
  void add_checkpoints(CLI::App& verb, const std::set<std::string>& names);
  score::MetricContext open_checkpoints(const Machine& on) const {
    const auto progress = make_progress();
    return score::open_checkpoints(score::pulled(checkpoints, {}, context_with(*progress)), on,
                                   score::EmbeddingCache::Originals::kTogether);
  }
};

// The metrics to score, and the titles of their lines.
struct ChosenMetrics {
  std::vector<std::string> titles;
  std::vector<std::unique_ptr<score::Metric>> metrics;
};

// Loads the checkpoints. Errors: UsageError for names that `known` lacks (it lists them) and for missing checkpoints.
ChosenMetrics choose_metrics(const std::vector<ShortName>& known, const std::vector<std::string>& names,
                             const score::MetricContext& context);

// Every name of `known` whose checkpoint is given: what is scored without --metrics.
std::vector<std::string> available(const std::vector<ShortName>& known, const std::set<std::string>& given);

// Adds a line a metric to `table`: the mean of the defined values, the floor, the checkpoint; and a column to
// `columns`, which point into `scores`. Says on standard error how many values are undefined.
void add_lines(const ChosenMetrics& chosen, const std::vector<score::PairScores>& scores, ScoreTable& table,
               std::vector<SampleColumn>& columns);

// Says on standard error how many tokens of texts did not fit the models.
void note_truncation(const score::MetricContext& context);

}  // namespace readback::cli
