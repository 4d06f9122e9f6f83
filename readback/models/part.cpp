#include "readback/models/part.h"

namespace readback::models {

checkpoint::ConfigReader part_config(const checkpoint::Repository& repository, const std::string& part) {
  const std::string file = (std::filesystem::path(part) / "config.json").string();
  return {repository.json(file), (repository.path() / file).string()};
}

nn::Weights part_weights(const checkpoint::Repository& repository, const std::string& part, c10::Device device,
                         c10::ScalarType dtype) {
  return nn::Weights(repository.tensors(part), device, dtype, (repository.path() / part).string());
}

}  // namespace readback::models
