// A model as a repository holds it: alone, or as a part of a pipeline in a folder of its own.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>

#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"
#include "readback/nn/weights.h"

namespace readback::models {

// Of `part`, a folder such as "unet"; "": the repository's own. Errors: CheckpointError.
checkpoint::ConfigReader part_config(const checkpoint::Repository& repository, const std::string& part = "");
nn::Weights part_weights(const checkpoint::Repository& repository, const std::string& part, c10::Device device,
                         c10::ScalarType dtype);

// The repository's own model, of weights that are all of it. Errors: CheckpointError.
template <typename Model, typename Config = decltype(Model::config)>
std::unique_ptr<Model> model_of(const checkpoint::Repository& repository, const nn::Weights& weights) {
  auto model = std::make_unique<Model>(Config::read(part_config(repository)), weights);
  weights.finish();
  return model;
}

template <typename Model>
struct Part {
  std::unique_ptr<Model> model;
  int64_t bytes = 0;  // of its weights
};

// For inference only. Errors: CheckpointError.
template <typename Model, typename Config = decltype(Model::config)>
Part<Model> load_part(const checkpoint::Repository& repository, const std::string& part, c10::Device device,
                      c10::ScalarType dtype) {
  const nn::Weights weights = part_weights(repository, part, device, dtype).for_inference();
  auto model = std::make_unique<Model>(Config::read(part_config(repository, part)), weights);
  weights.finish();
  return {std::move(model), weights.bytes()};
}

}  // namespace readback::models
