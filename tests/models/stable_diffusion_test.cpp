#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"

namespace readback::models {
namespace {

class UnetParity : public testing::TestWithParam<const char*> {
 protected:
  Golden golden{GetParam()};
  nn::Weights weights = golden.weights();
  Unet unet{UnetConfig::read(golden.config()), weights};

  at::Tensor denoise(const std::string& sample) const {
    return unet.forward(golden[sample], golden["input.timestep"], unet.prepare(golden["input.encoder_hidden_states"]));
  }
};

TEST_P(UnetParity, Outputs) {
  weights.finish();
  at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(denoise("input.sample"), golden["output.sample"]), kTolerance);
}

// Sizes that the levels do not halve evenly come up again by nearest neighbours to the skip connection's size.
TEST_P(UnetParity, OutputsOfOddSizes) {
  at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(denoise("input.odd_sample"), golden["output.odd_sample"]), kTolerance);
}

TEST_P(UnetParity, Training) {
  expect_same_training(golden, weights, [&] { return at::mse_loss(denoise("input.sample"), golden["input.target"]); });
}

INSTANTIATE_TEST_SUITE_P(Models, UnetParity, testing::Values("unet-sd1", "unet-sd2"),
                         [](const auto& info) { return std::string(info.index == 0 ? "sd1" : "sd2"); });

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
                                                                       {"transformer_layers_per_block", 2},
                                                                       {"down_block_types", {"AttnDownBlock2D"}},
                                                                       {"rotary_embeddings", true}};
  for (const auto& [key, value] : options) {
    nlohmann::json config = golden.repository.json();
    config[key] = value;
    const std::string message = checkpoint_error([&] { UnetConfig::read({config, "config.json"}); });
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
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

  nlohmann::json old_names = nlohmann::json::object();
  for (const char* key : {"down_block_types", "up_block_types"}) {
    for (const std::string name : golden.repository.json()[key]) old_names[key].push_back("UNetRes" + name);
  }
  EXPECT_EQ(read(old_names).down_attention, read(nlohmann::json::object()).down_attention);
  EXPECT_EQ(read(old_names).up_attention, read(nlohmann::json::object()).up_attention);
}

struct VaeParity : testing::Test {
  Golden golden{"vae"};
  nn::Weights weights = golden.weights();
  Vae vae{VaeConfig::read(golden.config()), weights};
};

TEST_F(VaeParity, Outputs) {
  weights.finish();
  at::NoGradGuard no_grad;
  const VaeMoments moments = vae.encode(golden["input.pixel_values"]);
  EXPECT_LT(relative_error(moments.mean, golden["output.mean"]), kTolerance);
  EXPECT_LT(relative_error(moments.logvar, golden["output.logvar"]), kTolerance);
  EXPECT_LT(relative_error(vae.decode(golden["input.latents"]), golden["output.decoded"]), kTolerance);
}

TEST_F(VaeParity, Training) {
  expect_same_training(golden, weights, [&] {
    const auto [mean, logvar] = vae.encode(golden["input.pixel_values"]);
    const at::Tensor image = vae.decode(mean + (0.5 * logvar).exp() * golden["input.noise"]);
    const at::Tensor divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean();
    return at::mse_loss(image, golden["input.pixel_values"]) + 0.01 * divergence;
  });
}

// Stable Diffusion 1.4's own VAE was saved before diffusers 0.18 renamed the attention's parts.
TEST_F(VaeParity, ReadsTheLayoutOfEarlyDiffusers) {
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
  const nn::Weights old_weights(old_layout, at::kCPU, at::kFloat, "old layout");
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
