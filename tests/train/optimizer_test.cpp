#include "readback/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "readback/base/error.h"

namespace readback::train {
namespace {

// Textbook AdamW in double precision, one scalar parameter.
double textbook(double x, const std::vector<double>& gradients, double rate, const AdamWOptions& o) {
  double m = 0, v = 0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    m = o.beta1 * m + (1 - o.beta1) * gradients[i];
    v = o.beta2 * v + (1 - o.beta2) * gradients[i] * gradients[i];
    const double steps = static_cast<double>(i + 1);
    x -= rate * o.weight_decay * x;
    x -= rate * (m / (1 - std::pow(o.beta1, steps))) / (std::sqrt(v / (1 - std::pow(o.beta2, steps))) + o.epsilon);
  }
  return x;
}

TEST(AdamW, MatchesTheTextbook) {
  AdamWOptions options;
  options.clip_norm = 0;
  at::Tensor x = at::full({1}, 0.7);
  AdamW optimizer({{"x", x}}, options);
  const std::vector<double> gradients = {0.3, -0.2, 1.5, 0.01};
  for (double gradient : gradients) {
    optimizer.zero_grad();
    (x * gradient).sum().backward();
    optimizer.step(0.05);
  }
  EXPECT_NEAR(x.item<double>(), textbook(0.7, gradients, 0.05, options), 1e-6);
}

TEST(AdamW, GroupsHaveRatesDecaysAndClippingOfTheirOwn) {
  AdamWOptions options, own;
  options.clip_norm = own.clip_norm = 0.5;
  options.epsilon = own.epsilon = 1.0;  // makes the update depend on the gradient's size
  own.weight_decay = 0.2;
  at::Tensor a = at::full({1}, 0.7), b = at::full({1}, 0.7);
  AdamW optimizer({{"a.x", a}, {"b.x", b}}, options,
                  {{.prefix = "b.", .learning_rate = 3.0, .weight_decay = 0.2, .clipped = false}});
  (3 * a + 4 * b).sum().backward();
  EXPECT_NEAR(optimizer.step(0.05), 5.0, 1e-6);
  EXPECT_NEAR(a.item<double>(), textbook(0.7, {0.5}, 0.05, options), 1e-6);  // clipped by its own norm
  EXPECT_NEAR(b.item<double>(), textbook(0.7, {4.0}, 0.15, own), 1e-6);
}

TEST(AdamW, ClipsTheNormOfAllGradientsTogether) {
  AdamWOptions clipped, plain;
  clipped.clip_norm = 0.5;
  plain.clip_norm = 0;
  clipped.epsilon = plain.epsilon = 1.0;  // makes the update depend on the gradient's size
  at::Tensor a = at::zeros({1}), b = at::zeros({1}), c = at::zeros({1});
  AdamW first({{"a", a}, {"b", b}}, clipped);
  (3 * a + 4 * b).sum().backward();
  EXPECT_NEAR(first.step(0.1), 5.0, 1e-6);
  AdamW second({{"c", c}}, plain);
  (0.3 * c).sum().backward();  // 3 · 0.5 / 5
  second.step(0.1);
  EXPECT_NEAR(a.item<double>(), c.item<double>(), 1e-6);
}

TEST(AdamW, LeavesEverythingWhenGradientsAreNotFinite) {
  at::Tensor x = at::ones({2});
  AdamW optimizer({{"x", x}}, {});
  (x * std::numeric_limits<float>::infinity()).sum().backward();
  EXPECT_FALSE(std::isfinite(optimizer.step(0.1)));
  EXPECT_TRUE(at::equal(x, at::ones({2})));
}

TEST(AdamW, Bfloat16ParametersGatherSmallUpdatesInTheirMasters) {
  AdamWOptions options;
  options.weight_decay = 0;
  at::Tensor x = at::ones({1}, at::kBFloat16);
  AdamW optimizer({{"x", x}}, options);
  for (int i = 0; i < 100; ++i) {
    optimizer.zero_grad();
    x.sum().backward();
    optimizer.step(1e-4);  // far below bfloat16's spacing of 0.0039 at one
  }
  EXPECT_NEAR(x.item<double>(), 0.99, 0.004);
  EXPECT_NEAR(optimizer.averaged().at("x").item<double>(), 0.99, 1e-4);
}

TEST(AdamW, GoesOnFromItsStateToTheSameBits) {
  const auto train = [](AdamW& optimizer, at::Tensor x, int steps) {
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad();
      (x - 2).square().sum().backward();
      optimizer.step(0.1);
    }
  };
  AdamWOptions options;
  options.ema_decay = 0.9;
  at::Tensor whole = at::arange(6, at::kFloat).view({2, 3}).clone();
  AdamW one({{"x", whole}}, options);
  train(one, whole, 10);

  at::Tensor first = at::arange(6, at::kFloat).view({2, 3}).clone(), second = at::zeros({2, 3});
  AdamW before({{"x", first}}, options), after({{"x", second}}, options);
  train(before, first, 4);
  after.load_state(before.state());
  train(after, second, 6);
  EXPECT_TRUE(at::equal(whole, second));
  EXPECT_TRUE(at::equal(one.averaged().at("x"), after.averaged().at("x")));
  EXPECT_FALSE(at::equal(one.averaged().at("x"), whole));
}

TEST(AdamW, RefusesAnotherModelsState) {
  at::Tensor x = at::zeros({2}), y = at::zeros({3});
  AdamW one({{"x", x}}, {}), other({{"x", y}}, {});
  EXPECT_THROW(other.load_state(one.state()), CheckpointError);
}

TEST(Schedule, WarmsUpThenFollowsHalfACosineToItsFloor) {
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kCosine, 0, 10, 110, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kCosine, 9, 10, 110, 0.1), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kCosine, 10, 10, 110, 0.1), 1.0);
  EXPECT_NEAR(schedule_factor(Schedule::kCosine, 60, 10, 110, 0.1), 0.55, 1e-12);
  EXPECT_NEAR(schedule_factor(Schedule::kCosine, 110, 10, 110, 0.1), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(schedule_factor(Schedule::kConstant, 109, 10, 110, 0.1), 1.0);
}

}  // namespace
}  // namespace readback::train
