// Low-rank adapters that PEFT and diffusers saved (tools/reference/lora.py): the same outputs and gradients.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/checkpoint/repository.h"
#include "readback/models/blip/blip.h"
#include "readback/models/clip/clip.h"
#include "readback/models/stable_diffusion/unet.h"
#include "tests/source_dir.h"

namespace readback::models {
namespace {

constexpr double kOutputs = 1e-5, kGradients = 1e-4;

struct GoldenAdapter {
  explicit GoldenAdapter(const std::string& name)
      : folder(tests::source_dir().string() + "/tests/goldens/lora/" + name),
        repository(folder),
        values(checkpoint::load_safetensors(folder + "/golden.safetensors")) {
    at::set_num_threads(1);
    for (auto& [key, tensor] : values) tensor = tensor.to(test_device());
  }
  std::string folder;
  checkpoint::Repository repository;
  checkpoint::TensorMap values;

  const at::Tensor& operator[](const std::string& key) const { return values.at(key); }
  checkpoint::ConfigReader config(const std::string& file = "config.json") const {
    return {repository.json(file), file};
  }
  nn::Weights merged(const std::string& part = "") const {
    return nn::Weights(repository.tensors(part), test_device(), at::kFloat, folder);
  }
  // The base beside adapters of its own, which take the stored values.
  nn::Weights trainable(const std::string& part) const {
    const checkpoint::LowRankMap modules = checkpoint::load_adapter(folder).parts.at(part);
    const checkpoint::LowRank& any = modules.begin()->second;
    return nn::Weights(checkpoint::Repository(repository.path()).tensors(part), test_device(), at::kFloat, folder)
        .with_adapters({.rank = any.a.size(0), .alpha = any.alpha, .targets = [modules](const std::string& module) {
                          return modules.contains(module);
                        }});
  }
};

at::Tensor logits(const GoldenAdapter& golden, const nn::Weights& weights) {
  const Blip blip(BlipConfig::read(golden.config()), weights);
  weights.finish();
  return blip.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.attention_mask"]);
}

at::Tensor prediction(const GoldenAdapter& golden, const nn::Weights& weights) {
  const nn::Weights text_weights = golden.merged("text_encoder");
  const ClipTextModel text(ClipTextConfig::read(golden.config("text_encoder/config.json")), text_weights);
  text_weights.finish();
  const Unet unet(UnetConfig::read(golden.config("unet/config.json")), weights);
  weights.finish();
  const at::Tensor states = text.forward(golden["input.ids"]).last_hidden_state;
  return unet.forward(golden["input.sample"], golden["input.timesteps"], unet.prepare({.text = states}));
}

TEST(Adapter, MergedCaptionersGiveWhatPeftGives) {
  at::NoGradGuard no_grad;
  for (const char* name : {"captioner", "captioner-patterns", "captioner-all-linear"}) {
    const GoldenAdapter golden(name);
    EXPECT_LT(relative_error(logits(golden, golden.merged()), golden["output.logits"]), kOutputs) << name;
    const Golden base("blip");
    EXPECT_GT(relative_error(logits(golden, base.weights()), golden["output.logits"]), 0.1)
        << name << " changes little";
  }
}

TEST(Adapter, MergedGeneratorsGiveWhatDiffusersGives) {
  at::NoGradGuard no_grad;
  for (const char* name : {"generator", "generator-convolutions"}) {
    const GoldenAdapter golden(name);
    EXPECT_LT(relative_error(prediction(golden, golden.merged("unet")), golden["output.prediction"]), kOutputs) << name;
  }
}

// Beside frozen weights, as in training: the model's outputs, and the gradients of A and B and of nothing else.
template <typename Output>
void expect_same_training(const std::string& name, const std::string& part, const Output& output_of) {
  const GoldenAdapter golden(name);
  const nn::Weights weights = golden.trainable(part);
  // Building the layers makes the adapters, which add nothing while B is zero.
  const at::Tensor plain = output_of(golden, weights).detach();
  const checkpoint::LowRankMap modules = checkpoint::load_adapter(golden.folder).parts.at(part);
  std::map<std::string, at::Tensor> adapters;
  for (const auto& [key, tensor] : weights.parameters()) {
    if (key.find(".lora_") == std::string::npos) continue;
    const checkpoint::LowRank& pair = modules.at(key.substr(0, key.rfind(".lora_")));
    const bool is_a = key.ends_with(".lora_A.weight");
    if (is_a) {
      const double bound = 1 / std::sqrt(tensor.size(1));
      EXPECT_LE(tensor.abs().max().template item<double>(), bound) << key;
      EXPECT_GT(tensor.std().template item<double>(), 0.4 * bound) << key;
    } else {
      EXPECT_EQ(tensor.abs().max().template item<float>(), 0) << key;
    }
    at::Tensor leaf = tensor;
    leaf.copy_(is_a ? pair.a : pair.b);
    adapters[key] = leaf.requires_grad_(true);
  }
  ASSERT_EQ(adapters.size(), 2 * modules.size());
  const at::Tensor output = output_of(golden, weights);
  const std::string key = part.empty() ? "output.logits" : "output.prediction";
  EXPECT_LT(relative_error(output, golden[key]), kOutputs);
  EXPECT_GT(relative_error(plain, golden[key]), 0.1);
  const at::Tensor loss = output.square().mean();
  EXPECT_LT(relative_error(loss, golden["loss"]), kOutputs);
  loss.backward();
  for (const auto& [key, tensor] : adapters) {
    ASSERT_TRUE(tensor.grad().defined()) << key;
    EXPECT_LT(relative_error(tensor.grad(), golden["gradient." + key]), kGradients) << key;
  }
}

TEST(Adapter, TrainsBesideTheCaptionersLayers) { expect_same_training("captioner", "", logits); }
TEST(Adapter, TrainsBesideTheUnetsLayers) { expect_same_training("generator", "unet", prediction); }

}  // namespace
}  // namespace readback::models
