#include "readback/generate/sampler.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "readback/base/error.h"

namespace readback::generate {
namespace {

constexpr int64_t kSteps = 7;

nlohmann::json config_of(const std::string& prediction) {
  return {{"_class_name", "DDIMScheduler"}, {"beta_schedule", "scaled_linear"},
          {"beta_start", 0.00085},          {"beta_end", 0.012},
          {"clip_sample", false},           {"steps_offset", 1},
          {"prediction_type", prediction}};
}

at::Tensor noise_of(int64_t rows) {
  Random random(3, Purpose::kTest, "initial");
  return normal(random, {rows, 4, 3, 2});
}

// Knows the clean latents and gives exactly what a perfect network would.
class Oracle final : public Denoiser {
 public:
  Oracle(const std::string& scheduler, const std::string& prediction)
      : prediction_(prediction),
        schedule_(NoiseSchedule::from_config(config_of(prediction))),
        scheduler_(make_scheduler(scheduler, config_of(prediction), kSteps)) {
    Random random(5, Purpose::kTest, "clean");
    clean = normal(random, {2, 4, 3, 2});
  }

  at::Tensor predict(const at::Tensor& sample, const at::Tensor& timesteps) const override {
    const float t = timesteps[0].item<float>();
    const auto& all = scheduler_->timesteps();
    const auto place = static_cast<size_t>(std::find(all.begin(), all.end(), t) - all.begin());
    const double sigma = scheduler_->sigmas().empty() ? double{schedule_.sigmas()[static_cast<size_t>(t)]}
                                                      : double{scheduler_->sigmas().at(place)};
    const double signal = 1 / std::sqrt(sigma * sigma + 1), spread = sigma * signal;
    const at::Tensor epsilon = (sample - signal * clean) / spread;
    if (prediction_ == "epsilon") return epsilon;
    return prediction_ == "sample" ? clean : signal * epsilon - spread * clean;
  }
  c10::ScalarType dtype() const override { return at::kFloat; }

  at::Tensor clean;

 private:
  std::string prediction_;
  NoiseSchedule schedule_;
  std::unique_ptr<Scheduler> scheduler_;
};

// The context's row number and the sample, so that mixed-up rows show.
class Rows final : public Denoiser {
 public:
  at::Tensor predict(const at::Tensor& sample, const at::Tensor& timesteps) const override {
    EXPECT_EQ(sample.size(0), timesteps.size(0));
    return 0.1 * sample + at::arange(sample.size(0), at::kFloat).view({-1, 1, 1, 1});
  }
  c10::ScalarType dtype() const override { return at::kFloat; }
};

// What a network of one context row a sample would have to say for the same result.
class Steered final : public Denoiser {
 public:
  explicit Steered(double scale) : scale_(scale) {}
  at::Tensor predict(const at::Tensor& sample, const at::Tensor&) const override {
    const int64_t rows = sample.size(0);
    const at::Tensor both = Rows().predict(at::cat({sample, sample}), at::zeros({2 * rows}));
    const at::Tensor away = both.narrow(0, 0, rows), wanted = both.narrow(0, rows, rows);
    return away + scale_ * (wanted - away);
  }
  c10::ScalarType dtype() const override { return at::kFloat; }

