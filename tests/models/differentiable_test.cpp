// The layers' gradients are those that libtorch's own operations record.
#include "readback/nn/differentiable.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "readback/base/random.h"
#include "readback/nn/layers.h"

namespace readback::nn {
namespace {

at::Tensor draw(const std::string& name, at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Random random(5, Purpose::kTest, name);
  random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values.to(type);
}

using Compute = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// The output and, for each tensor, its gradient of Σ output · weights; undefined where none is wanted.
std::vector<at::Tensor> outcome(const Compute& compute, const std::vector<at::Tensor>& tensors,
                                const std::vector<bool>& wanted) {
  std::vector<at::Tensor> leaves;
  for (size_t i = 0; i < tensors.size(); ++i) leaves.push_back(tensors[i].detach().clone().requires_grad_(wanted[i]));
  const at::Tensor output = compute(leaves);
  (output.to(at::kFloat) * draw("weights", output.sizes())).sum().backward();
  std::vector<at::Tensor> result = {output.detach()};
  for (const at::Tensor& leaf : leaves) result.push_back(leaf.grad());
  return result;
}

// With every choice of what is frozen.
void expect_alike(const Compute& ours, const Compute& reference, const std::vector<at::Tensor>& tensors,
                  double tolerance) {
  for (size_t mask = 1; mask < (size_t{1} << tensors.size()); ++mask) {
    std::vector<bool> wanted;
    for (size_t i = 0; i < tensors.size(); ++i) wanted.push_back((mask >> i) & 1);
    const auto got = outcome(ours, tensors, wanted), expected = outcome(reference, tensors, wanted);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].defined(), expected[i].defined()) << "mask " << mask << ", tensor " << i;
      if (!got[i].defined()) continue;
      ASSERT_EQ(got[i].scalar_type(), expected[i].scalar_type());
      const at::Tensor want = expected[i].to(at::kDouble);
      const double error = (got[i].to(at::kDouble) - want).norm().item<double>() / want.norm().item<double>();
      EXPECT_LT(error, tolerance) << "mask " << mask << ", tensor " << i;
    }
  }
}

const std::vector<std::pair<at::ScalarType, double>> kTypes = {{at::kFloat, 2e-6}, {at::kBFloat16, 1e-2}};

TEST(Differentiable, Linear) {
  for (const auto& [type, tolerance] : kTypes) {
    expect_alike([](const auto& t) { return differentiable_linear(t[0], t[1], t[2]); },
                 [](const auto& t) { return at::linear(t[0], t[1], t[2]); },
                 {draw("x", {2, 7, 48}, type), draw("w", {32, 48}, type), draw("b", {32}, type)}, tolerance);
    expect_alike([](const auto& t) { return differentiable_linear(t[0], t[1], {}); },
                 [](const auto& t) { return at::linear(t[0], t[1]); },
                 {draw("x", {5, 48}, type), draw("w", {33, 48}, type)}, tolerance);
    // As it comes from maps: positions apart in memory.
    expect_alike([](const auto& t) { return differentiable_linear(t[0].flatten(2).transpose(1, 2), t[1], {}); },
                 [](const auto& t) { return at::linear(t[0].flatten(2).transpose(1, 2), t[1]); },
                 {draw("x", {2, 16, 3, 4}, type), draw("w", {24, 16}, type)}, tolerance);
  }
}

TEST(Differentiable, Convolution) {
  for (const auto& [type, tolerance] : kTypes) {
    for (const auto& [kernel, stride, padding] : std::vector<std::array<int64_t, 3>>{{3, 1, 1}, {3, 2, 1}, {1, 1, 0}}) {
      for (const int64_t channels : {32, 640}) {  // 640 for 144 places: as one product of matrices
        const int64_t s = stride, p = padding;
        const at::Tensor x = draw("x", {2, 16, 9, 8}, type).contiguous(at::MemoryFormat::ChannelsLast);
        const at::Tensor w = draw("w", {channels, 16, kernel, kernel}, type).contiguous(at::MemoryFormat::ChannelsLast);
        expect_alike([&](const auto& t) { return differentiable_convolution(t[0], t[1], t[2], s, p); },
                     [&](const auto& t) {
                       return at::conv2d(t[0], t[1], t[2], {s, s}, {p, p});
                     },
                     {x, w, draw("b", {channels}, type)}, tolerance);
        expect_alike([&](const auto& t) { return differentiable_convolution(t[0], t[1], {}, s, p); },
                     [&](const auto& t) {
                       return at::conv2d(t[0], t[1], {}, {s, s}, {p, p});
                     },
                     {x, w}, tolerance);
      }
    }
  }
}

