#include "readback/nn/packing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/device.h"
#include "readback/models/blip/blip.h"
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

TEST(Packing, LeavesBlipsOutputs) {
  const Golden golden("blip");
  Blip blip(BlipConfig::read(golden.config()), golden.weights());
  blip.pack();
  at::NoGradGuard no_grad;
  const at::Tensor logits =
      blip.forward(golden["input.pixel_values"], golden["input.input_ids"], golden["input.attention_mask"]);
  EXPECT_LT(relative_error(logits, golden["output.logits"]), kTolerance);
}

}  // namespace
}  // namespace readback::models
