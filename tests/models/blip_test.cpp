#include "readback/models/blip/blip.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "golden.h"
#include "readback/base/error.h"

namespace readback::models {
namespace {

at::Tensor logits(const Blip& blip, const Golden& golden) {
  return blip.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.attention_mask"]);
}

Errors errors_of(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Blip blip(BlipConfig::read(golden.config()), weights);
  weights.finish();
  const at::Tensor embeds = blip.vision_model.forward(golden["input.pixel_values"]);
  return {{"image_embeds", golden.error(embeds, "image_embeds")},
          {"logits", golden.error(logits(blip, golden), "logits")}};
}

struct BlipParity : Parity {
  Blip blip{BlipConfig::read(golden.config()), golden.weights()};
};

TEST_P(BlipParity, Outputs) { expect_parity(golden, errors_of); }

// Keys' biases add the same to all scores of a query.
TEST_P(BlipParity, NoBiasIsMissing) { expect_no_bias_missing(golden, errors_of, {".key.bias"}); }

// The first row has no padding: a prompt of three tokens and then one token a step must give the row's logits.
TEST_P(BlipParity, OneTokenAStepGivesTheLogitsOfTheWhole) {
  at::NoGradGuard no_grad;
  const at::Tensor ids = golden["input.input_ids"].narrow(0, 0, 1), expected = golden["output.logits"].narrow(0, 0, 1);
  BlipState state = blip.text_decoder.prepare(blip.vision_model.forward(golden["input.pixel_values"].narrow(0, 0, 1)));
  std::vector<at::Tensor> steps;
  for (int64_t at = 0, tokens = 3; at < ids.size(1); at += tokens, tokens = 1) {
    const at::Tensor hidden = blip.text_decoder.hidden_states(ids.narrow(1, at, tokens), state, /*cache=*/true);
    steps.push_back(blip.text_decoder.logits(hidden));
  }
  // Of one row, whose last token's layer norm magnifies rounding, more than of all.
  EXPECT_LT(error_in(golden.loading.dtype, at::cat(steps, 1), expected), 1.5 * golden.tolerance());
}

// Two texts an image read the same keys and values, and get what each would get alone.
TEST_P(BlipParity, SequencesOfOneImageShareItsKeys) {
  at::NoGradGuard no_grad;
  const at::Tensor ids = golden["input.input_ids"].narrow(1, 0, 4), pixels = golden["input.pixel_values"];
  const at::Tensor other = at::cat({ids.slice(1, 0, 1), ids.slice(1, 1).flip({0})}, 1);  // texts of other images
  const at::Tensor pairs = at::stack({ids, other}, 1).flatten(0, 1);                     // [6, 4], side by side
  BlipState state = blip.text_decoder.prepare(blip.vision_model.forward(pixels));
  const at::Tensor together = blip.text_decoder.logits(blip.text_decoder.hidden_states(pairs, state, false));
  const at::Tensor alone = blip.forward(pixels.repeat_interleave(2, 0), pairs, {});
  EXPECT_LT(error_in(golden.loading.dtype, together, alone), golden.tolerance());
}

INSTANTIATE_TEST_SUITE_P(Models, BlipParity,
                         testing::Combine(testing::Values("blip", "blip-large"), testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Blip, TrainsAsTheReference) {
  for (const char* name : {"blip", "blip-large"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const Blip blip(BlipConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] { return blip.loss(logits(blip, golden), golden["input.labels"]); });
  }
}

// A row whose first token is padding sees nothing at all; in every type it must stay finite, as transformers' does.
TEST(Blip, ARowThatSeesNothingStaysFinite) {
  at::NoGradGuard no_grad;
  for (const Loading& loading : all_loadings()) {
    const Golden golden("blip", loading);
    const Blip blip(BlipConfig::read(golden.config()), golden.weights());
    const at::Tensor mask = golden["input.attention_mask"].clone();
    mask.select(1, 0).zero_();
    const at::Tensor logits = blip.forward(golden["input.pixel_values"], golden["input.input_ids"], mask);
    EXPECT_TRUE(logits.isfinite().all().item<bool>()) << dtype_name(loading.dtype);
  }
}

// 257 rows, of patches and the class token, are padded to 272, which must change neither what comes out nor its
// gradients.
TEST(Blip, RowsThatFillABlockAreReadByNobody) {
  BlipVisionConfig config;
  config.hidden_size = 32;
  config.intermediate_size = 64;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.image_size = 32;
  config.patch_size = 2;
  const BlipVisionModel model(config, nn::Weights::fresh(1, test_device()));
  at::manual_seed(2);
  const at::Tensor pixels = at::randn({2, 3, 32, 32}).to(test_device());
  const at::Tensor weights = at::randn({2, 257, 32}).to(test_device());
  const auto plain = [&](const at::Tensor& images) {
    const at::Tensor patches = model.patch_embedding(images).flatten(2).transpose(1, 2);
    at::Tensor x = at::cat({model.class_embedding.expand({2, 1, -1}), patches}, 1) + model.position_embedding;
    for (const BlipVisionLayer& layer : model.layers) x = layer.forward(x, 257);
    return model.post_layernorm(x);
  };
  const auto outcome = [&](const auto& forward) {
    const at::Tensor images = pixels.clone().requires_grad_(true), output = forward(images);
    (output * weights).sum().backward();
    return std::pair(output.detach(), images.grad());
  };
  const auto ours = outcome([&](const at::Tensor&images) { return model.forward(images); }), expected = outcome(plain);
  EXPECT_LT(relative_error(ours.first, expected.first), 1e-5);
  EXPECT_LT(relative_error(ours.second, expected.second), 1e-5);
}

// The same of the decoder's keys and values of a picture.
TEST(Blip, KeysOfRowsThatFillABlockAreNotKept) {
  BlipTextConfig config;
  config.vocab_size = 10;
  config.hidden_size = config.encoder_hidden_size = 32;
  config.intermediate_size = 64;
  config.num_hidden_layers = 1;
  config.num_attention_heads = 4;
  const BlipTextDecoder decoder(config, nn::Weights::fresh(1, test_device()));
  at::manual_seed(2);
  const at::Tensor images = at::randn({2, 257, 32}).to(test_device()).requires_grad_(true);
  const at::Tensor weights = at::randn({2, 4, 257, 8}).to(test_device());
  const auto expect_same = [&](const at::Tensor& ours, const nn::Linear& projection) {
    const at::Tensor plain = projection(images).view({2, 257, 4, 8}).transpose(1, 2);
    ASSERT_EQ(ours.sizes(), plain.sizes());
    EXPECT_LT(relative_error(ours, plain), 1e-5);
    const auto gradient = [&](const at::Tensor& x) {
      return torch::autograd::grad({(x * weights).sum()}, {images})[0];
    };
    EXPECT_LT(relative_error(gradient(ours), gradient(plain)), 1e-5);
  };
  const BlipState state = decoder.prepare(images);
  expect_same(state[0].image_key, decoder.layers[0].crossattention.key);
  expect_same(state[0].image_value, decoder.layers[0].crossattention.value);
}

// The hub's repositories were saved by transformers 4: both copies of tied tensors, the buffer of positions, and
// configurations with the generation defaults of the time and without encoder_hidden_size.
TEST(Blip, ReadsTheLayoutOfTransformers4) {
  Golden golden("blip-large");
  const at::Tensor embedding = golden.tensors.at("text_decoder.bert.embeddings.word_embeddings.weight");
  golden.tensors["text_decoder.cls.predictions.decoder.weight"] = embedding;
  golden.tensors["text_decoder.cls.predictions.decoder.bias"] = golden.tensors.at("text_decoder.cls.predictions.bias");
  golden.tensors["text_decoder.bert.embeddings.position_ids"] = at::arange(24).unsqueeze(0);
  nlohmann::json config = golden.repository.json();
  const nlohmann::json defaults = nlohmann::json::parse(R"({
    "_name_or_path": "", "add_cross_attention": false, "architectures": null, "bad_words_ids": null,
    "begin_suppress_tokens": null, "chunk_size_feed_forward": 0, "cross_attention_hidden_size": null,
    "decoder_start_token_id": null, "diversity_penalty": 0.0, "do_sample": false, "early_stopping": false,
    "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty": null, "finetuning_task": null,
    "forced_bos_token_id": null, "forced_eos_token_id": null, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "initializer_factor": 1.0, "is_encoder_decoder": false, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1,
    "num_beams": 1, "num_return_sequences": 1, "output_attentions": false, "output_hidden_states": false,
    "output_scores": false, "prefix": null, "problem_type": null, "pruned_heads": {}, "remove_invalid_values": false,
    "repetition_penalty": 1.0, "return_dict": true, "return_dict_in_generate": false, "suppress_tokens": null,
    "task_specific_params": null, "temperature": 1.0, "tf_legacy_loss": false, "tie_encoder_decoder": false,
    "tie_word_embeddings": true, "tokenizer_class": null, "top_k": 50, "top_p": 1.0, "torch_dtype": null,
    "torchscript": false, "transformers_version": "4.26.0.dev0", "typical_p": 1.0, "use_bfloat16": false})");
  for (const char* section : {"text_config", "vision_config"}) config[section].update(defaults);
  config["text_config"].erase("encoder_hidden_size");
  config["vision_config"].update(nlohmann::json::parse(
      R"({"is_decoder": false, "num_channels": 3, "dropout": 0.0, "bos_token_id": null, "eos_token_id": null,
          "pad_token_id": null, "sep_token_id": null})"));
  config.update(
      nlohmann::json::parse(R"({"_commit_hash": null, "torch_dtype": "float32", "transformers_version": null})"));

  const nn::Weights weights = golden.weights();
  const Blip blip(BlipConfig::read({config, "config.json"}), weights);
  weights.finish();
  at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(
                blip.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.attention_mask"]),
                golden["output.logits"]),
            kTolerance);
}

TEST(Blip, ListsMissingUnexpectedAndMisshapenKeys) {
  Golden golden("blip");
  golden.tensors.erase("text_decoder.cls.predictions.bias");
  golden.tensors["text_encoder.extra"] = at::zeros({1});
  golden.tensors["vision_model.embeddings.position_embedding"] = at::zeros({1, 5, 24});
  const std::string message = checkpoint_error([&] {
    const nn::Weights weights = golden.weights();
    const Blip blip(BlipConfig::read(golden.config()), weights);
    weights.finish();
  });
  EXPECT_NE(message.find("missing (1):\n    text_decoder.cls.predictions.bias"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    text_encoder.extra"), std::string::npos) << message;
  EXPECT_NE(message.find("vision_model.embeddings.position_embedding (expected [1, 17, 24], got [1, 5, 24])"),
            std::string::npos)
      << message;
}

// Each would change the result, and none is implemented.
TEST(Blip, RefusesOptionsItDoesNotKnow) {
  const Golden golden("blip");
  const std::vector<std::pair<std::string, nlohmann::json>> options = {
      {"is_decoder", false}, {"tie_word_embeddings", false}, {"hidden_act", "mish"}, {"rotary_embeddings", true}};
  for (const auto& [key, value] : options) {
    nlohmann::json config = golden.repository.json();
    config["text_config"][key] = value;
    const std::string message = checkpoint_error([&] {
      const Blip blip(BlipConfig::read({config, "config.json"}), golden.weights());
    });
    EXPECT_NE(message.find(value.is_string() ? value.get<std::string>() : key), std::string::npos) << message;
  }
}

TEST(Blip, RefusesImagesOfAnotherSize) {
  const Golden golden("blip");
  const Blip blip(BlipConfig::read(golden.config()), golden.weights());
  EXPECT_THROW(blip.vision_model.forward(at::zeros({1, 3, 24, 32}, test_device())), UsageError);
}

}  // namespace
}  // namespace readback::models
