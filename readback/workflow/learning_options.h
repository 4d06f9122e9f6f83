// What learning from what returned is asked to do around the learning itself (train/return_options.h): what is
// collected before, and what guards it.
#pragma once
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/options.h"
#include "readback/caption/decoding_options.h"
#include "readback/data/dataset.h"
#include "readback/generate/generator.h"
#include "readback/roundtrip/options.h"
#include "readback/score/checkpoints.h"

namespace readback::workflow {

// Pictures without captions, captioned and drawn again; texts without pictures, drawn and read again.
// learn_from_return.cpp
struct CollectOptions {
  std::string pictures, texts;
  data::DatasetOptions pictures_from{.split = "train"}, texts_from{.split = "train"};
  int64_t num_candidates = 8;
  std::string reader, drawer;
  caption::DecodingOptions sampling{.do_sample = true};
  caption::DecodingOptions reading;
  generate::GenerationOptions generation;
  std::vector<std::string> metrics;
  score::MetricCheckpoints checkpoints;
  int64_t batch_size = 32;

  static constexpr auto options() {
    using O = CollectOptions;
    return std::tuple(
        option(&O::pictures, "pictures", "Data set of pictures, whose captions are not looked at"),
        nested(&O::pictures_from, "pictures_from", "pictures_"),
        option(&O::texts, "texts", "Data set of texts, of whose samples the first is taken and no picture"),
        nested(&O::texts_from, "texts_from", "texts_"),
        option(&O::num_candidates, "num_candidates", "Captions of a picture, pictures of a text", at_least(2)),
        option(&O::reader, "reader", "Captioner that reads the generator's pictures; left away: the one that is tuned"),
        option(&O::drawer, "drawer", "Generator that draws the captions; left away: the one that is tuned"),
        nested(&O::sampling, "sampling", "sampling_"), nested(&O::reading, "reading", "reading_"),
        nested(&O::generation, "generation"),
        option(&O::metrics, "collect_metrics", "What is measured beside what is chosen by", Scope::kExecution),
        nested(&O::checkpoints, "checkpoints"),
        option(&O::batch_size, "collect_batch_size", "Pictures or texts a model gets at once", at_least(1),
               Scope::kExecution));
  }
};

// guards.cpp, and learn_from_return.cpp for the probe
struct GuardOptions {
  std::vector<std::string> metrics;
  double confidence = 0.95;
  double least_variety = 0.5;
  int64_t probe = 24;
  double least_signal = 0.5;

  static constexpr auto options() {
    using O = GuardOptions;
    return std::tuple(
        option(&O::metrics, "guard_metrics",
               "Held-out metrics; left away: all that evaluate_dataset and the checkpoints allow but the reward"),
        option(&O::confidence, "guard_confidence",
               "Of the intervals by which a held-out metric got worse, all metrics together", share_below_one()),
        option(&O::least_variety, "least_variety",
               "Share of the start's distinct captions, bigrams and pictures' recall that must remain", {0, 1}),
        option(&O::probe, "probe", "Samples that are tried before it starts; 0: none", at_least(0)),
        option(&O::least_signal, "least_signal",
               "What the return must be better than random pairs by, in their standard deviations", at_least(0)));
  }
};

}  // namespace readback::workflow
