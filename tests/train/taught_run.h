// A small finished run of scenes, written by hand: what candidates there are and which came back best is known.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "../roundtrip/fakes.h"
#include "readback/data/emoji_scenes.h"
#include "readback/roundtrip/store.h"

namespace readback::train {

inline constexpr int64_t kTaughtSamples = 6, kTaughtCandidates = 3;

// Both directions of kTaughtSamples scenes. Candidate k of sample s in the image cycle says caption k of the scene; in
// the text cycle it is the picture of scene s + k. "near" is lowest for candidate s % 3 and highest for the one behind
// it; "like" says the same, higher being better.
inline void write_taught_run(const std::filesystem::path& folder) {
  using namespace roundtrip;
  RunOptions options = fakes::options(kTaughtCandidates);
  options.directions = {Direction::kI2T2I, Direction::kT2I2T};
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  store.put_metric({"near", "", "", score::Direction::kLowerIsBetter, score::Inputs::kImages, "", ""});
  store.put_metric({"like", "", "", score::Direction::kHigherIsBetter, score::Inputs::kTexts, "", ""});
  for (int64_t s = 0; s < kTaughtSamples; ++s) {
    const data::Scene scene = data::make_scene(data::Split::kTrain, s);
    const std::vector<std::string> captions = data::captions(scene);
    const SampleRow sample{"scene-" + std::to_string(s), s, "", captions, ""};
    store.add_samples(std::vector{sample});
    store.set_original(sample.id, data::render(scene));
    for (const Direction direction : options.directions) {
      for (int64_t k = 0; k < kTaughtCandidates; ++k) {
        CandidateRow row{.key = {direction, sample.id, k}};
        const bool images = direction == Direction::kI2T2I;
        row.text = images ? captions[static_cast<size_t>(k)] : captions[0];
        row.token_ids = std::vector<int64_t>{1, 2};
        row.log_probability = -1.0 - static_cast<double>(k);
        row.image = store.save_image(row.key, data::render(data::make_scene(data::Split::kTrain, images ? s : s + k)));
        store.put_candidates(std::vector{row});
        const auto behind = static_cast<double>((k - s % kTaughtCandidates + kTaughtCandidates) % kTaughtCandidates);
        store.put_scores(std::vector<ScoreRow>{{row.key, "near", behind == 0 ? 0 : 3 - behind},
                                               {row.key, "like", behind == 0 ? 9 : behind}},
                         {});
      }
    }
  }
}

}  // namespace readback::train
