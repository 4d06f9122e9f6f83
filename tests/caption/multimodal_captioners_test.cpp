// Captioners over language models against transformers' generate(): tools/reference/multimodal_captions.py.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "../device.h"
#include "../unwrap.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/open.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = tests::source_dir() / "tests/goldens";

image::Image picture(int64_t index) {
  return image::load((kGoldens / "caption/images" / (std::to_string(index) + ".png")).string(), image::Alpha::kOnWhite);
}

std::vector<Request> requests(const nlohmann::json& shots, const std::string& prompt) {
  std::vector<Request> all;
  for (int64_t i = 0; i < 8; ++i) {
    Request request;
    request.image = picture(i);
    request.sample = std::to_string(i);
    request.prompt = prompt;
    for (const nlohmann::json& shot : shots) {
      request.examples.emplace_back(picture(shot[0]));
      request.examples.emplace_back(shot[1].get<std::string>());
    }
    all.push_back(std::move(request));
  }
  return all;
}

DecodingOptions options_of(const nlohmann::json& golden) {
  DecodingOptions options;
  options.num_beams = golden["num_beams"].get<int64_t>();
  options.max_new_tokens = golden["max_new_tokens"].get<int64_t>();
  options.num_captions = golden.value("num_return_sequences", 1);
  options.min_new_tokens = golden.value("min_new_tokens", 0);
  if (golden.contains("length_penalty")) options.length_penalty = golden["length_penalty"].get<double>();
  if (golden.contains("repetition_penalty")) options.repetition_penalty = golden["repetition_penalty"].get<double>();
  return options;
}

std::unique_ptr<Captioner> load(const std::string& name, at::ScalarType dtype = at::kFloat) {
  at::set_num_threads(1);  // the models are tiny
  return open((kGoldens / "multimodal" / name).string(), {.device = test_device(), .dtype = dtype});
}

struct MultimodalCaptioner : testing::TestWithParam<const char*> {
  nlohmann::json cases = read_json(kGoldens / "multimodal/captions.json")[GetParam()];
  bool takes_no_examples() const { return std::string(GetParam()).starts_with("blip2"); }
};

TEST_P(MultimodalCaptioner, CaptionsEqualTransformers) {
  const auto captioner = load(GetParam());
  EXPECT_EQ(captioner->capabilities().examples, !takes_no_examples());
  size_t compared = 0;
  for (const nlohmann::json& golden : cases) {
    SCOPED_TRACE(golden["num_beams"].dump() + " beams, " + std::to_string(golden["shots"].size()) + " shots");
    const auto all = values_of(captioner->caption(requests(golden["shots"], golden["prompt"]), options_of(golden)));
    for (size_t i = 0; i < all.size(); ++i) {
      const nlohmann::json& expected = golden["pictures"][i]["captions"];
      ASSERT_EQ(all[i].size(), expected.size());
      for (size_t k = 0; k < expected.size(); ++k, ++compared) {
        EXPECT_EQ(*all[i][k].token_ids, expected[k]["ids"].get<std::vector<int64_t>>()) << i << ", " << k;
        EXPECT_EQ(all[i][k].text, expected[k]["text"].get<std::string>());
        EXPECT_NEAR(*all[i][k].log_probability, expected[k]["log_probability"].get<double>(), 1e-3);
      }
    }
  }
  EXPECT_EQ(compared, 8u * (takes_no_examples() ? 6 : 9));
}

TEST_P(MultimodalCaptioner, APictureAloneIsCaptionedAsAmongOthers) {
  const auto captioner = load(GetParam());
  const std::vector<Request> all = requests(cases[takes_no_examples() ? 1 : 2]["shots"], cases[0]["prompt"]);
  DecodingOptions options;
  options.do_sample = true;
  options.num_captions = 3;
  options.max_new_tokens = 8;
  const auto together = values_of(captioner->caption(all, options));
  for (const size_t i : {0, 3, 7}) {
    const auto alone = values_of(captioner->caption(std::span(all).subspan(i, 1), options))[0];
    for (size_t k = 0; k < alone.size(); ++k) EXPECT_EQ(*together[i][k].token_ids, *alone[k].token_ids) << i;
  }
}

TEST_P(MultimodalCaptioner, TextsAreAsProbableAsTransformersSays) {
  const auto captioner = load(GetParam());
  const std::vector<std::string> two = {"a red dog", "the big house and a blue cat on the tree"};
  std::vector<image::Image> pictures;
  for (int64_t i = 0; i < 8; ++i) pictures.push_back(picture(i));
  std::vector<const image::Image*> images;
  std::vector<std::string> texts;
  std::vector<double> expected;
  for (size_t i = 0; i < 8; ++i) {
    for (size_t k = 0; k < two.size(); ++k) {
      images.push_back(&pictures[i]);
      texts.push_back(two[k]);
      expected.push_back(cases[0]["pictures"][i]["texts"][k]);
    }
  }
  const auto together = captioner->text_probabilities(images, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_NEAR(together[i].value().log_probability, expected[i], 1e-3) << i;
    const auto alone = captioner->text_probabilities(std::span(images).subspan(i, 1), std::span(texts).subspan(i, 1));
    EXPECT_NEAR(alone[0].value().log_probability, expected[i], 1e-3) << i;
  }
}

TEST_P(MultimodalCaptioner, RefusesExamplesThatAreNoPicturesWithTexts) {
  const auto captioner = load(GetParam());
  std::vector<Request> one = requests(nlohmann::json::array({nlohmann::json::array({1, "a cat"})}), "Say");
  one.resize(1);
  one[0].examples.pop_back();
  EXPECT_THROW(captioner->caption(one, {}), UsageError);
  one[0].examples = {Part("a text first")};
  EXPECT_THROW(captioner->caption(one, {}), UsageError);
  one[0].examples.clear();
  EXPECT_THROW(captioner->caption(one, {.max_new_tokens = 100'000}), UsageError);
}

INSTANTIATE_TEST_SUITE_P(Captioners, MultimodalCaptioner,
                         testing::Values("blip2-opt", "blip2-flan-t5", "idefics", "idefics-instruct", "smolvlm",
                                         "smolvlm-whole"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace readback::caption
