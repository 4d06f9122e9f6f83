// How far tuned models have moved from those that they started from.
#pragma once
#include <optional>
#include <string>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/roundtrip/store.h"

namespace readback::train {

struct PairOfRepositories {
  std::string captioner, generator;
};

struct Drift {
  // KL(tuned ‖ start) of the next token in nats, over captions that the tuned captioner gave: none without captions.
  std::optional<double> captioner;
  // Mean squared difference of what the two UNets predict of noised pictures that the tuned generator drew, which for
  // Gaussians is that divergence up to a factor: none without pictures.
  std::optional<double> generator;
};

// Over at most 64 samples of each direction of `run`, which the tuned models made; a model that is the same in both
// pairs has not moved. Errors: CheckpointError, UsageError, DataError, Interrupted.
Drift measure_drift(const PairOfRepositories& start, const PairOfRepositories& tuned, const roundtrip::Store& run,
                    const Machine& machine, const Context& context);

}  // namespace readback::train
