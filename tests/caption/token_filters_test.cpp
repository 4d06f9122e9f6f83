#include "readback/caption/token_filters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../device.h"
#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

constexpr int64_t kEnd = 3;

// Probabilities of all tokens, [S, V].
at::Tensor of_all_tokens(const Choices& choices) {
  if (!choices.tokens.defined()) return choices.weights;
  return at::zeros({choices.weights.size(0), choices.vocabulary_size}).scatter(1, choices.tokens, choices.weights);
}

int64_t draw(const std::vector<float>& weights, const Random& stream, int64_t step) {
  return caption::draw({at::tensor(weights).unsqueeze(0), {}, std::ssize(weights)}, 0, stream, step);
}

TEST(Distribution, EqualsTransformersAfterEveryFilter) {
  std::map<std::string, std::string> metadata;
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(
      tests::source_dir().string() + "/tests/goldens/caption/distributions.safetensors", &metadata);
  std::vector<std::vector<int64_t>> prefixes;
  const at::Tensor ids = golden.at("prefixes");
  for (int64_t s = 0; s < ids.size(0); ++s) {
    prefixes.emplace_back(ids[s].data_ptr<int64_t>(), ids[s].data_ptr<int64_t>() + ids.size(1));
  }
  const nlohmann::json cases = nlohmann::json::parse(metadata.at("options"));
  ASSERT_GE(cases.size(), 10u);
  for (size_t i = 0; i < cases.size(); ++i) {
    DecodingOptions options{.min_length = 5, .repetition_penalty = 1, .top_p = 0.9, .top_k = 0, .temperature = 1};
    options.do_sample = true;
    options.min_length = cases[i].value("min_length", 0);
    options.repetition_penalty = cases[i].value("repetition_penalty", 1.0);
    options.temperature = cases[i].value("temperature", 1.0);
    options.top_k = cases[i].value("top_k", 0);
    options.top_p = cases[i].value("top_p", 1.0);
    int64_t fetched = 7;
    at::Tensor actual = of_all_tokens(
        filter(penalize(golden.at("logits").to(test_device()), prefixes, {kEnd}, options), options, fetched));
    actual = actual / actual.sum(1, /*keepdim=*/true);
    const at::Tensor& expected = golden.at("probabilities." + std::to_string(i));
    const auto difference = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); };
    EXPECT_LT(difference(actual.slice(0, 0, 2), expected.slice(0, 0, 2)), 1e-5) << cases[i];
    // The other rows have equal logits, and which of them stays is left to the sorting algorithm.
    EXPECT_LT(difference(std::get<0>(actual.sort()), std::get<0>(expected.sort())), 1e-5) << cases[i];
  }
}

TEST(Distribution, PenalizeLeavesItsArgumentAlone) {
  DecodingOptions options{.min_length = 5, .repetition_penalty = 1, .top_p = 0.9, .top_k = 0, .temperature = 1};
  options.repetition_penalty = 2.0;
  options.min_length = 3;
  const at::Tensor scores = at::tensor({1.0f, -1.0f, 4.0f, 5.0f}).unsqueeze(0);
  const at::Tensor before = scores.clone();
  const at::Tensor after = penalize(scores, {{0, 1}}, {kEnd}, options);
  EXPECT_TRUE(at::equal(scores, before));
  EXPECT_TRUE(at::equal(after.slice(1, 0, 3), at::tensor({0.5f, -2.0f, 4.0f}).unsqueeze(0)));
  EXPECT_EQ(after[0][kEnd].item<float>(), -std::numeric_limits<float>::infinity());
  options.min_length = 2;
  options.repetition_penalty = 1.0;
  EXPECT_TRUE(at::equal(penalize(scores, {{0, 1}}, {kEnd}, options), before));
}

TEST(Distribution, PenalizesEachSequenceByItsOwnLength) {
  DecodingOptions options{.min_length = 5, .repetition_penalty = 1, .top_p = 0.9, .top_k = 0, .temperature = 1};
  options.repetition_penalty = 2.0;
  options.min_length = 3;
  const at::Tensor scores = at::tensor({1.0f, -1.0f, 4.0f, 5.0f}).expand({2, 4}).contiguous();
  const at::Tensor after = penalize(scores, {{1, 1, 2}, {0}}, {1, kEnd}, options);
  const float none = -std::numeric_limits<float>::infinity();
  EXPECT_TRUE(at::equal(after[0], at::tensor({1.0f, -2.0f, 2.0f, 5.0f})));
  EXPECT_TRUE(at::equal(after[1], at::tensor({0.5f, none, 4.0f, none})));
}

