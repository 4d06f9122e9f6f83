#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"

namespace readback::models {
namespace {

constexpr const char* kUnets[] = {"unet-sd1", "unet-sd2", "unet-lcm", "unet-xl"};

at::Tensor denoise(const Unet& unet, const Golden& golden, const std::string& sample) {
  const auto given = [&](const char* key) {
    const auto found = golden.values.find(key);
    return found == golden.values.end() ? at::Tensor() : found->second;
  };
  const UnetContext context = unet.prepare({.text = golden["input.encoder_hidden_states"],
                                            .guidance = given("input.guidance"),
                                            .pooled_text = given("input.pooled_text"),
                                            .sizes = given("input.sizes")});
  return unet.forward(golden["input." + sample], golden["input.timestep"], context);
}

// Sizes that the levels do not halve evenly come up again by nearest neighbours to the skip connection's size.
Errors unet_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Unet unet(UnetConfig::read(golden.config()), weights);
  weights.finish();
  return {{"sample", golden.error(denoise(unet, golden, "sample"), "sample")},
          {"odd_sample", golden.error(denoise(unet, golden, "odd_sample"), "odd_sample")}};
}

struct UnetParity : Parity {};
struct UnetBiases : Parity {};

TEST_P(UnetParity, Outputs) { expect_parity(golden, unet_errors); }
TEST_P(UnetBiases, NoneIsMissing) { expect_no_bias_missing(golden, unet_errors); }

INSTANTIATE_TEST_SUITE_P(Models, UnetParity,
                         testing::Combine(testing::ValuesIn(kUnets), testing::ValuesIn(all_loadings())), variant_name);
INSTANTIATE_TEST_SUITE_P(Models, UnetBiases,
                         testing::Combine(testing::Values("unet-sd1", "unet-sd2"), testing::ValuesIn(all_loadings())),
                         variant_name);
// The roundings of half precision in a network as deep as these hide a single bias.
INSTANTIATE_TEST_SUITE_P(DeepModels, UnetBiases,
                         testing::Combine(testing::Values("unet-lcm", "unet-xl"), testing::Values(Loading())),
                         variant_name);

TEST(Unet, TrainsAsTheReference) {
  for (const char* name : kUnets) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const Unet unet(UnetConfig::read(golden.config()), weights);
    expect_same_training(golden, weights,
                         [&] { return at::mse_loss(denoise(unet, golden, "sample"), golden["input.target"]); });
  }
}

