// What a run does: its options, and the work that follows from them.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/data/dataset.h"
#include "readback/generate/generator.h"
#include "readback/roundtrip/direction.h"

namespace readback::roundtrip {

// Defaults as in the paper: candidates by nucleus sampling, read back by beam search.
caption::DecodingOptions candidate_decoding();  // do_sample, top_p 0.9, repetition_penalty 1.1
caption::DecodingOptions read_back_decoding();  // num_beams 3

struct RunOptions {
  std::string dataset = "emoji-scenes";
  data::DatasetOptions dataset_options;
  std::vector<Direction> directions = {Direction::kI2T2I, Direction::kT2I2T};
  int64_t num_candidates = 10;
  std::string captioner = "emoji-scenes/captioner";  // repositories, by the name that the user gave
  std::string generator = "emoji-scenes/generator";
  caption::DecodingOptions sampling = candidate_decoding();  // I2T2I's N texts; its num_captions and seed are set by us
  caption::DecodingOptions reading = read_back_decoding();   // T2I2T's one text per picture
  generate::GenerationOptions generation;                    // its seed is set by us
  uint64_t seed = 0;
  std::string dtype = "float32";  // models compute in it; part of a run's identity

  // The rest changes how a run goes, not what it stores.
  std::vector<std::string> metrics;  // score/registry.h; a later start with more of them measures these too
  int64_t batch_size = 32;           // pictures or texts a model gets at once
  int64_t processes = 1;             // that share the work, each with batches of batch_size
  int64_t max_errors = -1;           // end the run when more than this many samples failed; -1: never
};

// Every option that changes what a run stores, by its flag's name; two runs with equal JSON give equal rows.
nlohmann::json identity(const RunOptions& options);

// One group: samples that go through the models together. Groups depend on the data set, the batch size and the number
// of processes only, so that a resumed run forms the batches of an undisturbed one.
struct Group {
  int64_t first = 0, last = 0;  // positions in the data set: first … last - 1
};

struct Plan {
  RunOptions options;
  std::vector<data::Sample> samples;  // in the data set's order
  std::vector<Group> groups;
  // Work keyed by (sample, direction, candidate).
  int64_t units() const;
};

// Errors: UsageError (options out of range, no direction, T2I2T without a single reference text),
// DataError (empty data set, sample ids that repeat).
Plan make_plan(const RunOptions& options, const data::Dataset& dataset);

}  // namespace readback::roundtrip
