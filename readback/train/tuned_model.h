// One of the two models that are fine-tuned: how it starts, and how it is saved.
#pragma once
#include <filesystem>
#include <string>

#include "readback/base/machine.h"
#include "readback/checkpoint/repository.h"
#include "readback/nn/weights.h"
#include "readback/train/trained_parameters.h"

namespace readback::train {

// What is tuned of a repository: a captioner whole, or a pipeline's UNet.
struct TunedPart {
  const Tunable& model;
  Selection selection;
  LoraOptions lora;

  std::string folder() const { return model.folder(); }
  std::string prefix() const { return model.prefix(); }
};

// Weights to train: copies where they are trained, since a mapped file must not be written to, or with adapters.
// Errors: CheckpointError, UsageError.
nn::Weights weights_to_train(const checkpoint::Repository& repository, const TunedPart& part, const Machine& machine);

// The starting checkpoint with the trained tensors (keys with the part's prefix) in place of its own, or with trained
// adapters added.
checkpoint::TensorMap tuned_tensors(const checkpoint::Repository& repository, const TunedPart& part,
                                    const checkpoint::TensorMap& trained);

// Writes `folder`: a whole repository, each tensor in the type that the starting checkpoint has; or an adapter in the
// layout of PEFT or diffusers, which names `repository` as its base.
void save_tuned(const checkpoint::Repository& repository, const TunedPart& part, const checkpoint::TensorMap& trained,
                const std::filesystem::path& folder);

}  // namespace readback::train
