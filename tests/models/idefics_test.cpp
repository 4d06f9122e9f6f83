#include "readback/models/idefics/idefics.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"

namespace readback::models {
namespace {

at::Tensor logits(const Idefics& model, const Golden& golden) {
  return model.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.seen"]);
}

at::Tensor loss(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits.slice(1, 0, -1).flatten(0, 1), labels.slice(1, 1).flatten());
}

Errors errors_of(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Idefics model(IdeficsConfig::read(golden.config()), weights);
  weights.finish();
  return {{"image_states", golden.error(model.read_images(golden["input.pixel_values"]), "image_states")},
          {"logits", golden.error(logits(model, golden), "logits")}};
}

struct IdeficsParity : Parity {
  Idefics model{IdeficsConfig::read(golden.config()), golden.weights()};
};

TEST_P(IdeficsParity, Outputs) { expect_parity(golden, errors_of); }

// Keys' biases add the same to all scores of a query; nothing reads the class token's norm.
TEST_P(IdeficsParity, NoBiasIsMissing) {
  expect_no_bias_missing(golden, errors_of, {".k_proj.bias", ".k_layer_norm.bias", "vision_model.post_layernorm.bias"});
}

// A prompt of four tokens and then one token a step, for two sequences a set of pictures of which one is dropped.
TEST_P(IdeficsParity, OneTokenAStepGivesTheLogitsOfTheWhole) {
  at::NoGradGuard no_grad;
  // Rows whose later tokens all see what the fourth does.
  for (const int64_t row : {1, 2}) {
    const at::Tensor ids = golden["input.input_ids"].narrow(0, row, 1), seen = golden["input.seen"].narrow(0, row, 1);
    const at::Tensor pixels = golden["input.pixel_values"].narrow(0, row, 1);
    IdeficsState state = model.prepare(model.read_images(pixels), pixels.size(1), ids.size(1));
    std::vector<at::Tensor> steps;
    for (int64_t at = 0, tokens = 4; at < ids.size(1); at += tokens, tokens = 1) {
      const at::Tensor own = at == 0 ? seen.narrow(1, 0, tokens) : at::Tensor();
      const at::Tensor step = ids.narrow(1, at, tokens);
      if (at == 4) {  // another sequence beside it, which is dropped again
        select(state, {}, at::tensor({0, 0}).to(step.device()));
        IdeficsState both = state;
        const at::Tensor hidden = model.hidden_states(at::cat({step, step + 1}), own, both);
        EXPECT_LT(error_in(golden.loading.dtype, model.logits(hidden).narrow(0, 0, 1),
                           golden["output.logits"].narrow(0, row, 1).narrow(1, at, 1)),
                  3 * golden.tolerance());
        select(state, {}, at::tensor({0}).to(step.device()));
      }
      steps.push_back(model.logits(model.hidden_states(step, own, state)));
    }
    EXPECT_LT(error_in(golden.loading.dtype, at::cat(steps, 1), golden["output.logits"].narrow(0, row, 1)),
              2 * golden.tolerance());
    EXPECT_THROW(model.hidden_states(ids.narrow(1, 0, 1), {}, state), EngineError);  // no room
  }
}

INSTANTIATE_TEST_SUITE_P(Models, IdeficsParity,
                         testing::Combine(testing::Values("idefics", "idefics-plain"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Idefics, TrainsAsTheReference) {
  for (const char* name : {"idefics", "idefics-plain"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const Idefics model(IdeficsConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] { return loss(logits(model, golden), golden["input.labels"]); });
  }
}

TEST(Idefics, RefusesWhatItDoesNotKnow) {
  const Golden golden("idefics");
  nlohmann::json config = golden.config().raw();
  config["alpha_type"] = "matrix";
  EXPECT_NE(checkpoint_error([&] {
              IdeficsConfig::read({config, "config.json"});
            }).find("alpha_type"),
            std::string::npos);
  config["alpha_type"] = "float";
  config["rope_parameters"]["rope_type"] = "linear";
  EXPECT_NE(checkpoint_error([&] {
              IdeficsConfig::read({config, "config.json"});
            }).find("rope_type"),
            std::string::npos);
}

}  // namespace
}  // namespace readback::models
