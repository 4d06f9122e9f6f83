// Low-rank adapters through the trainer: what is trained, what is saved, and that it reads as what was trained.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/blip_captioner.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/train/model_pair.h"
#include "tiny_unified.h"
#include "training_folder.h"

namespace readback::train {
namespace {

UnifiedTaskOptions lora_options() {
  UnifiedTaskOptions options = task_options();
  options.models.train_captioner = Selection::kLoraXattnQkv;
  options.models.train_generator = Selection::kLoraAll;
  options.models.lora = {.rank = 3, .alpha = 5, .seed = 3};
  return options;
}

TEST(DISABLED_LoraChild, Run) { run(std::getenv("READBACK_TRAIN_CHILD"), lora_options()); }

TEST(Lora, FiveKillsLeaveTheAdaptersOfAnUndisturbedTraining) {
  const auto final_state = [](const fs::path& folder) {
    std::string state;
    for (const char* file :
         {"captioner/adapter_config.json", "captioner/adapter_model.safetensors",
          "generator/pytorch_lora_weights.safetensors", "training/state.safetensors", "training/losses.jsonl",
          "training/evaluations.jsonl", "best/captioner/adapter_model.safetensors"}) {
      state += read_file(folder / file);
    }
    return state;
  };
  expect_kills_change_nothing(
      5, "DISABLED_LoraChild.Run", [](const fs::path& folder) { run(folder, lora_options()); }, final_state);
}

// Modules among the parameters of one model, which are all adapters.
std::set<std::string> modules_of(const std::map<std::string, at::Tensor>& parameters, const std::string& prefix) {
  std::set<std::string> modules;
  for (const auto& [key, tensor] : parameters) {
    if (!key.starts_with(prefix)) continue;
    EXPECT_TRUE(key.ends_with(".lora_A.weight") || key.ends_with(".lora_B.weight")) << key;
    modules.insert(key.substr(prefix.size(), key.rfind(".lora_") - prefix.size()));
  }
  return modules;
}

std::set<std::string> names(const checkpoint::LowRankMap& modules) {
  std::set<std::string> result;
  for (const auto& [module, pair] : modules) result.insert(module);
  return result;
}

TEST(Lora, TrainsTheLayersThatPeftFinds) {
  UnifiedTaskOptions options = lora_options();
  options.models.train_captioner = Selection::kLoraAll;
  const auto all = ModelPair(options.models, {}).parameters();
  EXPECT_EQ(modules_of(all, "captioner."), names(checkpoint::load_adapter(kGoldens + "lora/captioner").parts.at("")));
  EXPECT_EQ(modules_of(all, "unet."), names(checkpoint::load_adapter(kGoldens + "lora/generator").parts.at("unet")));
  const std::map<Selection, size_t> counts = {
      {Selection::kLoraXattnQ, 1}, {Selection::kLoraXattnKv, 2}, {Selection::kLoraXattnQkv, 3}};
  for (const auto& [selection, count] : counts) {
    options.models.train_captioner = options.models.train_generator = selection;
    const auto some = ModelPair(options.models, {}).parameters();
    EXPECT_EQ(modules_of(some, "captioner.").size(), count * 2) << name_of(selection);  // layers
    EXPECT_EQ(modules_of(some, "unet.").size(), count * 4) << name_of(selection);
    for (const std::string& module : modules_of(some, "unet.")) EXPECT_NE(module.find(".attn2."), std::string::npos);
  }
}

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

// The saved adapters, read as repositories, give what the trained layers with their adapters beside them give.
void expect_saved_reads_as_trained(const Folder& folder, const UnifiedTaskOptions& options) {
  run(folder, options);
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "captioner")) {
    files.insert(entry.path().filename());
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder / "generator")) {
    files.insert(entry.path().filename());
  }
  EXPECT_EQ(files, (std::set<std::string>{"adapter_config.json", "adapter_model.safetensors",
                                          "pytorch_lora_weights.safetensors"}));

  const ModelPair pair(options.models, {});
  const checkpoint::TensorMap state = checkpoint::load_safetensors(folder / "training/state.safetensors");
  c10::NoGradGuard no_grad;
  const at::Tensor pixels = at::linspace(-1, 1, 3 * 32 * 32).view({1, 3, 32, 32});
  const caption::Texts texts{.ids = at::tensor(std::vector<int64_t>{3, 7, 9, 11}).unsqueeze(0), .known = {1}};
  const at::Tensor sample = at::linspace(-2, 2, 4 * 8 * 8).view({1, 4, 8, 8}), timesteps = at::tensor({300});
  const UnifiedModels& models = pair.models();
  const at::Tensor text = at::linspace(-1, 1, 5 * models.unet.config.cross_attention_dim).view({1, 5, -1});
  const auto captions = [&](const caption::TokenCaptioner& captioner) {
    return captioner.logits(one_each(captioner.patches(pixels)), texts);
  };
  const auto denoised = [&](const models::Unet& unet) {
    return unet.forward(sample, timesteps, unet.prepare({.text = text}));
  };
  const at::Tensor untuned_logits = captions(models.captioner), untuned_noise = denoised(models.unet);
  for (auto& [key, tensor] : pair.parameters()) at::Tensor(tensor).copy_(state.at("average." + key));
  const at::Tensor logits = captions(models.captioner), noise = denoised(models.unet);
  EXPECT_GT(relative_error(logits, untuned_logits), 1e-4);
  EXPECT_GT(relative_error(noise, untuned_noise), 1e-4);

  const auto weights = [&](const char* name, const char* part) {
    return nn::Weights(checkpoint::Repository(folder / name).tensors(part), at::kCPU, at::kFloat, name);
  };
  const caption::BlipCaptioner captioner(checkpoint::Repository(folder / "captioner"), weights("captioner", ""));
  const models::Unet unet(models.unet.config, weights("generator", "unet"));
  EXPECT_LT(relative_error(captions(captioner), logits), 1e-5);
  EXPECT_LT(relative_error(denoised(unet), noise), 1e-5);
  EXPECT_NO_THROW(caption::BlipCaptioner(checkpoint::Repository(folder / "captioner"), at::kCPU, at::kFloat));
  EXPECT_NO_THROW(generate::StableDiffusion(checkpoint::Repository(folder / "best/generator"), at::kCPU, at::kFloat));
}

