// Whether learning from what returned goes well. Rewards get hacked: a captioner and a generator may come to agree with
// one another better while both get worse. So each round is judged by what is not the reward, on held-out samples.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/roundtrip/store.h"
#include "readback/score/checkpoints.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/train/drift.h"
#include "readback/workflow/learning_options.h"

namespace readback::workflow {

// What is judged by: metrics, or roundtrip::kLikelihood.
struct Rewards {
  std::vector<std::string> image_cycle, text_cycle;
};

// A round: its models, and their run over held-out samples.
struct Judged {
  train::PairOfRepositories models;
  const roundtrip::Store& run;
};

// How round `now` does, as a page shows it:
//   {"metrics": [{"direction", "metric", "title", "better": "lower" or "higher", "role": "reward" or "held out",
//                 "value": {"mean", "low", "high", "samples"}, "floor": of random pairs or null,
//                 "difference": {…} from `previous` over the same samples, "verdict": "better", "worse" or ""}, …],
//    "drift": {"captioner", "generator"} from `start`,
//    "captions": {"distinct_1", "distinct_2", "entropy_2", "distinct_texts"}, "pictures": {"precision", "recall"},
//    "parted": [why learning should stop, in sentences, …]}
// with what there is of it. `previous` and `start` are null for the starting models; `first` is what this function said
// of them, for variety, which may be lost slowly. Errors: StoreError, CheckpointError, UsageError, Interrupted.
nlohmann::ordered_json judge(const Judged& now, const Judged* previous, const Judged* start,
                             const nlohmann::ordered_json& first, const Rewards& rewards, const GuardOptions& options,
                             const score::MetricCheckpoints& checkpoints, const Machine& machine,
                             const Context& context);

// Of a run: how much better a metric's own pairs are than its random ones.
struct Signal {
  roundtrip::Direction direction = roundtrip::Direction::kI2T2I;
  std::string metric;
  score::Interval own, floor, gain;  // gain: own less floor, where positive is better
  double deviations = 0;             // the gain in standard deviations of the random pairs
  bool teaches(double least) const { return gain.low > 0 && deviations >= least; }
  std::string sentence() const;  // "clip-image of i2t2i: 0.12 [0.10, 0.14], random pairs 0.54 [0.50, 0.58]"
};
// Of the rewards that have random pairs. Errors: StoreError.
std::vector<Signal> signals(const roundtrip::Store& run, const Rewards& rewards);

// Notes each signal. Errors: UsageError with the figures of those that teach too little.
void expect_signal(const std::vector<Signal>& signals, const GuardOptions& options, const Context& context);

}  // namespace readback::workflow