 private:
  double scale_;
};

std::vector<Random> streams(int64_t first, int64_t count) {
  std::vector<Random> all;
  for (int64_t i = first; i < first + count; ++i) all.emplace_back(1, Purpose::kTest, "", static_cast<uint64_t>(i));
  return all;
}

TEST(Sampler, EveryStepIsReportedAndAPerfectNetworksEstimateIsTheTruth) {
  for (const std::string& name : scheduler_names()) {
    for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
      if ((name == "pndm" || name == "euler-a") && std::string(prediction) == "sample") continue;  // which they cannot
      SCOPED_TRACE(name + " " + prediction);
      const Oracle oracle(name, prediction);
      const Sampler sampler(name, config_of(prediction), kSteps);
      std::vector<int64_t> indices;
      at::Tensor last;
      SamplerOptions options{.streams = streams(0, 2)};
      options.on_step = [&](const SamplerStep& step) {
        indices.push_back(step.index);
        EXPECT_EQ(step.count, make_scheduler(name, config_of(prediction), kSteps)->size());
        EXPECT_LT((step.estimate() - oracle.clean).abs().max().item<double>(), 2e-3) << step.index;
        last = step.latents;
      };
      const at::Tensor latents = sampler.sample(oracle, noise_of(2), options);
      ASSERT_FALSE(indices.empty());
      for (size_t i = 0; i < indices.size(); ++i) EXPECT_EQ(indices[i], static_cast<int64_t>(i));
      EXPECT_EQ(static_cast<int64_t>(indices.size()), make_scheduler(name, config_of(prediction), kSteps)->size());
      EXPECT_TRUE(at::equal(latents, last));
    }
  }
}

TEST(Sampler, ReportingChangesNothing) {
  const Sampler sampler("euler-a", config_of("epsilon"), kSteps);
  const at::Tensor silent = sampler.sample(Rows(), noise_of(3), {.streams = streams(0, 3)});
  const at::Tensor reported = sampler.sample(
      Rows(), noise_of(3), {.streams = streams(0, 3), .on_step = [](const SamplerStep& step) { step.estimate(); }});
  EXPECT_TRUE(at::equal(silent, reported));
}

TEST(Sampler, EndsWithWhatTheReportThrows) {
  const Sampler sampler("ddim", config_of("epsilon"), kSteps);
  int64_t reports = 0;
  SamplerOptions options;
  options.on_step = [&](const SamplerStep& step) {
    ++reports;
    if (step.index == 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW(sampler.sample(Rows(), noise_of(1), options), std::runtime_error);
  EXPECT_EQ(reports, 3);
}

TEST(Sampler, GuidanceSteersFromTheFirstRowsToTheLast) {
  for (const std::string& name : scheduler_names()) {
    SCOPED_TRACE(name);
    const Sampler sampler(name, config_of("epsilon"), kSteps);
    const at::Tensor guided = sampler.sample(Rows(), noise_of(2), {.guidance = 3.0, .streams = streams(0, 2)});
    const at::Tensor expected = sampler.sample(Steered(3.0), noise_of(2), {.streams = streams(0, 2)});
    EXPECT_TRUE(at::allclose(guided, expected, 1e-4, 1e-4));
    EXPECT_FALSE(at::allclose(guided, sampler.sample(Steered(1.0), noise_of(2), {.streams = streams(0, 2)}), 1e-2));
  }
}

TEST(Sampler, AddedNoiseIsTheRowsOwn) {
  const Sampler sampler("euler-a", config_of("v_prediction"), kSteps);
  const at::Tensor noise = noise_of(2), both = sampler.sample(Steered(0), noise, {.streams = streams(0, 2)});
  const at::Tensor first = sampler.sample(Steered(0), noise.narrow(0, 0, 1), {.streams = streams(0, 1)});
  const at::Tensor other = sampler.sample(Steered(0), noise.narrow(0, 0, 1), {.streams = streams(1, 1)});
  EXPECT_TRUE(at::allclose(both.narrow(0, 0, 1), first, 1e-5, 1e-5));
  EXPECT_FALSE(at::allclose(both.narrow(0, 0, 1), other, 1e-2, 1e-2));
}

TEST(Sampler, RefusesWrongOptionsBeforeItSamples) {
  EXPECT_THROW(Sampler("of-the-future", config_of("epsilon"), 5), UsageError);
  EXPECT_THROW(Sampler("ddim", config_of("epsilon"), 0), UsageError);
  EXPECT_THROW(Sampler("ddim", config_of("flow"), 5), CheckpointError);
}

}  // namespace
}  // namespace readback::generate
