#include "readback/roundtrip/accuracy.h"

#include <fmt/format.h>

#include <functional>

namespace readback::roundtrip {

namespace {

// Fills in what the model made of each scene, and gives what the oracle reads from it.
using Read = std::function<std::vector<data::Reading>(const std::vector<data::Scene>& scenes,
                                                      std::vector<SceneAnswer>& answers)>;

std::vector<SceneAccuracy> measure_scenes(const std::string& model, const AccuracyOptions& options, const Read& read,
                                          const Context& context) {
  const int64_t size = data::split_size(options.split);
  const int64_t count = options.limit > 0 ? std::min(options.limit, size) : size;
  std::vector<std::vector<double>> columns[2];  // singles, pairs; five columns each
  for (auto& kind : columns) kind.resize(5);
  context.progress().begin(model, count);
  for (int64_t first = 0; first < count; first += options.batch_size) {
    context.check();
    std::vector<data::Scene> scenes;
    std::vector<SceneAnswer> answers;
    for (int64_t i = first; i < std::min(first + options.batch_size, count); ++i) {
      scenes.push_back(data::make_scene(options.split, i));
      const std::string image = fmt::format("{}-{:05}.png", data::split_name(options.split), i);
      answers.push_back({.model = model, .image = image, .single = scenes.back().single()});
    }
    const std::vector<data::Reading> readings = read(scenes, answers);
    for (size_t i = 0; i < scenes.size(); ++i) {
      const data::Accuracy accuracy = answers[i].accuracy = data::compare(scenes[i], readings[i]);
      options.on_answer(answers[i]);
      auto& kind = columns[scenes[i].single() ? 0 : 1];
      kind[0].push_back(accuracy.objects);
      kind[1].push_back(accuracy.relation);
      kind[2].push_back(accuracy.background);
      kind[3].push_back(accuracy.all);
      kind[4].push_back(accuracy.semantic);
    }
    context.progress().advance(static_cast<int64_t>(scenes.size()));
  }
  context.progress().end();
  std::vector<SceneAccuracy> rows;
  for (int kind = 0; kind < 2; ++kind) {
    if (columns[kind][0].empty()) continue;
    const std::vector<score::Interval> means = score::bootstrap_means(columns[kind]);
    rows.push_back({model, kind == 0 ? "single" : "pair", means[0], means[1], means[2], means[3], means[4]});
  }
  return rows;
}

// What the models' random numbers go by.
std::string sample_name(const SceneAnswer& answer) { return answer.image.substr(0, answer.image.rfind('.')); }

}  // namespace

std::vector<SceneAccuracy> captioner_accuracy(caption::Captioner& captioner, const AccuracyOptions& options,
                                              const Context& context) {
  const Read read = [&](const std::vector<data::Scene>& scenes, std::vector<SceneAnswer>& answers) {
    std::vector<caption::Request> requests;
    for (size_t i = 0; i < scenes.size(); ++i) {
      requests.push_back(
          {data::render(scenes[i], options.image_size), sample_name(answers[i]), 0, {}, options.examples});
    }
    const auto captions = captioner.caption(requests, options.reading, context);
    std::vector<data::Reading> readings;
    for (size_t i = 0; i < scenes.size(); ++i) {
      answers[i].caption = captions[i].value().front().text;
      readings.push_back(data::parse_caption(answers[i].caption));
    }
    return readings;
  };
  return measure_scenes("captioner", options, read, context);
}

std::vector<SceneAccuracy> generator_accuracy(generate::Generator& generator, const AccuracyOptions& options,
                                              const Context& context) {
  const Read read = [&](const std::vector<data::Scene>& scenes, std::vector<SceneAnswer>& answers) {
    std::vector<generate::Request> requests;
    for (size_t i = 0; i < scenes.size(); ++i) {
      requests.push_back({data::captions(scenes[i]).front(), sample_name(answers[i]), 0, {}});
    }
    auto pictures = generator.generate(requests, options.generation, context);
    std::vector<data::Reading> readings;
    for (size_t i = 0; i < scenes.size(); ++i) {
      answers[i].picture = std::move(pictures[i].value().image);
      readings.push_back(data::read_image(answers[i].picture));
    }
    return readings;
  };
  return measure_scenes("generator", options, read, context);
}

}  // namespace readback::roundtrip
