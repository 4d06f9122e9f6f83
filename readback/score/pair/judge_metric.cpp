#include "readback/score/pair/judge_metric.h"

#include <functional>
#include <limits>

namespace readback::score {

namespace {

class JudgeMetric : public Metric {
 public:
  using Judge = std::function<std::vector<double>(std::span<const image::Image* const>, std::span<const std::string>,
                                                  const Context&)>;
  JudgeMetric(MetricInfo info, Judge judge) : info_(std::move(info)), judge_(std::move(judge)) {}

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& context) override {
    std::vector<double> values(comparisons.size(), std::numeric_limits<double>::quiet_NaN());
    std::vector<size_t> places;
    std::vector<const image::Image*> images;
    std::vector<std::string> texts;
    for (size_t i = 0; i < comparisons.size(); ++i) {
      const Comparison& c = comparisons[i];
      const image::Image* const image = c.original_image ? c.original_image : c.candidate_image;
      const std::string& text = c.original_image ? c.candidate_text : c.original_text;
      if (!image || text.empty()) continue;
      places.push_back(i);
      images.push_back(image);
      texts.push_back(text);
    }
    if (places.empty()) return values;
    const std::vector<double> judged = judge_(images, texts, context);
    for (size_t k = 0; k < places.size(); ++k) values[places[k]] = judged[k];
    return values;
  }

 private:
  MetricInfo info_;
  Judge judge_;
};

}  // namespace

std::unique_ptr<Metric> make_text_probability_metric(MetricInfo info, std::shared_ptr<caption::Captioner> captioner) {
  info.checkpoint = captioner->description();
  return std::make_unique<JudgeMetric>(std::move(info), [captioner](auto images, auto texts, const Context& context) {
    std::vector<double> values;
    for (const auto& result : captioner->text_probabilities(images, texts, context)) {
      values.push_back(result.value().per_token());
    }
    return values;
  });
}

std::unique_ptr<Metric> make_vqascore_metric(MetricInfo info, std::shared_ptr<caption::Captioner> judge) {
  info.checkpoint = judge->description();
  return std::make_unique<JudgeMetric>(std::move(info), [judge](auto images, auto texts, const Context& context) {
    std::vector<std::string> questions;
    for (const std::string& text : texts) {
      questions.push_back("Does this figure show \"" + text + "\"? Please answer yes or no.");
    }
    std::vector<double> values;
    for (const auto& result : judge->answer_probabilities(images, questions, "Yes", context)) {
      values.push_back(result.value());
    }
    return values;
  });
}

std::unique_ptr<Metric> make_denoising_error_metric(MetricInfo info, std::shared_ptr<generate::Generator> generator) {
  info.checkpoint = generator->description();
  return std::make_unique<JudgeMetric>(std::move(info), [generator](auto images, auto texts, const Context& context) {
    std::vector<double> values;
    for (const auto& result : generator->denoising_errors(images, texts, context)) values.push_back(result.value());
    return values;
  });
}

}  // namespace readback::score
