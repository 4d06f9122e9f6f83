// Ten AdamW steps of the captioners over language models, as tools/reference/tuned_captioners.py took them with
// transformers and PEFT.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <fstream>

#include "readback/base/error.h"
#include "readback/caption/token_captioners.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/image/codec.h"
#include "readback/train/optimizer.h"
#include "readback/train/soft_tokens.h"
#include "readback/train/tuned_model.h"
#include "training_folder.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

constexpr int64_t kSteps = 10, kRows = 2, kPictures = 8;

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/captioners.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/captioners.json");
  return json;
}

// A captioner in training, as ModelPair makes it.
struct Training {
  Case test;
  checkpoint::Repository repository;
  TunedPart part;
  nn::Weights weights;
  std::unique_ptr<caption::TokenCaptioner> captioner;
  std::map<std::string, at::Tensor> parameters;

  explicit Training(const std::string& name)
      : test{name, description()["cases"][name], golden()},
        repository(kGoldens + "multimodal/" + test.json["repository"].get<std::string>()),
        part{tunable(checkpoint::architecture(repository).class_name), test.trained(), {.rank = 2, .alpha = 3}},
        weights(weights_to_train(repository, part, {.device = test_device()})),
        captioner(caption::token_backend(repository).make(repository, weights, "")) {
    at::set_num_threads(1);  // the models are tiny
    for (const auto& [key, tensor] : select_parameters(weights.parameters(), part.model, part.selection)) {
      parameters["captioner." + key] = tensor;
      const auto start = golden().find(name + ".start.base_model.model." + key);
      if (start != golden().end()) at::Tensor(tensor).copy_(start->second);
    }
  }

  at::Tensor loss(int64_t step) const {
    caption::Pictures pictures;
    std::vector<std::string> captions;
    std::vector<PictureSize> sizes;
    const nlohmann::json& all = description()["captions"];
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t number = step * kRows + row;
      captions.push_back(all[static_cast<size_t>(number) % all.size()]);
      const std::string file = kGoldens + "caption/images/" + std::to_string(number % kPictures) + ".png";
      const image::Image picture = image::load(file, image::Alpha::kOnWhite);
      sizes.push_back({picture.width, picture.height});
      std::vector<at::Tensor> pixels;
      for (const image::Image& piece : captioner->pieces(picture)) {
        pixels.push_back(image::preprocess(piece, captioner->preprocessing()));
      }
      pictures.sets.push_back(captioner->patches(at::stack(pixels)));
      pictures.rows.push_back(row);
    }
    const CaptionBatch batch = caption_batch(*captioner, captions, sizes, test_device());
    return caption_loss(captioner->logits(pictures, batch.texts), batch.labels, 0);
  }
};

class TunedCaptioner : public testing::TestWithParam<const char*> {};

TEST_P(TunedCaptioner, TenStepsHaveTheReferencesLossesAndGradients) {
  const Training training(GetParam());
  AdamWOptions adamw;
  adamw.clip_norm = 1;
  AdamW optimizer(training.parameters, adamw);
  const bool all = training.part.selection == Selection::kAll || training.part.selection == Selection::kLoraAll;
  if (!all) {  // what a forward pass does not read has none
    ASSERT_EQ(training.test.gradients(), training.parameters.size());
  }
  for (int64_t step = 0; step < kSteps; ++step) {
    const at::Tensor loss = training.loss(step);
    const double truth = training.test["losses"][step].item<double>();
    EXPECT_NEAR(loss.item<double>(), truth, 1e-4 * truth) << "step " << step;
    loss.backward();
    if (step == 0 || step == kSteps - 1) expect_gradients(training.parameters, training.test, step);
    optimizer.step(1e-3);
    optimizer.zero_grad();
  }
  if (!training.test.name.ends_with("-lora")) return;

  // What is saved is what PEFT saves, and reads as what was trained.
  Folder folder;
  save_tuned(training.repository, training.part, optimizer.averaged(), folder / "tuned");
  const checkpoint::TensorMap saved = checkpoint::load_safetensors(folder / "tuned/adapter_model.safetensors");
  size_t compared = 0;
  for (const auto& [key, truth] : golden()) {
    const std::string prefix = training.test.name + ".end.";
    if (!key.starts_with(prefix)) continue;
    const auto found = saved.find(key.substr(prefix.size()));
    ASSERT_NE(found, saved.end()) << key;
    EXPECT_TRUE(at::allclose(found->second, truth, 1e-2, 2e-4)) << key;
    ++compared;
  }
  EXPECT_EQ(compared, saved.size());
  c10::NoGradGuard no_grad;
  const checkpoint::Repository tuned((folder / "tuned").string() + "@" + training.repository.path().string());
  const Training before(training.test.name);
  const nn::Weights whole(tuned.tensors(), test_device(), at::kFloat, "tuned");
  Training read(training.test.name);
  read.captioner = caption::token_backend(tuned).make(tuned, whole, "");
  EXPECT_NEAR(read.loss(0).item<double>(), training.loss(0).item<double>(), 1e-5);
  EXPECT_GT(std::abs(read.loss(0).item<double>() - before.loss(0).item<double>()), 5e-5);
}

