#include "readback/models/clip/clip.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"

namespace readback::models {
namespace {

struct ClipParity : Parity {};

Errors clip_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const Clip clip(ClipConfig::read(golden.config()), weights);
  weights.finish();
  const ClipOutput text = clip.text_model.forward(golden["input.input_ids"]);
  const ClipOutput image = clip.vision_model.forward(golden["input.pixel_values"]);
  Errors errors;
  const auto compare = [&](const char* name, const at::Tensor& output) { errors[name] = golden.error(output, name); };
  compare("text_last_hidden_state", text.last_hidden_state);
  compare("text_pooler_output", text.pooler_output);
  compare("image_last_hidden_state", image.last_hidden_state);
  compare("image_pooler_output", image.pooler_output);
  compare("text_features", clip.text_projection(text.pooler_output));
  compare("image_features", clip.visual_projection(image.pooler_output));
  return errors;
}

TEST_P(ClipParity, Outputs) { expect_parity(golden, clip_errors); }
TEST_P(ClipParity, NoBiasIsMissing) { expect_no_bias_missing(golden, clip_errors, {"k_proj.bias"}); }

INSTANTIATE_TEST_SUITE_P(Models, ClipParity,
                         testing::Combine(testing::Values("clip", "clip-openclip"), testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(Clip, TrainsAsTheReference) {
  for (const char* name : {"clip", "clip-openclip"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const Clip clip(ClipConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] {
      const at::Tensor text = clip.text_projection(clip.text_model.forward(golden["input.input_ids"]).pooler_output);
      const at::Tensor image =
          clip.visual_projection(clip.vision_model.forward(golden["input.pixel_values"]).pooler_output);
      return clip.contrastive_loss(text, image);
    });
  }
}

struct ClipTextParity : Parity {};

Errors text_errors(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const ClipTextModel model(ClipTextConfig::read(golden.config()), weights);
  weights.finish();
  const ClipOutput output = model.forward(golden["input.input_ids"]);
  return {{"last_hidden_state", golden.error(output.last_hidden_state, "last_hidden_state")},
          {"pooler_output", golden.error(output.pooler_output, "pooler_output")}};
}

TEST_P(ClipTextParity, Outputs) { expect_parity(golden, text_errors); }
TEST_P(ClipTextParity, NoBiasIsMissing) { expect_no_bias_missing(golden, text_errors, {"k_proj.bias"}); }

INSTANTIATE_TEST_SUITE_P(Models, ClipTextParity,
                         testing::Combine(testing::Values("clip-text-sd1", "clip-text-sd2"),
                                          testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(ClipText, TrainsAsTheReference) {
  for (const char* name : {"clip-text-sd1", "clip-text-sd2"}) {
    const Golden golden(name);
    const nn::Weights weights = golden.weights();
    const ClipTextModel model(ClipTextConfig::read(golden.config()), weights);
    expect_same_training(golden, weights, [&] {
      return at::mse_loss(model.forward(golden["input.input_ids"]).last_hidden_state, golden["input.target"]);
    });
  }
}

// The hub's text encoders were saved by transformers 4: everything lies under "text_model.", with the buffer.
TEST(ClipText, ReadsTheLayoutOfTransformers4) {
  Golden golden("clip-text-sd1");
  checkpoint::TensorMap old_layout;
  for (const auto& [key, tensor] : golden.tensors) old_layout["text_model." + key] = tensor;
  old_layout["text_model.embeddings.position_ids"] = at::arange(12).unsqueeze(0);
  const nn::Weights weights(old_layout, test_device(), at::kFloat, "old layout");
  const ClipTextModel model(ClipTextConfig::read(golden.config()), weights);
  weights.finish();
  at::NoGradGuard no_grad;
  EXPECT_LT(
      relative_error(model.forward(golden["input.input_ids"]).last_hidden_state, golden["output.last_hidden_state"]),
      kTolerance);
}

TEST(ClipText, RefusesMoreTokensThanPositions) {
  const Golden golden("clip-text-sd1");
  const ClipTextModel model(ClipTextConfig::read(golden.config()), golden.weights());
  EXPECT_THROW(model.forward(at::zeros({1, 13}, at::TensorOptions(at::kLong).device(test_device()))), UsageError);
}

TEST(Clip, ListsMissingUnexpectedAndMisshapenKeys) {
  Golden golden("clip");
  golden.tensors.erase("text_projection.weight");
  golden.tensors["text_model.extra"] = at::zeros({1});
  golden.tensors["vision_model.pre_layrnorm.bias"] = at::zeros({7});
  const std::string message = checkpoint_error([&] {
    const nn::Weights weights = golden.weights();
    const Clip clip(ClipConfig::read(golden.config()), weights);
    weights.finish();
  });
  EXPECT_NE(message.find("missing (1):\n    text_projection.weight"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    text_model.extra"), std::string::npos) << message;
  EXPECT_NE(message.find("vision_model.pre_layrnorm.bias (expected [32], got [7])"), std::string::npos) << message;
}

TEST(Clip, RefusesOptionsItDoesNotKnow) {
  const Golden golden("clip");
  nlohmann::json config = golden.repository.json();
  config["text_config"]["rotary_embeddings"] = true;
  const std::string message = checkpoint_error([&] { ClipConfig::read({config, "config.json"}); });
  EXPECT_NE(message.find("rotary_embeddings"), std::string::npos) << message;
}

// The comparison itself must notice a small error in one parameter out of many.
TEST(Golden, NoticesOneWrongParameter) {
  Golden golden("clip");
  golden.tensors["vision_model.encoder.layers.1.layer_norm2.bias"].mul_(1.01);
  const Clip clip(ClipConfig::read(golden.config()), golden.weights());
  at::NoGradGuard no_grad;
  EXPECT_GT(relative_error(clip.vision_model.forward(golden["input.pixel_values"]).pooler_output,
                           golden["output.image_pooler_output"]),
            10 * kTolerance);
}

}  // namespace
}  // namespace readback::models