// What a device does, here on the CPU, against the CPU's own loops; equal weights are ordered alike.
TEST(Distribution, IsFilteredAlikeByTensorOperations) {
  const at::Tensor flat = at::sin(at::arange(4 * 3000, at::kFloat) * 1.7).reshape({4, 3000});
  const at::Tensor scores = at::cat({flat, flat * 5, (flat * 20).round(), at::zeros({2, 3000})});
  for (const double top_p : {0.05, 0.5, 0.9, 0.999, 1.0}) {
    for (const int64_t top_k : {0, 1, 40, 2999}) {
      SCOPED_TRACE("top_p " + std::to_string(top_p) + ", top_k " + std::to_string(top_k));
      DecodingOptions options{
          .min_length = 0, .repetition_penalty = 1, .top_p = top_p, .top_k = top_k, .temperature = 0.7};
      int64_t all = 0;
      const Choices expected = filter(scores, options, all);
      EXPECT_FALSE(expected.tokens.defined());
      EXPECT_EQ(all, 0);
      options.top_p = 1.0;
      const at::Tensor unordered = filter(scores, options, all).weights;
      for (int64_t fetched : {1, 100, 100000}) {
        const int64_t before = fetched;
        const Choices choices = heaviest(unordered, top_p, fetched);
        EXPECT_TRUE(at::equal(of_all_tokens(choices), expected.weights));
        const auto most = (expected.weights > 0).sum(1).max().item<int64_t>();
        EXPECT_EQ(fetched, most > before ? 2 * most : before);
        for (int64_t s = 0; s < scores.size(0); ++s) {
          for (int64_t step = 0; step < 20; ++step) {
            const Random stream(3, Purpose::kTest, "alike", static_cast<uint64_t>(s));
            EXPECT_EQ(caption::draw(choices, s, stream, step), caption::draw(expected, s, stream, step));
          }
        }
      }
    }
  }
}

TEST(Draw, FollowsTheWeights) {
  const std::vector<float> weights = {0.5f, 0.0f, 1.0f, 2.5f, 1e-9f, 1.0f};
  std::vector<double> counts(weights.size());
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    counts[static_cast<size_t>(
        draw(weights, Random(1, Purpose::kTest, "frequencies", static_cast<uint64_t>(i % 200)), i / 200))]++;
  }
  double chi_square = 0;
  for (size_t i : {0, 2, 3, 5}) {
    const double expected = kDraws * double{weights[i]} / 5.0;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 16.3);  // 3 degrees of freedom, p = 0.001
  EXPECT_EQ(counts[1] + counts[4], 0);
}

TEST(Draw, IsSettledByTheStreamAndTheStep) {
  const std::vector<float> weights(1000, 1.0f);
  const Random stream(5, Purpose::kTest, "sample", 2);
  EXPECT_EQ(draw(weights, stream, 4), draw(weights, stream, 4));
  EXPECT_NE(draw(weights, stream, 4), draw(weights, stream, 5));
  EXPECT_NE(draw(weights, stream, 4), draw(weights, Random(5, Purpose::kTest, "sample", 3), 4));
}

// Rounding errors of another batch size move all weights a little; choices must not depend on that.
TEST(Draw, ChangesRarelyWhenWeightsChangeLittle) {
  const at::Tensor weights = at::softmax(at::sin(at::arange(30000, at::kFloat)) * 3, 0);
  const at::Tensor moved = weights * (1 + 1e-5 * at::cos(at::arange(30000, at::kFloat) * 7));
  int changed = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const Random stream(1, Purpose::kTest, "moved");
    changed += caption::draw({weights.unsqueeze(0), {}, 30000}, 0, stream, i) !=
               caption::draw({moved.unsqueeze(0), {}, 30000}, 0, stream, i);
  }
  EXPECT_LE(changed, 1);
}

TEST(Draw, RefusesNaN) {
  const std::vector<float> weights(10, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THROW(draw(weights, Random(1, Purpose::kTest, "nan"), 0), DataError);
}

}  // namespace
}  // namespace readback::caption
