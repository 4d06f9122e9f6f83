// What a training and its resume must have in common, and how that is kept.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

#include "readback/base/machine.h"

namespace readback::train {

struct TrainingIdentity {
  // Objects all: the options that decide the weights; what they were before they existed, which stands for those that a
  // stored identity lacks; digests of the models that it starts from.
  nlohmann::json options = nlohmann::json::object(), defaults = nlohmann::json::object(),
                 start = nlohmann::json::object();

  // With the class of the device, the type that models compute in and the version of the random streams beside
  // `options`.
  static TrainingIdentity of(nlohmann::json options, nlohmann::json defaults, const Machine& machine,
                             nlohmann::json start = nlohmann::json::object());
};

// Writes `identity` to `file` when that is not there, and refuses another one: StoreError that lists what differs.
// `folder`: the training's, for messages.
void keep_identity(const std::filesystem::path& file, const std::filesystem::path& folder,
                   const TrainingIdentity& identity);

}  // namespace readback::train
