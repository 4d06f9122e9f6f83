#include "readback/caption/blip_captioner.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

const std::string kGoldens = tests::source_dir().string() + "/tests/goldens/caption";

BlipCaptioner load() { return BlipCaptioner(checkpoint::Repository(kGoldens + "/blip"), at::kCPU, at::kFloat); }

std::vector<Request> requests() {
  std::vector<Request> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back({image::load(kGoldens + "/images/" + std::to_string(i) + ".png"), std::to_string(i), 0});
  }
  return all;
}

DecodingOptions sampling() {
  DecodingOptions options;
  options.num_captions = 5;
  options.do_sample = true;
  options.temperature = 1.3;
  options.seed = 3;
  return options;
}

void expect_same(const std::vector<Caption>& actual, const std::vector<Caption>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].token_ids, expected[i].token_ids);
    EXPECT_EQ(actual[i].text, expected[i].text);
    EXPECT_NEAR(actual[i].log_probability, expected[i].log_probability, 1e-4);
  }
}

TEST(BlipCaptioner, EqualsTransformersTokenForToken) {
  BlipCaptioner captioner = load();
  const nlohmann::json cases = read_json(kGoldens + "/captions.json");
  ASSERT_GE(cases.size(), 10u);
  for (const nlohmann::json& golden : cases) {
    SCOPED_TRACE(golden["options"].dump());
    DecodingOptions options;
    options.prompt = golden["options"]["prompt"];
    options.num_beams = golden["options"]["num_beams"];
    options.max_length = golden["options"]["max_length"];
    options.min_length = golden["options"]["min_length"];
    options.num_captions = golden["options"].value("num_return_sequences", 1);
    options.length_penalty = golden["options"].value("length_penalty", 1.0);
    options.repetition_penalty = golden["options"].value("repetition_penalty", 1.0);
    const auto captions = captioner.caption(requests(), options);
    ASSERT_EQ(captions.size(), golden["captions"].size());
    for (size_t i = 0; i < captions.size(); ++i) {
      ASSERT_EQ(captions[i].size(), golden["captions"][i].size());
      for (size_t j = 0; j < captions[i].size(); ++j) {
        const nlohmann::json& expected = golden["captions"][i][j];
        EXPECT_EQ(captions[i][j].token_ids, expected["token_ids"].get<std::vector<int64_t>>());
        EXPECT_EQ(captions[i][j].text, expected["text"].get<std::string>());
        EXPECT_NEAR(captions[i][j].log_probability, expected["log_probability"].get<double>(), 1e-4);
      }
    }
  }
}

TEST(BlipCaptioner, GivesTheSameAloneInABatchAndInAnotherOrder) {
  BlipCaptioner captioner = load();
  for (const DecodingOptions& options : {DecodingOptions{}, sampling()}) {
    std::vector<Request> all = requests();
    const auto together = captioner.caption(all, options);
    for (size_t i = 0; i < all.size(); ++i) {
      expect_same(captioner.caption(std::span(all).subspan(i, 1), options).front(), together[i]);
    }
    std::reverse(all.begin(), all.end());
    const auto reversed = captioner.caption(all, options);
    for (size_t i = 0; i < together.size(); ++i) expect_same(reversed[reversed.size() - 1 - i], together[i]);
    // More than one batch.
    std::vector<Request> many;
    for (int i = 0; i < 9; ++i) many.insert(many.end(), all.begin(), all.end());
    const auto result = captioner.caption(many, options);
    ASSERT_EQ(result.size(), many.size());
    for (size_t i = 0; i < many.size(); ++i) expect_same(result[i], reversed[i % all.size()]);
  }
}

TEST(BlipCaptioner, CandidatesContinueFromTheRequestsIndex) {
  BlipCaptioner captioner = load();
  std::vector<Request> all = requests();
  DecodingOptions options = sampling();
  const auto five = captioner.caption(all, options);
  options.num_captions = 2;
  for (Request& request : all) request.candidate = 3;
  const auto last = captioner.caption(all, options);
  for (size_t i = 0; i < all.size(); ++i) expect_same(last[i], {five[i][3], five[i][4]});
}

