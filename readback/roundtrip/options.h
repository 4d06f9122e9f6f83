// What a run is asked to do.
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/machine.h"
#include "readback/base/options.h"
#include "readback/caption/captioner.h"
#include "readback/caption/open.h"
#include "readback/caption/shots.h"
#include "readback/data/dataset.h"
#include "readback/generate/generator.h"
#include "readback/generate/open.h"
#include "readback/roundtrip/direction.h"
#include "readback/score/checkpoints.h"
#include "readback/wire/options.h"

namespace readback::roundtrip {

// What the paper decodes by, where the user says nothing: candidates by nucleus sampling, read back by beam search.
caption::DecodingOptions candidate_decoding();  // do_sample, top_p 0.9, repetition_penalty 1.1
caption::DecodingOptions read_back_decoding();  // num_beams 3

// Whether one of the two models is in memory at a time: kAuto where both do not fit.
enum class Turns { kAuto, kAlways, kNever };
constexpr std::array<const char*, 3> names_of(Turns) { return {"auto", "always", "never"}; }

struct RunOptions {
  std::string dataset = "emoji-scenes";
  data::DatasetOptions dataset_options;
  std::vector<Direction> directions = {Direction::kI2T2I, Direction::kT2I2T};
  int64_t num_candidates = 10;
  std::string captioner = "emoji-scenes/captioner";
  std::string generator = "emoji-scenes/generator";
  std::string shots, ceiling;
  caption::DecodingOptions sampling{.do_sample = true};
  caption::DecodingOptions reading;
  generate::GenerationOptions generation;
  uint64_t seed = 0;
  std::vector<std::string> metrics;
  score::MetricCheckpoints checkpoints;
  int64_t batch_size = 32;
  int64_t max_errors = -1;
  Turns turns = Turns::kAuto;
  MachineOptions machine;
  wire::WireOptions wire;

  static constexpr auto options() {
    using O = RunOptions;
    return std::tuple(
        option(&O::dataset, "dataset", data::kDatasetSpecs), nested(&O::dataset_options, "dataset_options"),
        option(&O::directions, "directions", "i2t2i, t2i2t or both"),
        option(&O::num_candidates, "num_candidates", "Candidates a sample and direction", at_least(1)),
        option(&O::captioner, "captioner", caption::kCaptionerSpecs),
        option(&O::generator, "generator", generate::kGeneratorSpecs),
        option(&O::shots, "shots", caption::kShotsHelp),
        option(&O::ceiling, "ceiling",
               "Repository of an unCLIP with an image encoder, which also draws each picture anew without words: the "
               "most that picture → words → picture can give back",
               Scope::kExecution),
        nested(&O::sampling, "sampling"),            // of picture → words → picture's candidates
        nested(&O::reading, "reading", "reading_"),  // of words → picture → words' last words, one a picture
        nested(&O::generation, "generation"), option(&O::seed, "seed", "Of everything that is drawn"),
        option(&O::metrics, "metrics", "Names (readback score list); none: what the data set and the checkpoints allow",
               Scope::kExecution),
        nested(&O::checkpoints, "checkpoints"),
        option(&O::batch_size, "batch_size", "Pictures or texts a model gets at once", at_least(1), Scope::kExecution),
        option(&O::max_errors, "max_errors", "End when more samples than this failed; -1: never", at_least(-1),
               Scope::kExecution),
        option(&O::turns, "turns",
               "One of the two models in memory at a time: always, never, or auto, which is when both do not fit", {},
               Scope::kExecution),
        nested(&O::machine, "machine"), nested(&O::wire, "wire"));
  }
};

// `options` with what they leave open: the reading's prompt and lengths are sampling's where these are
// given; then the paper's decoding; then what the backends say. Errors: UsageError for an option out of range or
// without effect.
RunOptions resolve(RunOptions options, const caption::DecodingOptions& captioner,
                   const generate::GenerationOptions& generator);

// Every resolved option that decides results, and the type that models compute in: with the class of the device and the
// version of results (roundtrip/manifest.h) what two runs must have in common to be the same run.
nlohmann::json identity(const RunOptions& options, const Machine& machine);

}  // namespace readback::roundtrip
