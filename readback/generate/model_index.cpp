#include "readback/generate/model_index.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::generate {

namespace {

checkpoint::ConfigReader read_index(const checkpoint::Repository& repository) {
  if (!repository.has("model_index.json")) {
    throw CheckpointError(describe(repository.path().string(), "a diffusers repository with model_index.json", "none",
                                   "A generator is a folder saved by a diffusers pipeline's save_pretrained"));
  }
  return {repository.json("model_index.json"), (repository.path() / "model_index.json").string()};
}

}  // namespace

ModelIndex::ModelIndex(const checkpoint::Repository& repository, const std::vector<std::string>& pipelines)
    : index_(read_index(repository)), pipeline_(index_.get<std::string>("_class_name", "none")) {
  if (std::ranges::find(pipelines, pipeline_) == pipelines.end()) {
    throw CheckpointError(describe(index_.where(), fmt::format("{}", fmt::join(pipelines, ", ")), pipeline_,
                                   "Other pipelines that draw are neither tuned nor distilled here"));
  }
}

bool ModelIndex::has(const std::string& part) { return !class_of(part).empty(); }

void ModelIndex::expect(const std::string& part, const std::vector<std::string>& classes) {
  const std::string found = class_of(part);
  if (std::find(classes.begin(), classes.end(), found) == classes.end()) {
    throw CheckpointError(describe(index_.where() + ": " + part, classes.front(), found.empty() ? "none" : found));
  }
}

// Each part is given as [library, class], or as [null, null] where the repository lacks it.
std::string ModelIndex::class_of(const std::string& part) {
  const auto entry = index_.get<nlohmann::json>(part, nullptr);
  return entry.is_array() && entry.size() == 2 && entry[1].is_string() ? entry[1].get<std::string>() : "";
}

}  // namespace readback::generate