TEST(Unet, ListsMissingUnexpectedAndMisshapenKeys) {
  Golden golden("unet-sd2");
  golden.tensors.erase("conv_out.bias");
  golden.tensors["class_embedding.weight"] = at::zeros({1});
  golden.tensors["time_embedding.linear_1.weight"] = at::zeros({2, 3});
  const std::string message = checkpoint_error([&] {
    const nn::Weights weights = golden.weights();
    const Unet unet(UnetConfig::read(golden.config()), weights);
    weights.finish();
  });
  EXPECT_NE(message.find("missing (1):\n    conv_out.bias"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    class_embedding.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("time_embedding.linear_1.weight (expected [32, 8], got [2, 3])"), std::string::npos)
      << message;
}

// Each would change the result, and none is implemented.
TEST(Unet, RefusesOptionsItDoesNotKnow) {
  const Golden golden("unet-sd1");
  const std::vector<std::pair<std::string, nlohmann::json>> options = {{"class_embed_type", "timestep"},
                                                                       {"center_input_sample", true},
                                                                       {"act_fn", "gelu"},
                                                                       {"resnet_time_scale_shift", "scale_shift"},
                                                                       {"transformer_layers_per_block", {{1, 2}, 1, 1}},
                                                                       {"down_block_types", {"AttnDownBlock2D"}},
                                                                       {"rotary_embeddings", true}};
  for (const auto& [key, value] : options) {
    nlohmann::json config = golden.repository.json();
    config[key] = value;
    const std::string message = checkpoint_error([&] { UnetConfig::read({config, "config.json"}); });
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
}

// What a network reads beside the text must be there, as wide as it reads it.
TEST(Unet, RefusesConditionsThatDoNotFit) {
  const Golden golden("unet-xl");
  const Unet unet(UnetConfig::read(golden.config()), golden.weights());
  const auto refused = [&](const at::Tensor& pooled_text, const at::Tensor& sizes) {
    EXPECT_THROW(unet.prepare({.text = golden["input.encoder_hidden_states"],
                               .guidance = {},
                               .pooled_text = pooled_text,
                               .sizes = sizes}),
                 UsageError);
  };
  refused({}, golden["input.sizes"]);
  refused(golden["input.pooled_text"], {});
  refused(golden["input.pooled_text"].narrow(1, 1, 9), golden["input.sizes"]);
}

// What StableDiffusionPipeline of diffusers 0.42.1 makes of files that say who saved them.
TEST(Unet, ReadsConfigurationsOfEarlyDiffusers) {
  const Golden golden("unet-sd1");
  const auto read = [&](const nlohmann::json& changes) {
    nlohmann::json config = golden.repository.json();
    config.erase("_diffusers_version");
    config["sample_size"] = 8;
    config.update(changes);
    return UnetConfig::read({config, "config.json"});
  };
  for (const char* version : {"0.2.2", "0.6.0", "0.8.1", "0.8.0.dev0"}) {
    EXPECT_EQ(read({{"_diffusers_version", version}}).sample_size, 64) << version;
    EXPECT_EQ(read({{"_diffusers_version", version}, {"sample_size", 96}}).sample_size, 96) << version;
  }
  for (const char* version : {"0.9.0.dev0", "0.9.0", "0.10.2", "0.42.1", "1.0"})
    EXPECT_EQ(read({{"_diffusers_version", version}}).sample_size, 8) << version;
  EXPECT_EQ(read(nlohmann::json::object()).sample_size, 8);
  EXPECT_NE(checkpoint_error([&] {
              read({{"_diffusers_version", "old"}});
            }).find("_diffusers_version"),
            std::string::npos);

  const nlohmann::json config = golden.repository.json();
  nlohmann::json old_names = nlohmann::json::object();
  for (const char* key : {"down_block_types", "up_block_types"}) {
    for (const std::string name : config[key]) old_names[key].push_back("UNetRes" + name);
  }
  EXPECT_EQ(read(old_names).down_attention, read(nlohmann::json::object()).down_attention);
  EXPECT_EQ(read(old_names).up_attention, read(nlohmann::json::object()).up_attention);
}

Errors vae_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Vae vae(VaeConfig::read(golden.config()), weights);
  weights.finish();
  const VaeMoments moments = vae.encode(golden["input.pixel_values"]);
  return {{"mean", golden.error(moments.mean, "mean")},
          {"logvar", golden.error(moments.logvar, "logvar")},
          {"decoded", golden.error(vae.decode(golden["input.latents"]), "decoded")}};
}

struct VaeParity : Parity {};

TEST_P(VaeParity, Outputs) { expect_parity(golden, vae_errors); }
TEST_P(VaeParity, NoBiasIsMissing) { expect_no_bias_missing(golden, vae_errors, {"to_k.bias"}); }

INSTANTIATE_TEST_SUITE_P(Models, VaeParity, testing::Combine(testing::Values("vae"), testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Vae, TrainsAsTheReference) {
  const Golden golden("vae");
  const nn::Weights weights = golden.weights();
  const Vae vae(VaeConfig::read(golden.config()), weights);
  expect_same_training(golden, weights, [&] {
    const auto [mean, logvar] = vae.encode(golden["input.pixel_values"]);
    const at::Tensor image = vae.decode(mean + (0.5 * logvar).exp() * golden["input.noise"]);
    const at::Tensor divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean();
    return at::mse_loss(image, golden["input.pixel_values"]) + 0.01 * divergence;
  });
}

// Stable Diffusion 1.4's own VAE was saved before diffusers 0.18 renamed the attention's parts.
TEST(Vae, ReadsTheLayoutOfEarlyDiffusers) {
  const Golden golden("vae");
  checkpoint::TensorMap old_layout;
  for (const auto& [key, tensor] : golden.tensors) {
    std::string old = key;
    for (const auto& [name, old_name] : {std::pair<std::string, std::string>{".to_q.", ".query."},
                                         {".to_k.", ".key."},
                                         {".to_v.", ".value."},
                                         {".to_out.0.", ".proj_attn."}}) {
      if (const size_t at = old.find(name); at != std::string::npos) old.replace(at, name.size(), old_name);
    }
    old_layout[old] = tensor;
  }
  ASSERT_TRUE(old_layout.contains("encoder.mid_block.attentions.0.proj_attn.weight"));
  const nn::Weights old_weights(old_layout, test_device(), at::kFloat, "old layout");
  const Vae old_vae(VaeConfig::read(golden.config()), old_weights);
  old_weights.finish();
  at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(old_vae.decode(golden["input.latents"]), golden["output.decoded"]), kTolerance);
}

TEST(Vae, ListsMissingUnexpectedAndMisshapenKeys) {
  Golden golden("vae");
  golden.tensors.erase("quant_conv.bias");
  golden.tensors["decoder.extra"] = at::zeros({1});
  golden.tensors["encoder.conv_in.weight"] = at::zeros({8, 3, 1, 1});
  const std::string message = checkpoint_error([&] {
    const nn::Weights weights = golden.weights();
    const Vae vae(VaeConfig::read(golden.config()), weights);
    weights.finish();
  });
  EXPECT_NE(message.find("missing (1):\n    quant_conv.bias"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    decoder.extra"), std::string::npos) << message;
  EXPECT_NE(message.find("encoder.conv_in.weight (expected [8, 3, 3, 3], got [8, 3, 1, 1])"), std::string::npos)
      << message;
}

TEST(Vae, RefusesOptionsItDoesNotKnow) {
  const Golden golden("vae");
  const std::vector<std::pair<std::string, nlohmann::json>> options = {
      {"act_fn", "gelu"}, {"latents_mean", {0.1, 0.1, 0.1, 0.1}}, {"down_block_types", {"AttnDownEncoderBlock2D"}}};
  for (const auto& [key, value] : options) {
    nlohmann::json config = golden.repository.json();
    config[key] = value;
    const std::string message = checkpoint_error([&] { VaeConfig::read({config, "config.json"}); });
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace readback::models
