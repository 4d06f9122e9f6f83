// A diffusers repository's model_index.json: the pipeline's class, and which class each of its parts is of.
#pragma once
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"

namespace readback::generate {

class ModelIndex {
 public:
  // Errors: CheckpointError when there is none, or when it is of none of `pipelines`.
  ModelIndex(const checkpoint::Repository& repository, const std::vector<std::string>& pipelines);

  const std::string& pipeline() const { return pipeline_; }
  bool flag(const std::string& name, bool fallback) { return index_.get(name, fallback); }

  bool has(const std::string& part);
  // Errors: CheckpointError when the part is of none of `classes`, of which the first is named.
  void expect(const std::string& part, const std::vector<std::string>& classes);

 private:
  std::string class_of(const std::string& part);  // empty when the repository lacks it
  checkpoint::ConfigReader index_;
  std::string pipeline_;
};

}  // namespace readback::generate
