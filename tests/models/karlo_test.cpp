// Karlo's models against diffusers: tools/reference/karlo.py.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "full_width.h"
#include "golden.h"
#include "hashed.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"
#include "readback/models/clip/clip.h"
#include "readback/models/karlo/prior.h"
#include "readback/models/karlo/text_projection.h"
#include "readback/models/karlo/unet.h"
#include "tests/source_dir.h"

namespace readback::models {
namespace {

at::Tensor predict(const Prior& prior, const Golden& golden) {
  const PriorContext text =
      prior.prepare(golden["input.text_embeds"], golden["input.text_states"], golden["input.tokens"]);
  return prior.forward(golden["input.sample"], golden["input.timestep"], text);
}

Errors prior_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Prior prior(PriorConfig::read(golden.config()), weights);
  weights.finish();
  const at::Tensor embeds = predict(prior, golden);
  return {{"embeds", golden.error(embeds, "embeds")},
          {"denormalised", golden.error(prior.denormalise(embeds), "denormalised")}};
}

// The first half of the rows has no image, as with guidance.
DecoderConditions project(const TextProjection& projection, const Golden& golden) {
  const at::Tensor images = golden["input.image_embeds"];
  const at::Tensor none = projection.learned_classifier_free_guidance_embeddings.unsqueeze(0).expand_as(images);
  return projection.forward(at::cat({none, images}), golden["input.text_embeds"], golden["input.text_states"]);
}

Errors text_projection_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const TextProjection projection(TextProjectionConfig::read(golden.config()), weights);
  weights.finish();
  const DecoderConditions conditions = project(projection, golden);
  return {{"states", golden.error(conditions.states, "states")}, {"time", golden.error(conditions.time, "time")}};
}

at::Tensor decode(const KarloUnet& decoder, const Golden& golden) {
  const KarloContext context = decoder.prepare(golden["input.states"], golden["input.tokens"], golden["input.time"]);
  return decoder.forward(golden["input.sample"], golden["input.timestep"], context);
}

Errors decoder_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const KarloUnet decoder(KarloDecoderConfig::read(golden.config()), weights);
  weights.finish();
  return {{"sample", golden.error(decode(decoder, golden), "sample")}};
}

Errors super_resolution_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const KarloUnet unet(KarloSuperResolutionConfig::read(golden.config()), weights);
  weights.finish();
  return {{"sample", golden.error(unet.forward(golden["input.sample"], golden["input.timestep"]), "sample")}};
}

struct KarloParity : Parity {
  Errors errors(const Golden& of) const {
    if (of.name == "karlo-prior") return prior_errors(of);
    if (of.name == "karlo-text-projection") return text_projection_errors(of);
    return of.name == "karlo-decoder" ? decoder_errors(of) : super_resolution_errors(of);
  }
};

TEST_P(KarloParity, Outputs) {
  expect_parity(golden, [&](const Golden& of) { return errors(of); });
}