TEST(BlipCaptioner, ScoresATextAsItScoredItsCaption) {
  BlipCaptioner captioner = load();
  const std::vector<Request> all = requests();
  DecodingOptions options = sampling();
  options.num_captions = 20;
  const auto tokenizer = text::load_bert_tokenizer(kGoldens + "/blip");
  for (size_t i = 0; i < 3; ++i) {
    std::vector<std::string> texts;
    std::vector<double> expected;
    const auto captions = captioner.caption(std::span(all).subspan(i, 1), options);
    for (const Caption& caption : captions[0]) {
      // Only where the text says which tokens it was: not for special ones, nor for "##ing" without a stem, and not
      // when max_length cut it.
      std::vector<int64_t> ids = {95, 5, 6, 7};
      for (const int64_t id : tokenizer->encode(caption.text)) ids.push_back(id);
      ids.push_back(3);
      if (ids != caption.token_ids) continue;
      texts.push_back(caption.text);
      expected.push_back(caption.log_probability);
      EXPECT_NEAR(captioner.log_probability(all[i].image, caption.text), expected.back(), 1e-4) << caption.text;
    }
    ASSERT_GT(texts.size(), 3u);
    const std::vector<double> actual = captioner.log_probabilities(all[i].image, texts);
    for (size_t j = 0; j < texts.size(); ++j) EXPECT_NEAR(actual[j], expected[j], 1e-4) << texts[j];
  }
  EXPECT_TRUE(captioner.log_probabilities(all[0].image, {}).empty());
}

TEST(BlipCaptioner, SaysWhichLimitIsExceeded) {
  BlipCaptioner captioner = load();
  const std::vector<Request> one = {requests().front()};
  DecodingOptions options;
  options.prompt = "a picture of a dog and a cat";
  options.max_length = 8;
  EXPECT_THROW(captioner.caption(one, options), UsageError);
  options.max_length = 25;  // the model has 24 positions
  EXPECT_THROW(captioner.caption(one, options), UsageError);
  std::string long_text;
  for (int i = 0; i < 20; ++i) long_text += "dog ";
  EXPECT_THROW(captioner.log_probability(one[0].image, long_text), DataError);
  EXPECT_TRUE(captioner.caption({}, DecodingOptions{}).empty());
}

TEST(BlipCaptioner, RefusesAnotherArchitecture) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("blip_captioner_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const auto error = [&](const std::string& config) {
    std::ofstream(folder / "config.json") << config;
    try {
      BlipCaptioner(checkpoint::Repository(folder.string()), at::kCPU, at::kFloat);
    } catch (const CheckpointError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(error(R"({"model_type": "clip", "architectures": ["CLIPModel"]})").find("CLIPModel of model_type clip"),
            std::string::npos);
  EXPECT_NE(error(R"({"model_type": "blip", "architectures": ["BlipForQuestionAnswering"]})").find("QuestionAnswering"),
            std::string::npos);
  EXPECT_NE(error(R"({"model_type": 7})").find("model_type"), std::string::npos);
  EXPECT_NE(error("{}").find("model_type none"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(BlipCaptioner, RunsInBfloat16) {
  BlipCaptioner exact = load();
  BlipCaptioner captioner(checkpoint::Repository(kGoldens + "/blip"), at::kCPU, at::kBFloat16);
  const std::vector<Request> one = {requests().front()};
  const Caption caption = exact.caption(one, {}).front().front();
  EXPECT_NEAR(captioner.log_probability(one[0].image, caption.text), caption.log_probability, 0.3);
  EXPECT_FALSE(captioner.caption(one, sampling()).front().front().token_ids.empty());
  EXPECT_NE(captioner.description().find("bfloat16"), std::string::npos);
}

}  // namespace
}  // namespace readback::caption
