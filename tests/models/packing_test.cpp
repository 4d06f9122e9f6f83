#include "readback/nn/packing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/device.h"
#include "readback/models/blip/blip.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/nn/layers.h"

namespace readback::models {
namespace {

TEST(Packing, MultipliesAsTheWeightItselfForAnyNumberOfRows) {
  at::manual_seed(1);
  at::NoGradGuard no_grad;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    nn::Linear plain;
    plain.weight = at::randn({72, 40}).to(type);
    plain.bias = at::randn({72}).to(type);
    nn::Linear packed = plain;
    packed.pack();
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{1, 40}, {3, 1, 40}, {5, 70, 40}}) {
      at::Tensor x = at::randn(shape).to(type);
      EXPECT_LT(relative_error(packed(x), plain(x)), type == at::kFloat ? 1e-6 : 1e-2);
      if (shape.size() == 3) x = x.transpose(0, 1);
      EXPECT_LT(relative_error(packed(x), plain(x)), type == at::kFloat ? 1e-6 : 1e-2);
    }
    plain.bias.reset();
    packed.bias.reset();
    const at::Tensor x = at::randn({4, 40}).to(type);
    EXPECT_LT(relative_error(packed(x), plain(x)), type == at::kFloat ? 1e-6 : 1e-2);
  }
}

TEST(Packing, GivesTheWeightUpWhereItHasALayout) {
  nn::Linear linear;
  linear.weight = at::randn({8, 8});
  linear.pack();
  linear.pack();
  EXPECT_EQ(linear.weight.defined(), !linear.packed.defined());
  EXPECT_EQ(linear.packed.defined(), at::globalContext().hasMKLDNN());
  nn::Linear half;
  half.weight = at::randn({8, 8}).to(at::kDouble);
  half.pack();
  EXPECT_TRUE(half.weight.defined());
  EXPECT_FALSE(half.packed.defined());
}

TEST(Packing, ConvolvesAsTheWeightItselfOnMapsOfAnySize) {
  at::manual_seed(2);
  at::NoGradGuard no_grad;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = at::randn({24, 20, 3, 3}).to(type), bias = at::randn({24}).to(type);
    const at::Tensor packed = nn::pack_convolution(weight, 1, 1);
    if (!packed.defined()) continue;
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{1, 20, 4, 4}, {3, 20, 33, 17}}) {
      const at::Tensor x = at::randn(shape).to(type);
      const at::Tensor expected = at::conv2d(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble), 1, 1);
      for (const at::MemoryFormat format : {at::MemoryFormat::ChannelsLast, at::MemoryFormat::Contiguous}) {
        const at::Tensor ours = nn::packed_convolution(x.contiguous(format), packed, bias);
        EXPECT_LT(relative_error(ours.to(at::kDouble), expected), type == at::kFloat ? 1e-6 : 1e-2);
      }
    }
    EXPECT_FALSE(nn::pack_convolution(weight, 2, 1).defined());
  }
}

// What captioner, generator and CLIP are loaded with.
TEST(Packing, LeavesOutputsOfModelsForInference) {
  at::NoGradGuard no_grad;
  {
    const Golden golden("blip");
    const Blip blip(BlipConfig::read(golden.config()), golden.weights().for_inference());
    EXPECT_EQ(blip.text_decoder.prediction.packed.defined(), test_device().is_cpu() && at::globalContext().hasMKLDNN());
    const at::Tensor logits =
        blip.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.attention_mask"]);
    EXPECT_LT(relative_error(logits, golden["output.logits"]), kTolerance);
  }
  const Golden golden("unet-sd1");
  const nn::Weights weights = golden.weights().for_inference();
  const Unet unet(UnetConfig::read(golden.config()), weights);
  EXPECT_TRUE(weights.parameters().empty());
  const at::Tensor sample = unet.forward(golden["input.sample"], golden["input.timestep"],
                                         unet.prepare({.text = golden["input.encoder_hidden_states"]}));
  EXPECT_LT(relative_error(sample, golden["output.sample"]), kTolerance);
}

}  // namespace
}  // namespace readback::models
