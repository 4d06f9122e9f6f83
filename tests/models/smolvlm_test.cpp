#include "readback/models/smolvlm/smolvlm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"

namespace readback::models {
namespace {

at::Tensor logits(const SmolVlm& model, const Golden& golden) {
  return model.forward(golden["input.pixel_values"], golden["input.input_ids"]);
}

at::Tensor loss(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits.slice(1, 0, -1).flatten(0, 1), labels.slice(1, 1).flatten());
}

Errors errors_of(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const SmolVlm model(SmolVlmConfig::read(golden.config()), weights);
  weights.finish();
  return {{"image_features", golden.error(model.image_features(golden["input.pixel_values"]), "image_features")},
          {"logits", golden.error(logits(model, golden), "logits")}};
}

struct SmolVlmParity : Parity {
  SmolVlm model{SmolVlmConfig::read(golden.config()), golden.weights()};
};

TEST_P(SmolVlmParity, Outputs) { expect_parity(golden, errors_of); }

// Keys' biases add the same to all scores of a query.
TEST_P(SmolVlmParity, NoBiasIsMissing) { expect_no_bias_missing(golden, errors_of, {".k_proj.bias"}); }

// Three tokens, then seven, then one at a time.
TEST_P(SmolVlmParity, PartsOfATextGiveTheLogitsOfTheWhole) {
  at::NoGradGuard no_grad;
  const at::Tensor ids = golden["input.input_ids"];
  const at::Tensor embeddings = model.embeddings(ids, model.image_features(golden["input.pixel_values"]));
  nn::KeyValueCache cache(model.config.text.num_hidden_layers, ids.size(1));
  std::vector<at::Tensor> parts;
  for (int64_t at = 0; at < ids.size(1);) {
    const int64_t tokens = at == 0 ? 3 : at == 3 ? 7 : 1;
    parts.push_back(model.logits(model.text.forward(embeddings.narrow(1, at, tokens), &cache)));
    at += tokens;
  }
  EXPECT_LT(error_in(golden.loading.dtype, at::cat(parts, 1), golden["output.logits"]), 2 * golden.tolerance());
}

INSTANTIATE_TEST_SUITE_P(Models, SmolVlmParity,
                         testing::Combine(testing::Values("smolvlm", "smolvlm-tied"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(SmolVlm, TrainsAsTheReference) {
  for (const char* name : {"smolvlm", "smolvlm-tied"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const SmolVlm model(SmolVlmConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] { return loss(logits(model, golden), golden["input.labels"]); });
  }
}

TEST(SmolVlm, RefusesWhatDoesNotFit) {
  const Golden golden("smolvlm");
  const SmolVlm model(SmolVlmConfig::read(golden.config()), golden.weights());
  EXPECT_THROW(model.forward(golden["input.pixel_values"].narrow(0, 0, 2), golden["input.input_ids"]), UsageError);
  nlohmann::json config = golden.config().raw();
  config["scale_factor"] = 0;
  EXPECT_NE(checkpoint_error([&] { SmolVlmConfig::read({config, "config.json"}); }).find("at least 1"),
            std::string::npos);
  config["scale_factor"] = 3;
  EXPECT_NE(checkpoint_error([&] {
              SmolVlmConfig::read({config, "config.json"});
            }).find("scale_factor"),
            std::string::npos);
}

}  // namespace
}  // namespace readback::models
