#include "readback/nn/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "readback/nn/layers.h"

namespace readback::nn {
namespace {

TEST(Weights, ConvolutionsAreChannelsLastButWhereTheyKeepTheirOrder) {
  const at::Tensor rare = at::rand({4, 3, 3, 3}), often = at::rand({4, 3, 3, 3});
  const Weights weights =
      Weights({{"rare.weight", rare}, {"often.weight", often}}, at::kCPU, at::kFloat, "a test").keeping_order("rare.");
  EXPECT_TRUE(weights["rare"].get("weight", {4, 3, 3, 3}).is_same(rare));  // without memory of its own
  const at::Tensor ordered = weights["often"].get("weight", {4, 3, 3, 3});
  EXPECT_TRUE(ordered.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(ordered.equal(often));
  weights.finish();
}

// Of three matrices two fit: the third is what the file holds, in its type.
TEST(Weights, WhatMemoryHasNoRoomForStaysAsItIsStored) {
  checkpoint::TensorMap tensors;
  for (const char* name : {"a.weight", "b.weight", "c.weight"}) tensors[name] = at::rand({8, 8}).to(at::kHalf);
  const at::Tensor third = tensors["c.weight"];
  const Weights weights =
      Weights(tensors, at::kCPU, at::kFloat, "a test").for_inference(/*room=*/2 * 64 * int64_t{sizeof(float)});
  std::map<std::string, Linear> layers;
  for (const char* name : {"a", "b", "c"}) layers.emplace(name, Linear(weights[name], 8, 8, /*with_bias=*/false));
  weights.finish();
  EXPECT_FALSE(layers["a"].in_file);
  EXPECT_FALSE(layers["b"].in_file);
  EXPECT_TRUE(layers["c"].in_file);
  EXPECT_TRUE(layers["c"].weight.is_same(third));
  const at::Tensor x = at::rand({3, 8});
  EXPECT_TRUE(layers["c"](x).allclose(at::linear(x, third.to(at::kFloat)), 1e-5, 1e-6));
}

}  // namespace
}  // namespace readback::nn