INSTANTIATE_TEST_SUITE_P(Train, TunedCaptioner,
                         testing::Values("blip2-opt", "blip2-opt-bridge", "blip2-t5", "idefics", "idefics-bridge",
                                         "smolvlm", "smolvlm-all", "blip2-opt-lora", "blip2-t5-lora", "idefics-lora",
                                         "smolvlm-lora"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A text shorter than others of its batch, or behind a shorter prompt, is learned as if it were alone.
TEST(TunedCaptioners, ABatchIsTheMeanOverItsTokens) {
  const Training training("smolvlm");
  c10::NoGradGuard no_grad;
  const auto of = [&](const std::vector<PictureSize>& sizes, const std::vector<std::string>& captions) {
    std::vector<at::Tensor> sets;
    caption::Pictures pictures;
    for (const PictureSize& size : sizes) {
      const bool whole = size.width == 0;
      image::Image picture(whole ? 40 : size.width, whole ? 40 : size.height);
      for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<uint8_t>(i * 7);
      std::vector<at::Tensor> pixels;
      for (const image::Image& piece : training.captioner->pieces(picture)) {
        pixels.push_back(image::preprocess(piece, training.captioner->preprocessing()));
      }
      pictures.rows.push_back(std::ssize(pictures.sets));
      if (whole) pixels = {pixels.back()};  // the last piece is all of it
      pictures.sets.push_back(training.captioner->patches(at::stack(pixels)));
    }
    const CaptionBatch batch = caption_batch(*training.captioner, captions, sizes, test_device());
    const double tokens = batch.labels.ge(0).sum().item<double>();
    return std::pair(caption_loss(training.captioner->logits(pictures, batch.texts), batch.labels, 0).item<double>(),
                     tokens);
  };
  const std::vector<PictureSize> sizes = {{80, 20}, {30, 90}, {0, 0}};
  const std::vector<std::string> captions = {"a red dog", "the big house and a blue cat", "a cat"};
  double sum = 0, tokens = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto [loss, own] = of({sizes[i]}, {captions[i]});
    sum += loss * own, tokens += own;
  }
  const auto [together, all] = of(sizes, captions);
  EXPECT_EQ(all, tokens);
  EXPECT_NEAR(together * all, sum, 1e-4 * sum);
}

class Bridge : public testing::TestWithParam<const char*> {};

TEST_P(Bridge, IsTheReferencesAndSoAreSoftTokens) {
  const std::string name = GetParam();
  const checkpoint::Repository repository(kGoldens + "multimodal/" + name);
  const nn::Weights weights(repository.tensors(), test_device(), at::kFloat, name);
  const auto captioner = caption::token_backend(repository).make(repository, weights, "");
  const auto generator = text::load_clip_tokenizer(kGoldens + "generate/pipeline/tokenizer");
  const auto& about = captioner->about();
  const VocabularyBridge bridge = build_bridge(
      {captioner->tokenizer(), *generator, about.vocabulary_size, about.begin_token, about.end_tokens.front()});
  const at::Tensor& truth = golden().at(name + ".map");
  EXPECT_TRUE(at::equal(bridge.map, truth)) << bridge.map.ne(truth).nonzero();
  EXPECT_GT(bridge.counterparts(), 90);
  const at::Tensor embedding = Tiny().text.token_embedding.weight.cpu();
  const int64_t size = about.vocabulary_size;
  const at::Tensor logits = at::cos(at::arange(3 * size, at::kFloat)).view({1, 3, size}) * 4;
  for (const SoftTokenVariant variant : {SoftTokenVariant::kProbabilities, SoftTokenVariant::kLogits}) {
    const at::Tensor soft = SoftTokens(bridge, embedding, variant)(logits, 1);
    EXPECT_TRUE(at::allclose(soft, golden().at(name + "." + name_of(variant)), 1e-4, 1e-6)) << name_of(variant);
  }
}

INSTANTIATE_TEST_SUITE_P(Train, Bridge, testing::Values("blip2-opt", "blip2-flan-t5", "idefics", "smolvlm"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace readback::train
