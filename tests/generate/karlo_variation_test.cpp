// Pictures drawn anew, without words, against diffusers' UnCLIPImageVariationPipeline: tools/reference/karlo.py.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "../device.h"
#include "../unwrap.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/generate/karlo.h"
#include "readback/generate/open.h"
#include "readback/image/preprocess.h"
#include "tests/source_dir.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = tests::source_dir() / "tests/goldens/generate";

Generator& varying() {
  static const std::unique_ptr<Generator> loaded = [] {
    at::set_num_threads(1);  // the models are tiny
    return open((kGoldens / "karlo-variations").string(), {test_device(), at::kFloat});
  }();
  return *loaded;
}

// The generator's rule.
image::Image varied_picture(int64_t height, int64_t width) {
  image::Image picture(width, height);
  for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<uint8_t>(7 * i % 256);
  return picture;
}

std::vector<Request> requests() {
  std::vector<Request> all;
  for (const auto& [height, width] : {std::pair(16, 14), std::pair(13, 20)}) {
    const int64_t i = std::ssize(all);
    all.push_back({.sample = fmt::format("sample {}", i), .candidate = i, .picture = varied_picture(height, width)});
  }
  return all;
}

std::string refusal(Generator& generator, const Request& request, const GenerationOptions& options = {}) {
  try {
    generator.generate(std::vector{request}, options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(KarloVariation, EqualsDiffusers) {
  const nlohmann::json runs = read_json(kGoldens / "karlo_runs.json")["variations"];
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "karlo_runs.safetensors");
  ASSERT_GE(runs.size(), 3u);
  for (size_t i = 0; i < runs.size(); ++i) {
    SCOPED_TRACE(runs[i].dump());
    GenerationOptions options;
    options.seed = 7;
    if (runs[i].contains("decoder_num_inference_steps")) {
      options.num_inference_steps = runs[i]["decoder_num_inference_steps"];
      options.super_res_num_inference_steps = runs[i]["super_res_num_inference_steps"];
      options.guidance_scale = runs[i]["decoder_guidance_scale"];
    }
    const std::vector<Picture> pictures = values_of(varying().generate(requests(), options));
    const at::Tensor expected = golden.at(fmt::format("variation.{}.images", i));
    ASSERT_EQ(std::ssize(pictures), expected.size(0));
    for (size_t p = 0; p < pictures.size(); ++p) {
      const image::Image wanted = image::from_signed_unit(expected[static_cast<int64_t>(p)]);
      ASSERT_EQ(pictures[p].image.pixels.size(), wanted.pixels.size());
      for (size_t k = 0; k < wanted.pixels.size(); ++k) {
        ASSERT_NEAR(pictures[p].image.pixels[k], wanted.pixels[k], 1) << p << " " << k;
      }
    }
  }
}

TEST(KarloVariation, HasNoOptionsOfThePrior) {
  EXPECT_FALSE(varying().defaults().prior_num_inference_steps);
  EXPECT_EQ(varying().defaults().guidance_scale, 8.0);
  GenerationOptions options;
  options.prior_num_inference_steps = 5;
  EXPECT_NE(refusal(varying(), requests()[0], options).find("prior_num_inference_steps"), std::string::npos);
}

TEST(KarloVariation, RefusesWhatItCannotDraw) {
  EXPECT_FALSE(varying().capabilities().prompts);
  EXPECT_TRUE(varying().capabilities().variations);
  EXPECT_NE(refusal(varying(), {"a cat", "s"}).find("prior"), std::string::npos);
  Request both = requests()[0];
  both.prompt = "a cat";
  EXPECT_NE(refusal(varying(), both).find("both"), std::string::npos);
  for (const char* words_only : {"karlo", "pipeline"}) {
    const auto other = open((kGoldens / words_only).string(), {test_device(), at::kFloat});
    EXPECT_FALSE(other->capabilities().variations);
    EXPECT_NE(refusal(*other, requests()[0]).find("image_encoder"), std::string::npos) << words_only;
  }
}

// A pipeline with an image encoder beside its prior: each request is drawn as by a repository of its kind.
TEST(KarloVariation, TextsAndPicturesInOneCall) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("readback_karlo_both_{}", getpid());
  fs::copy(kGoldens / "karlo", folder, fs::copy_options::recursive);
  for (const char* part : {"image_encoder", "feature_extractor"}) {
    fs::copy(kGoldens / "karlo-variations" / part, folder / part, fs::copy_options::recursive);
  }
  const auto both = open(folder.string(), {test_device(), at::kFloat});
  const auto words = open((kGoldens / "karlo").string(), {test_device(), at::kFloat});
  GenerationOptions options;
  options.num_inference_steps = 3;
  options.super_res_num_inference_steps = 3;
  GenerationOptions of_texts = options;
  of_texts.prior_num_inference_steps = 3;
  const std::vector<Request> texts = {{"a cat", "t", 0}, {"a fox", "t", 1}};
  const std::vector<Picture> mixed =
      values_of(both->generate(std::vector{requests()[0], texts[0], requests()[1], texts[1]}, of_texts));
  const std::vector<Picture> varied = values_of(varying().generate(requests(), options));
  const std::vector<Picture> drawn = values_of(words->generate(texts, of_texts));
  EXPECT_EQ(mixed[0].image, varied[0].image);
  EXPECT_EQ(mixed[1].image, drawn[0].image);
  EXPECT_EQ(mixed[2].image, varied[1].image);
  EXPECT_EQ(mixed[3].image, drawn[1].image);
  fs::remove_all(folder);
}

// An image encoder of another width than the decoder's.
TEST(KarloVariation, PartsThatDoNotFit) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("readback_karlo_width_{}", getpid());
  fs::copy(kGoldens / "karlo-variations", folder, fs::copy_options::recursive);
  nlohmann::json config = read_json(folder / "image_encoder/config.json");
  config["projection_dim"] = 10;
  write_file(folder / "image_encoder/config.json", config.dump());
  try {
    open(folder.string(), {test_device(), at::kFloat});
    ADD_FAILURE();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("image encoder's projection_dim"), std::string::npos) << error.what();
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace readback::generate