INSTANTIATE_TEST_SUITE_P(Models, KarloParity,
                         testing::Combine(testing::Values("karlo-prior", "karlo-text-projection", "karlo-decoder",
                                                          "karlo-super-resolution",
                                                          "karlo-super-resolution-scale-shift"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

// Not of the text projection, whose five biases are as many outputs' shifts.
struct KarloBiases : KarloParity {};

// A key's bias shifts all scores of a query alike; in the decoder it does not, since the added keys have their own.
TEST_P(KarloBiases, NoneIsMissing) {
  std::vector<std::string> without_effect;
  if (golden.name == "karlo-prior") without_effect = {"to_k.bias"};
  expect_no_bias_missing(
      golden, [&](const Golden& of) { return errors(of); }, without_effect);
}

INSTANTIATE_TEST_SUITE_P(Models, KarloBiases,
                         testing::Combine(testing::Values("karlo-prior", "karlo-decoder", "karlo-super-resolution",
                                                          "karlo-super-resolution-scale-shift"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Karlo, PriorTrainsAsTheReference) {
  const Golden golden("karlo-prior");
  const nn::Weights weights = golden.weights();
  const Prior prior(PriorConfig::read(golden.config()), weights);
  expect_same_training(golden, weights,
                       [&] { return at::mse_loss(prior.denormalise(predict(prior, golden)), golden["input.target"]); });
}

TEST(Karlo, TextProjectionTrainsAsTheReference) {
  const Golden golden("karlo-text-projection");
  const nn::Weights weights = golden.weights();
  const TextProjection projection(TextProjectionConfig::read(golden.config()), weights);
  expect_same_training(golden, weights, [&] {
    const DecoderConditions conditions = project(projection, golden);
    return at::mse_loss(conditions.time, golden["input.target"]) + conditions.states.square().mean();
  });
}

TEST(Karlo, DecoderTrainsAsTheReference) {
  const Golden golden("karlo-decoder");
  const nn::Weights weights = golden.weights();
  const KarloUnet decoder(KarloDecoderConfig::read(golden.config()), weights);
  expect_same_training(golden, weights, [&] { return at::mse_loss(decode(decoder, golden), golden["input.target"]); });
}

TEST(Karlo, SuperResolutionTrainsAsTheReference) {
  for (const char* name : {"karlo-super-resolution", "karlo-super-resolution-scale-shift"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const KarloUnet unet(KarloSuperResolutionConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] {
      return at::mse_loss(unet.forward(golden["input.sample"], golden["input.timestep"]), golden["input.target"]);
    });
  }
}

// A context may be chosen by rows, which may repeat: what is computed is as when each had been prepared.
TEST(Karlo, ContextsOfChosenRows) {
  at::NoGradGuard no_grad;
  const std::vector<int64_t> rows = {1, 0, 1};
  const at::Tensor index = at::tensor(rows);
  const auto chosen = [&](const Golden& golden, const char* input) {
    return golden[std::string("input.") + input].cpu().index_select(0, index).to(test_device());
  };
  const Golden of_prior("karlo-prior"), of_decoder("karlo-decoder");
  const Prior prior(PriorConfig::read(of_prior.config()), of_prior.weights());
  const PriorContext texts =
      prior.prepare(of_prior["input.text_embeds"], of_prior["input.text_states"], of_prior["input.tokens"]);
  const at::Tensor embeds = prior.forward(chosen(of_prior, "sample"), chosen(of_prior, "timestep"), texts.select(rows));
  EXPECT_LT(relative_error(embeds, of_prior["output.embeds"].cpu().index_select(0, index)), kTolerance);

  const KarloUnet decoder(KarloDecoderConfig::read(of_decoder.config()), of_decoder.weights());
  const KarloContext context =
      decoder.prepare(of_decoder["input.states"], of_decoder["input.tokens"], of_decoder["input.time"]);
  const at::Tensor sample =
      decoder.forward(chosen(of_decoder, "sample"), chosen(of_decoder, "timestep"), context.select(rows));
  EXPECT_LT(relative_error(sample, of_decoder["output.sample"].cpu().index_select(0, index)), kTolerance);
}

TEST(Karlo, ListsMissingUnexpectedAndMisshapenKeys) {
  Golden golden("karlo-decoder");
  golden.tensors.erase("mid_block.attentions.0.add_k_proj.bias");
  golden.tensors["class_embedding.weight"] = at::zeros({1});
  golden.tensors["down_blocks.1.resnets.0.time_emb_proj.weight"] = at::zeros({8, 16});
  const std::string message = checkpoint_error([&] { decoder_errors(golden); });
  EXPECT_NE(message.find("missing (1):\n    mid_block.attentions.0.add_k_proj.bias"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    class_embedding.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("time_emb_proj.weight (expected [16, 16], got [8, 16])"), std::string::npos) << message;
}

// Each would change the result, and none is implemented.
TEST(Karlo, RefusesOptionsItDoesNotKnow) {
  using Options = std::vector<std::pair<std::string, nlohmann::json>>;
  const auto refuses = [](const char* name, const Options& options, const auto& read) {
    const Golden golden(name);
    for (const auto& [key, value] : options) {
      nlohmann::json config = golden.repository.json();
      config[key] = value;
      const std::string message = checkpoint_error([&] { read(checkpoint::ConfigReader(config, "config.json")); });
      EXPECT_NE(message.find(key), std::string::npos) << message;
    }
  };
  const Options of_levels = {{"down_block_types", {"DownBlock2D", "DownBlock2D"}},
                             {"block_out_channels", {4}},
                             {"sample_size", 9},
                             {"act_fn", "gelu"},
                             {"flip_sin_to_cos", false},
                             {"resnet_time_scale_shift", "ada_group"},
                             {"time_embedding_type", "fourier"},
                             {"num_class_embeds", 4},
                             {"rotary_embeddings", true}};
  refuses("karlo-decoder", of_levels, KarloDecoderConfig::read);
  refuses("karlo-super-resolution", of_levels, KarloSuperResolutionConfig::read);
  refuses("karlo-decoder",
          {{"class_embed_type", nullptr},
           {"class_embed_type", "timestep"},
           {"mid_block_type", "UNetMidBlock2DCrossAttn"},
           {"attention_head_dim", 3},
           {"attention_head_dim", {4, 4, 4}},
           {"cross_attention_norm", "layer_norm"},
           {"only_cross_attention", true},
           {"encoder_hid_dim_type", "text_proj"},
           {"resnet_out_scale_factor", 2}},
          KarloDecoderConfig::read);
  refuses("karlo-super-resolution",
          {{"add_attention", true}, {"class_embed_type", "identity"}, {"mid_block_type", nullptr}},
          KarloSuperResolutionConfig::read);
  refuses("karlo-prior",
          {{"additional_embeddings", 3},
           {"added_emb_type", nullptr},
           {"added_emb_type", "none"},
           {"encoder_hid_proj_type", nullptr},
           {"norm_in_type", "layer"},
           {"embedding_proj_norm_type", "layer"},
           {"clip_embed_dim", 7},
           {"num_attention_heads", 0},
           {"attention_head_dim", int64_t{1} << 40}},
          PriorConfig::read);
  refuses("karlo-text-projection", {{"time_embed_dim", nullptr}, {"norm", "rms"}}, TextProjectionConfig::read);
}

nlohmann::json described() { return read_json(tests::source_dir() / "tests/goldens/models/karlo.json"); }

// The published configuration: names and shapes of all 3.42 billion parameters, which are not held in memory.
TEST(Karlo, PublishedSizesHaveTheReferencesParameters) {
  const nlohmann::json parts = described()["published"];
  int64_t together = 0;
  const auto expect_same = [&](const std::string& part, const auto& build) {
    SCOPED_TRACE(part);
    const nn::Weights weights(checkpoint::TensorMap{}, c10::kMeta, at::kFloat, part);
    build(checkpoint::ConfigReader(parts[part]["config"], part + "/config.json"), weights);
    int64_t count = 0;
    std::vector<std::string> lines;
    for (const auto& [name, parameter] : weights.parameters()) {
      lines.push_back(fmt::format("{} [{}]\n", name, fmt::join(parameter.sizes(), ", ")));
      count += parameter.numel();
    }
    std::ranges::sort(lines);
    EXPECT_EQ(count, parts[part]["parameters"].get<int64_t>());
    EXPECT_EQ(sha256_hex(fmt::format("{}", fmt::join(lines, ""))), parts[part]["digest"]);
    together += count;
  };
  using checkpoint::ConfigReader;
  using nn::Weights;
  expect_same("text_encoder", [](ConfigReader config, const Weights& weights) {
    ClipTextModelWithProjection(ClipTextConfig::read(std::move(config)), weights);
  });
  expect_same("prior", [](ConfigReader config, const Weights& weights) {
    Prior(PriorConfig::read(std::move(config)), weights);
  });
  expect_same("text_proj", [](ConfigReader config, const Weights& weights) {
    TextProjection(TextProjectionConfig::read(std::move(config)), weights);
  });
  expect_same("decoder", [](ConfigReader config, const Weights& weights) {
    KarloUnet(KarloDecoderConfig::read(std::move(config)), weights);
  });
  for (const char* part : {"super_res_first", "super_res_last"}) {
    expect_same(part, [](ConfigReader config, const Weights& weights) {
      KarloUnet(KarloSuperResolutionConfig::read(std::move(config)), weights);
    });
  }
  EXPECT_EQ(together, 3'422'157'516);
}

// Karlo's width with few layers, from weights and inputs that both sides compute.
struct KarloFullWidth : testing::Test {
  template <typename Model, typename Config>
  Model build(const std::string& name) const {
    return full_width_model<Model, Config>(configs[name], name);
  }
  static at::Tensor tokens(const std::vector<int64_t>& lengths, int64_t width) {
    return (at::arange(width).unsqueeze(0) < at::tensor(lengths).unsqueeze(1)).to(test_device());
  }
  void expect_equal(const at::Tensor& actual, const std::string& name) const {
    EXPECT_LT(relative_error(actual, golden.at(name)), kTolerance) << name;
  }

  c10::NoGradGuard no_grad;
  nlohmann::json configs = described()["full_width"];
  checkpoint::TensorMap golden =
      checkpoint::load_safetensors(tests::source_dir() / "tests/goldens/models/karlo_full_width.safetensors");
  at::Tensor timesteps = at::tensor({17, 981}).to(test_device());
};

TEST_F(KarloFullWidth, Prior) {
  const auto prior = build<Prior, PriorConfig>("prior");
  const PriorContext text =
      prior.prepare(hashed_input("embeds", {2, 768}), hashed_input("states", {2, 77, 768}), tokens({77, 12}, 77));
  expect_equal(prior.forward(hashed_input("sample", {2, 768}), timesteps, text), "prior");
}

TEST_F(KarloFullWidth, Decoder) {
  const auto decoder = build<KarloUnet, KarloDecoderConfig>("decoder");
  const KarloContext context =
      decoder.prepare(hashed_input("states", {2, 81, 1536}), tokens({81, 16}, 81), hashed_input("time", {2, 1280}));
  expect_equal(decoder.forward(hashed_input("sample", {2, 3, 8, 8}), timesteps, context), "decoder");
}

TEST_F(KarloFullWidth, SuperResolution) {
  const auto unet = build<KarloUnet, KarloSuperResolutionConfig>("super_resolution");
  expect_equal(unet.forward(hashed_input("sample", {2, 6, 16, 16}), timesteps), "super_resolution");
}

}  // namespace
}  // namespace readback::models
