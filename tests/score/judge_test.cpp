// Metrics that ask a captioner or a generator: what they ask for, and what they make of the answers. The models' own
// numbers are compared in tests/caption and tests/generate.
#include <gtest/gtest.h>

#include <cmath>

#include "fake_judges.h"
#include "readback/base/error.h"
#include "readback/score/registry.h"

namespace readback::score {
namespace {

Comparison caption_of(const image::Image& image, const std::string& text) {
  Comparison comparison;
  comparison.original_image = &image;
  comparison.candidate_text = text;
  return comparison;
}

Comparison picture_of(const std::string& text, const image::Image& image) {
  Comparison comparison;
  comparison.candidate_image = &image;
  comparison.original_text = text;
  return comparison;
}

TEST(Judge, TextsAreJudgedATokenOfWhateverCandidateTheyAre) {
  MetricContext context;
  context.judge_captioner = std::shared_ptr<caption::Captioner>(std::make_shared<JudgingCaptioner>());
  const auto metric = make_metric("text-probability", context);
  EXPECT_EQ(metric->info().checkpoint, "a judge");
  const image::Image two(2, 2), four(4, 4);
  const auto values = metric->score(std::vector{caption_of(two, "abcd"), picture_of("abcd", four), caption_of(two, ""),
                                                picture_of("ab", four), Comparison{}});
  EXPECT_DOUBLE_EQ(values[0], -0.5);
  EXPECT_DOUBLE_EQ(values[1], 0);
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_DOUBLE_EQ(values[3], -1);
  EXPECT_TRUE(std::isnan(values[4]));
  EXPECT_THROW(metric->score(std::vector{caption_of(two, "unreadable")}), DataError);
}

TEST(Judge, AQuestionIsAskedAsPublished) {
  struct Answering final : caption::Captioner {
    std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request>,
                                                               const caption::DecodingOptions&,
                                                               const Context&) override {
      return {};
    }
    std::string description() const override { return "a judge"; }
    std::vector<Result<double>> answer_probabilities(std::span<const image::Image* const> images,
                                                     std::span<const std::string> questions, const std::string& answer,
                                                     const Context&) override {
      EXPECT_EQ(answer, "Yes");
      std::vector<Result<double>> results;
      for (size_t i = 0; i < images.size(); ++i) {
        EXPECT_EQ(questions[i], "Does this figure show \"a cat\"? Please answer yes or no.");
        results.push_back(0.1 * static_cast<double>(images[i]->width));
      }
      return results;
    }
  };
  MetricContext context;
  context.judge_captioner = std::shared_ptr<caption::Captioner>(std::make_shared<Answering>());
  const image::Image two(2, 2), four(4, 4);
  const auto values =
      make_metric("vqascore", context)->score(std::vector{caption_of(two, "a cat"), picture_of("a cat", four)});
  EXPECT_DOUBLE_EQ(values[0], 0.2);
  EXPECT_DOUBLE_EQ(values[1], 0.4);
}

TEST(Judge, AModelThatCannotTellSaysSo) {
  MetricContext context;
  EXPECT_THROW(make_metric("denoising-error", context), UsageError);
  context.judge_generator = std::shared_ptr<generate::Generator>(std::make_shared<MuteGenerator>());
  const auto metric = make_metric("denoising-error", context);
  const image::Image two(2, 2);
  try {
    metric->score(std::vector{caption_of(two, "ab")});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("a drawer"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace readback::score