TEST(Differentiable, GroupNorm) {
  for (const auto& [type, tolerance] : kTypes) {
    for (const bool silu : {false, true}) {
      // 70 positions: one whole run of the kernel's and a part; a mean far from zero.
      const at::Tensor x = (draw("x", {3, 32, 10, 7}) * 3 + 5).to(type).contiguous(at::MemoryFormat::ChannelsLast);
      expect_alike([&](const auto& t) { return differentiable_group_norm(t[0], 4, t[1], t[2], 1e-5, silu); },
                   [&](const auto& t) {
                     const at::Tensor exact =
                         at::group_norm(t[0].to(at::kDouble), 4, t[1].to(at::kDouble), t[2].to(at::kDouble));
                     return (silu ? at::silu(exact) : exact).to(t[0].scalar_type());
                   },
                   {x, draw("w", {32}, type), draw("b", {32}, type)}, tolerance);
    }
  }
}

// In bfloat16, for which it is made. The last case has more heads than are computed at a time.
TEST(Differentiable, Attention) {
  struct Case {
    int64_t heads, queries, keys, depth;
  };
  for (const Case& c : {Case{3, 17, 40, 24}, Case{2, 12, 64, 16}, Case{2, 33, 5, 8}, Case{3, 600, 610, 16}}) {
    const auto tokens = [&](const char* name, int64_t count) {
      return draw(name, {2, count, c.heads * c.depth}, at::kBFloat16);
    };
    const auto split = [&](const at::Tensor& x) { return split_heads(x, c.heads); };
    expect_alike([&](const auto& t) { return differentiable_attention(split(t[0]), split(t[1]), split(t[2]), 0.3); },
                 [&](const auto& t) {
                   const auto exact = [&](const at::Tensor& x) { return split(x).to(at::kDouble); };
                   const at::Tensor scores = at::matmul(exact(t[0]), exact(t[1]).transpose(-2, -1)) * 0.3;
                   const at::Tensor mixed = at::matmul(at::softmax(scores, -1), exact(t[2]));
                   return mixed.transpose(1, 2).flatten(2).to(at::kBFloat16);
                 },
                 {tokens("q", c.queries), tokens("k", c.keys), tokens("v", c.keys)}, 1e-2);
  }
}

TEST(Differentiable, GatedGelu) {
  for (const auto& [type, tolerance] : kTypes) {
    expect_alike([](const auto& t) { return gated_gelu(t[0]); },
                 [](const auto& t) {
                   const std::vector<at::Tensor> halves = t[0].chunk(2, -1);
                   return halves[0] * at::gelu(halves[1]);
                 },
                 {draw("x", {2, 7, 48}, type)}, tolerance);
  }
}

TEST(Differentiable, CheckpointedBlocksAreComputedAgainForTheSameGradients) {
  int calls = 0;
  const Compute block = [&calls](const std::vector<at::Tensor>& t) {
    ++calls;
    return at::tanh(at::linear(t[0], t[1])) + t[2];
  };
  const std::vector<at::Tensor> tensors = {draw("x", {5, 8}), draw("w", {8, 8}), draw("b", {8})};
  const auto both = [&](const Compute& compute, const std::vector<bool>& wanted) {
    calls = 0;
    return outcome(compute, tensors, wanted);
  };
  for (const std::vector<bool>& wanted : std::vector<std::vector<bool>>{{true, true, true}, {false, false, true}}) {
    const auto plain = both(block, wanted);
    EXPECT_EQ(calls, 1);
    std::vector<at::Tensor> checkpointed_outcome;
    {
      const GradientCheckpointing on(true);
      checkpointed_outcome = both([&](const auto& t) { return checkpointed(block, t); }, wanted);
      EXPECT_EQ(calls, 2);
    }
    EXPECT_FALSE(GradientCheckpointing::is_enabled());
    for (size_t i = 0; i < plain.size(); ++i) {
      ASSERT_EQ(plain[i].defined(), checkpointed_outcome[i].defined());
      if (!plain[i].defined()) continue;
      EXPECT_TRUE(at::equal(plain[i], checkpointed_outcome[i])) << i;
    }
  }
  // A parameter that the block reads by itself gathers its gradient, too.
  const at::Tensor parameter = draw("p", {8, 8}).requires_grad_(true), x = draw("x", {5, 8}).requires_grad_(true);
  const GradientCheckpointing on(true);
  checkpointed([&](const auto& t) { return at::linear(t[0], parameter); }, {x}).sum().backward();
  EXPECT_TRUE(at::allclose(parameter.grad(), x.detach().sum(0).expand({8, 8})));
}

}  // namespace
}  // namespace readback::nn
