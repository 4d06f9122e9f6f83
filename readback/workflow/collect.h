// What learning from what returned collects before it learns: pictures without captions, captioned and drawn again;
// texts without pictures, drawn and read again.
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

}  // namespace readback::workflow
