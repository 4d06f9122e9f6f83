#include "readback/models/blip2/blip2.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/source_dir.h"

namespace readback::models {
namespace {

const at::Tensor& input(const Golden& golden, const std::string& name) { return golden["input." + name]; }

at::Tensor logits(const Blip2& model, const Golden& golden) {
  return model.forward(input(golden, "pixel_values"), input(golden, "input_ids"),
                       model.t5 ? input(golden, "decoder_input_ids") : at::Tensor());
}

at::Tensor loss(const Blip2& model, const Golden& golden) {
  const at::Tensor all = logits(model, golden), labels = input(golden, "labels");
  if (model.t5) return at::cross_entropy_loss(all.flatten(0, 1), labels.flatten());
  const int64_t queries = model.config.num_query_tokens;
  return at::cross_entropy_loss(all.slice(1, queries, -1).flatten(0, 1), labels.slice(1, 1).flatten());
}

Errors errors_of(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Blip2 model(Blip2Config::read(golden.config()), weights);
  weights.finish();
  return {{"query_states",
           golden.error(model.query_states(model.vision_model.forward(input(golden, "pixel_values"))), "query_states")},
          {"logits", golden.error(logits(model, golden), "logits")}};
}

struct Blip2Parity : Parity {
  Blip2 model{Blip2Config::read(golden.config()), golden.weights()};
};

TEST_P(Blip2Parity, Outputs) { expect_parity(golden, errors_of); }

// Keys' biases add the same to all scores of a query.
TEST_P(Blip2Parity, NoBiasIsMissing) { expect_no_bias_missing(golden, errors_of, {".key.bias", ".k_proj.bias"}); }

// Three tokens and then one a step; T5 for two sequences a text, of which the second is another one's.
TEST_P(Blip2Parity, OneTokenAStepGivesTheLogitsOfTheWhole) {
  at::NoGradGuard no_grad;
  const at::Tensor images = model.read_images(input(golden, "pixel_values")), ids = input(golden, "input_ids");
  std::vector<at::Tensor> steps;
  if (model.opt) {
    const at::Tensor read = model.embeddings(images, ids);
    nn::KeyValueCache cache(model.opt->config.num_hidden_layers, read.size(1));
    for (int64_t at = 0, tokens = 3; at < read.size(1); at += tokens, tokens = 1) {
      steps.push_back(model.opt->logits(model.opt->forward(read.narrow(1, at, tokens), &cache)));
    }
  } else {
    const at::Tensor written = input(golden, "decoder_input_ids");
    T5State state = model.t5->prepare(model.t5->encode(model.embeddings(images, ids)), written.size(1));
    const at::Tensor pairs = at::stack({written, written.flip({0})}, 1).flatten(0, 1);
    for (int64_t at = 0, tokens = 3; at < written.size(1); at += tokens, tokens = 1) {
      const at::Tensor both = model.t5->decode(pairs.narrow(1, at, tokens), state, /*cache=*/true);
      steps.push_back(both.slice(0, 0, {}, 2));
    }
    // Of the kept sequences the next token is what it would be alone.
    const at::Tensor last = input(golden, "labels").narrow(1, -1, 1).clamp_min(3);
    T5State kept = state;
    EXPECT_THROW(model.t5->decode(last.repeat_interleave(2, 0), kept, true), EngineError);  // no room
  }
  EXPECT_LT(error_in(golden.loading.dtype, at::cat(steps, 1), golden["output.logits"]), 2 * golden.tolerance());
}

INSTANTIATE_TEST_SUITE_P(Models, Blip2Parity,
                         testing::Combine(testing::Values("blip2-opt", "blip2-opt-post", "blip2-t5", "blip2-flan-t5"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Blip2, TrainsAsTheReference) {
  for (const char* name : {"blip2-opt", "blip2-opt-post", "blip2-t5", "blip2-flan-t5"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const Blip2 model(Blip2Config::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] { return loss(model, golden); });
  }
}

// tools/reference/float16.py: weights whose results are beyond float16.
TEST(Blip2, IsFloat32WhereTransformersKeepsItInFloat16) {
  at::NoGradGuard no_grad;
  std::map<std::string, std::string> metadata;
  const checkpoint::TensorMap truth = checkpoint::load_safetensors(
      tests::source_dir().string() + "/tests/goldens/models/float16.safetensors", &metadata);
  for (const char* name : {"blip2-opt", "blip2-flan-t5"}) {
    for (const bool for_inference : {false, true}) {
      Golden golden(name, {at::kHalf, for_inference});
      for (auto& [key, tensor] : golden.tensors) {
        const bool scaled = key.ends_with("output_query.dense.weight") || key.ends_with("DenseReluDense.wo.weight");
        if (scaled) tensor.mul_(std::stod(metadata.at("scale")));
      }
      const nn::Weights weights = golden.weights();
      const Blip2 model(Blip2Config::read(golden.config()), weights);
      std::vector<std::string> wide;
      for (const auto& [key, tensor] : weights.parameters()) {
        if (tensor.scalar_type() == at::kFloat) wide.push_back(key);
      }
      if (!for_inference) {
        EXPECT_EQ(nlohmann::json(wide), nlohmann::json::parse(metadata.at(std::string(name) + ".wide")));
      }
      const auto value = [&](const char* what) { return truth.at(std::string(name) + what); };
      const at::Tensor states = model.query_states(value(".image_embeds").to(test_device()));
      EXPECT_EQ(states.scalar_type(), at::kHalf);
      EXPECT_LT(error_in(at::kHalf, states, value(".query_states")), tolerance(at::kHalf, 1)) << name;
      EXPECT_LT(error_in(at::kHalf, logits(model, golden), value(".logits")), tolerance(at::kHalf, 8)) << name;
    }
  }
}

TEST(Blip2, RefusesOtherLanguageModels) {
  nlohmann::json config = Golden("blip2-opt").config().raw();
  config["text_config"]["model_type"] = "vicuna";
  const std::string error = checkpoint_error([&] { Blip2Config::read({config, "config.json"}); });
  EXPECT_NE(error.find("opt or t5"), std::string::npos) << error;
}

}  // namespace
}  // namespace readback::models