TEST(Lora, SavedAdaptersReadAsTheTrainedModels) {
  Folder folder;
  expect_saved_reads_as_trained(folder, lora_options());
}

// What is saved then is one adapter of the first one's base, of both ranks.
TEST(Lora, AnAdapterMayStartFromAnAdapter) {
  Folder first, second;
  run(first, lora_options());
  UnifiedTaskOptions options = lora_options();
  options.models.captioner = first / "captioner";
  options.models.generator = first / "generator";
  options.models.lora.rank = 2;
  options.models.train_captioner = Selection::kLoraXattnQ;  // modules that the first has, and others
  expect_saved_reads_as_trained(second, options);
  const checkpoint::Adapter one = checkpoint::load_adapter(first / "captioner"),
                            both = checkpoint::load_adapter(second / "captioner");
  EXPECT_EQ(both.base, one.base);
  const checkpoint::LowRank& pair = both.parts.at("").begin()->second;
  EXPECT_EQ(pair.a.size(0), 3 + 2);
  EXPECT_EQ(pair.alpha, 5);
  EXPECT_EQ(both.parts.at("").size(), one.parts.at("").size());
}

TEST(Lora, AdaptersOfHalfPrecisionTrainingsAreSavedInFull) {
  Folder folder;
  run(folder, lora_options(), {.dtype = at::kBFloat16});
  const auto modules = checkpoint::load_adapter(folder / "captioner").parts.at("");
  ASSERT_FALSE(modules.empty());
  for (const auto& [module, pair] : modules) {
    EXPECT_EQ(pair.a.scalar_type(), at::kFloat);
    EXPECT_EQ(pair.a.sizes(), (std::vector<int64_t>{3, 24})) << module;
    EXPECT_EQ(pair.alpha, 5);
    EXPECT_FALSE(at::equal(pair.b, pair.b.to(at::kBFloat16).to(at::kFloat))) << "masters, not what was computed with";
  }
}

// An adapter is a start like any other for training weights, and writes a whole model then.
TEST(Lora, WholeWeightsMayStartFromAnAdapter) {
  Folder first, second;
  run(first, lora_options());
  UnifiedTaskOptions options = task_options();
  options.models.captioner = first / "captioner";
  options.models.generator = first / "generator";
  run(second, options);
  const checkpoint::TensorMap before = checkpoint::Repository(first / "captioner").tensors(),
                              after = checkpoint::load_safetensors(second / "captioner/model.safetensors");
  ASSERT_EQ(before.size(), after.size());
  const std::string layer = "text_decoder.bert.encoder.layer.0.crossattention.self.";
  EXPECT_TRUE(at::equal(before.at(layer + "value.weight"), after.at(layer + "value.weight")));
  EXPECT_FALSE(at::equal(before.at(layer + "query.weight"), after.at(layer + "query.weight")));
  EXPECT_NO_THROW(caption::BlipCaptioner(checkpoint::Repository(second / "captioner"), at::kCPU, at::kFloat));
  EXPECT_NO_THROW(generate::StableDiffusion(checkpoint::Repository(second / "generator"), at::kCPU, at::kFloat));

  // What an adapter changed in the text encoder is kept, though only the UNet learns.
  Folder third;
  options = task_options();
  options.models.generator = kGoldens + "lora/generator-convolutions";
  run(third, options);
  const checkpoint::TensorMap adapted = checkpoint::Repository(options.models.generator).tensors("text_encoder");
  const checkpoint::TensorMap kept = checkpoint::Repository(third / "generator").tensors("text_encoder");
  ASSERT_EQ(adapted.size(), kept.size());
  for (const auto& [key, tensor] : adapted) EXPECT_TRUE(at::equal(tensor, kept.at(key))) << key;

  options.models.train_generator = Selection::kLoraXattnQ;
  try {
    ModelPair pair(options.models, {});
    FAIL() << "an adapter on one of several parts";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("of other parts too"), std::string::npos) << error.what();
  }
}

TEST(Lora, SaysWhatIsWrong) {
  const auto expect_refused = [](const std::function<void(ModelPairOptions&)>& change, const std::string& part) {
    ModelPairOptions options = lora_options().models;
    change(options);
    try {
      ModelPair pair(options, {});
      FAIL() << "accepted: " << part;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect_refused([](auto& o) { o.lora.rank = 0; }, "lora_rank");
  expect_refused([](auto& o) { o.lora.alpha = -1; }, "lora_alpha");
}

}  // namespace
}  // namespace readback::train
