#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/device.h"
#include "readback/nn/fused_attention.h"
#include "readback/nn/fused_norm.h"
#include "readback/nn/layers.h"

namespace readback::models {
namespace {

at::Tensor exact_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const at::Tensor scores = at::matmul(q.to(at::kDouble), k.to(at::kDouble).transpose(-2, -1)) * scale;
  return at::matmul(at::softmax(scores, -1), v.to(at::kDouble)).transpose(1, 2).flatten(2);
}

// Depths of every remainder by lanes, keys around the borders of tiles and chunks, queries around those of rows.
TEST(FusedAttention, EqualsTheFormulaInDoublePrecision) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t depth : {3, 16, 40, 64, 80, 160}) {
      for (const int64_t keys : {1, 24, 64, 77, 513, 1100}) {
        for (const int64_t queries : {12, 17, 100}) {
          const auto tokens = [&](int64_t count) {
            return at::randn({2, count, 3 * depth}).to(type).view({2, count, 3, depth}).transpose(1, 2);
          };
          const at::Tensor q = tokens(queries), k = tokens(keys), v = tokens(keys);
          ASSERT_TRUE(type == at::kBFloat16 || nn::fuses_attention(q, k, v));
          const at::Tensor ours = nn::fused_attention(q, k, v, 0.4);
          EXPECT_EQ(ours.scalar_type(), type);
          EXPECT_LT(relative_error(ours.to(at::kDouble), exact_attention(q, k, v, 0.4)),
                    type == at::kFloat ? 4e-6 : 4e-3)
              << type << " depth " << depth << " keys " << keys << " queries " << queries;
        }
      }
    }
  }
}

TEST(FusedAttention, TakesScoresOfAnySize) {
  at::manual_seed(2);
  const at::Tensor q = at::randn({1, 1, 16, 8}) * 300, k = at::randn({1, 1, 600, 8}), v = at::randn({1, 1, 600, 8});
  EXPECT_LT(relative_error(nn::fused_attention(q, k, v, 1.0).to(at::kDouble), exact_attention(q, k, v, 1.0)), 1e-4);
}

// What a diverged model computes must not look like a result.
TEST(FusedAttention, PassesNotANumberOn) {
  const at::Tensor q = at::randn({1, 1, 16, 8}), broken = at::full({1, 1, 16, 8}, NAN);
  EXPECT_TRUE(nn::fused_attention(broken, q, q, 1.0).isnan().all().item<bool>());
  EXPECT_TRUE(nn::fused_attention(q, broken, q, 1.0).isnan().all().item<bool>());
}

TEST(FusedAttention, LeavesFewQueriesAndMostGradientsToOthers) {
  const at::Tensor q = at::randn({1, 1, 16, 8}), few = at::randn({1, 1, 3, 8});
  EXPECT_TRUE(nn::fuses_attention(q, q, q));
  EXPECT_FALSE(nn::fuses_attention(few, q, q));
  const at::Tensor leaf = at::randn({1, 1, 16, 8}).requires_grad_();
  EXPECT_FALSE(nn::fuses_attention(q, q, leaf));
  const auto halves = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  EXPECT_FALSE(nn::fuses_attention(halves(q), halves(q), halves(leaf)));
  const at::Tensor many = halves(at::randn({1, 1, nn::kFewKeys + 1, 8})).requires_grad_();
  EXPECT_EQ(nn::fuses_attention(halves(q), many, many), !cpu_has_amx_bfloat16());
  EXPECT_FALSE(nn::fuses_attention(q.to(at::kDouble), q.to(at::kDouble), q.to(at::kDouble)));
}

TEST(FusedGroupNorm, EqualsTheFormulaInDoublePrecision) {
  at::manual_seed(3);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t side : {1, 4, 9, 33}) {
      const at::Tensor x = (at::randn({3, 48, side, side}) * 2 + 5).to(type).contiguous(at::MemoryFormat::ChannelsLast);
      const at::Tensor weight = at::randn({48}).to(type), bias = at::randn({48}).to(type);
      ASSERT_TRUE(nn::fuses_group_norm(x));
      const at::Tensor exact = at::group_norm(x.to(at::kDouble), 6, weight.to(at::kDouble), bias.to(at::kDouble), 1e-5);
      const double tolerance = type == at::kFloat ? 1e-5 : 5e-3;
      const at::Tensor plain = nn::fused_group_norm(x, 6, weight, bias, 1e-5, false);
      EXPECT_LT(relative_error(plain.to(at::kDouble), exact), tolerance);
      EXPECT_TRUE(plain.is_contiguous(at::MemoryFormat::ChannelsLast));
      EXPECT_LT(relative_error(nn::fused_group_norm(x, 6, weight, bias, 1e-5, true).to(at::kDouble), at::silu(exact)),
                tolerance);
    }
  }
}

// Activations far below and above what e^x can hold.
TEST(FusedGroupNorm, SiluOfLargeValues) {
  const at::Tensor x = at::randn({1, 16, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor weight = at::full({16}, 1e4), bias = at::zeros({16});
  const at::Tensor ours = nn::fused_group_norm(x, 4, weight, bias, 1e-5, true);
  EXPECT_LT(relative_error(ours, at::silu(at::group_norm(x, 4, weight, bias, 1e-5))), 1e-5);
  EXPECT_GT(ours.min().item<float>(), -0.3f);
}

}  // namespace
}  // namespace readback::models
