// How often a captioner and a generator are right on the small world, where the truth is known.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/caption/captioner.h"
#include "readback/data/emoji_scenes.h"
#include "readback/data/oracle.h"
#include "readback/generate/generator.h"
#include "readback/score/statistics/bootstrap.h"

namespace readback::roundtrip {

// Shares of scenes, with bootstrap intervals, by the oracle (data/oracle.h).
struct SceneAccuracy {
  std::string model;   // "captioner" or "generator"
  std::string scenes;  // "single" or "pair"
  score::Interval objects, relation, background, all, semantic;
};

// What a model made of one scene, and how right it is.
struct SceneAnswer {
  std::string model, image;  // as above; the scene's picture as `readback dataset export` names it
  bool single = false;
  data::Accuracy accuracy;
  std::string caption;   // the captioner's
  image::Image picture;  // the generator's
};

struct AccuracyOptions {
  data::Split split = data::Split::kTest;
  int64_t limit = 0;  // 0: the whole split
  int64_t image_size = 32, batch_size = 32;
  caption::DecodingOptions reading;        // one caption a picture
  std::vector<caption::Part> examples;     // that the captioner reads before every picture
  generate::GenerationOptions generation;  // one picture a scene, from its complete caption
  std::function<void(const SceneAnswer&)> on_answer = [](const SceneAnswer&) {};
};

// The captioner on rendered scenes. Rows: singles, pairs; a kind of scene that does not occur has no row.
std::vector<SceneAccuracy> captioner_accuracy(caption::Captioner& captioner, const AccuracyOptions& options,
                                              const Context& context);
// The generator on complete captions.
std::vector<SceneAccuracy> generator_accuracy(generate::Generator& generator, const AccuracyOptions& options,
                                              const Context& context);

}  // namespace readback::roundtrip
