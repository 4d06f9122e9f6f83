#include "readback/roundtrip/plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"

namespace readback::roundtrip {

using nlohmann::json;

namespace {

json to_json(const caption::DecodingOptions& options) {
  return {{"prompt", options.prompt},
          {"num_beams", options.num_beams},
          {"max_length", options.max_length},
          {"min_length", options.min_length},
          {"length_penalty", options.length_penalty},
          {"repetition_penalty", options.repetition_penalty},
          {"do_sample", options.do_sample},
          {"top_p", options.top_p},
          {"top_k", options.top_k},
          {"temperature", options.temperature}};
}

json to_json(const generate::GenerationOptions& options) {
  return {{"negative_prompt", options.negative_prompt},
          {"num_inference_steps", options.num_inference_steps},
          {"guidance_scale", options.guidance_scale},
          {"scheduler", options.scheduler},
          {"height", options.height},
          {"width", options.width}};
}

void require(bool condition, const char* flag, const std::string& expected, const std::string& got) {
  if (!condition) throw UsageError(describe(flag, expected, got));
}

}  // namespace

caption::DecodingOptions candidate_decoding() {
  caption::DecodingOptions options;
  options.do_sample = true;
  options.top_p = 0.9;
  options.repetition_penalty = 1.1;
  return options;
}

caption::DecodingOptions read_back_decoding() { return {}; }

json identity(const RunOptions& options) {
  json directions = json::array();
  for (Direction direction : options.directions) directions.push_back(name(direction));
  return {{"dataset", options.dataset},
          {"split", options.dataset_options.split},
          {"limit", options.dataset_options.limit},
          {"dataset_seed", options.dataset_options.seed},
          {"directions", directions},
          {"num_candidates", options.num_candidates},
          {"captioner", options.captioner},
          {"generator", options.generator},
          {"sampling", to_json(options.sampling)},
          {"reading", to_json(options.reading)},
          {"generation", to_json(options.generation)},
          {"seed", options.seed},
          {"dtype", options.dtype}};
}

int64_t Plan::units() const {
  return static_cast<int64_t>(samples.size() * options.directions.size()) * options.num_candidates;
}

Plan make_plan(const RunOptions& options, const data::Dataset& dataset) {
  require(options.num_candidates >= 1, "--num-candidates", "1 or more", std::to_string(options.num_candidates));
  require(options.batch_size >= 1, "--batch-size", "1 or more", std::to_string(options.batch_size));
  require(!options.directions.empty(), "--directions", "i2t2i, t2i2t or both", "none");
  const std::set<Direction> distinct(options.directions.begin(), options.directions.end());
  require(distinct.size() == options.directions.size(), "--directions", "each direction once", "a repetition");
  if (dataset.size() == 0) throw DataError(describe(dataset.description(), "at least one sample", "an empty data set"));

  Plan plan{options, {}, {}};
  std::set<std::string> ids;
  bool has_text = false;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    plan.samples.push_back(dataset.sample(i));
    const data::Sample& sample = plan.samples.back();
    has_text |= !sample.references.empty();
    if (!ids.insert(sample.id).second) {
      throw DataError(describe(dataset.description(), "sample ids that differ", "\"" + sample.id + "\" twice"));
    }
  }
  if (distinct.contains(Direction::kT2I2T) && !has_text) {
    throw UsageError(describe("--directions t2i2t", "a data set with texts", dataset.description(),
                              "Put captions beside the images as NAME.txt, or give --directions i2t2i"));
  }
  const int64_t samples = dataset.size();
  const int64_t step = options.processes * std::max<int64_t>(1, options.batch_size / options.num_candidates);
  for (int64_t first = 0; first < samples; first += step) {
    plan.groups.push_back({first, std::min(first + step, samples)});
  }
  return plan;
}

}  // namespace readback::roundtrip
