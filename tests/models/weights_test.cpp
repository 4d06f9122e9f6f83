#include "readback/nn/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace readback::nn
