// Schedulers against diffusers: tools/reference/schedulers.py.
#include "readback/generate/scheduler.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/generate/generator.h"
#include "readback/generate/noise_schedule.h"
#include "tests/source_dir.h"

namespace readback::generate {
namespace {

constexpr double kTolerance = 1e-5;  // of the largest value

const std::filesystem::path kGoldens = tests::source_dir() / "tests/goldens/generate";
const nlohmann::json kSd14 = {{"_class_name", "PNDMScheduler"}, {"beta_schedule", "scaled_linear"},
                              {"beta_start", 0.00085},          {"beta_end", 0.012},
                              {"skip_prk_steps", true},         {"steps_offset", 1}};

void expect_close(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) return;
  const double error = (actual - expected).abs().max().item<double>(), scale = expected.abs().max().item<double>();
  EXPECT_LE(error, kTolerance * scale) << what << ": largest value " << scale;
}

// What stands in the network's place in tools/reference/schedulers.py.
at::Tensor network(const at::Tensor& x, float t) { return 0.8 * x.tanh() + 0.1 * (t / 1000); }

TEST(Scheduler, RunsEqualDiffusers) {
  const nlohmann::json described = read_json(kGoldens / "schedulers.json");
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "schedulers.safetensors");
  const at::Tensor noise = golden.at("noise");
  ASSERT_GT(described["cases"].size(), 160u);
  for (size_t i = 0; i < described["cases"].size(); ++i) {
    const nlohmann::json& test = described["cases"][i];
    SCOPED_TRACE(test.dump());
    const auto scheduler = make_scheduler(test["scheduler"], test["config"], test["steps"]);
    const auto expected = [&](const char* key) { return golden.at(fmt::format("{}.{}", i, key)); };
    expect_close(at::tensor(scheduler->timesteps()).to(at::kDouble), expected("timesteps"), "timesteps");
    if (!scheduler->sigmas().empty()) expect_close(at::tensor(scheduler->sigmas()), expected("sigmas"), "sigmas");
    EXPECT_NEAR(scheduler->init_noise_sigma() / expected("init_noise_sigma").item<double>(), 1.0, kTolerance);

    at::Tensor sample = noise[0] * scheduler->init_noise_sigma();
    std::vector<at::Tensor> samples;
    int64_t draws = 0;
    for (int64_t index = 0; index < scheduler->size(); ++index) {
      if (index % 3 == 0) samples.push_back(sample);
      const float t = scheduler->timesteps()[static_cast<size_t>(index)];
      const at::Tensor output = network(scheduler->scale_model_input(sample, index), t);
      sample = scheduler->step(output, index, sample, [&] { return noise[++draws]; });
    }
    samples.push_back(sample);
    const at::Tensor wanted = expected("samples");
    ASSERT_EQ(wanted.size(0), static_cast<int64_t>(samples.size()));
    for (size_t s = 0; s < samples.size(); ++s)
      expect_close(samples[s][0], wanted[static_cast<int64_t>(s)], fmt::format("sample {}", s));
    if (testing::Test::HasFailure()) break;
  }
}

TEST(NoiseSchedule, ForwardProcessEqualsDiffusers) {
  const nlohmann::json described = read_json(kGoldens / "schedulers.json");
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "schedulers.safetensors");
  const at::Tensor x0 = golden.at("x0"), t = at::tensor({0, 500, 999}, at::kLong);
  const at::Tensor noise = golden.at("noise").slice(0, 0, 3).select(1, 0).slice(1, 0, 2).slice(2, 0, 2).slice(3, 0, 2);
  for (const std::string name : {"scaled", "zero_snr"}) {
    const NoiseSchedule schedule = NoiseSchedule::from_config(described[name]);
    expect_close(schedule.alphas_cumprod, golden.at(name + ".alphas_cumprod"), name + " alphas_cumprod");
    expect_close(schedule.add_noise(x0, noise, t), golden.at(name + ".noisy"), name + " add_noise");
    expect_close(schedule.velocity(x0, noise, t), golden.at(name + ".velocity"), name + " velocity");
  }
  EXPECT_EQ(NoiseSchedule::from_config(described["zero_snr"]).alphas_cumprod[-1].item<float>(), 0.0f);
}

// LCMScheduler is the one class whose defaults are Stable Diffusion's.
TEST(NoiseSchedule, DefaultsAreThoseOfTheClass) {
  const auto last = [](const nlohmann::json& config) {
    return NoiseSchedule::from_config(config).alphas_cumprod[-1].item<float>();
  };
  const float stable_diffusion = last(kSd14);
  EXPECT_EQ(last({{"_class_name", "LCMScheduler"}}), stable_diffusion);
  EXPECT_NE(last({{"_class_name", "DDIMScheduler"}}), stable_diffusion);
  EXPECT_EQ(make_scheduler("lcm", nlohmann::json::object(), 4)->schedule().alphas_cumprod[-1].item<float>(),
            stable_diffusion);
}

TEST(NoiseSchedule, TargetFollowsPredictionType) {
  const at::Tensor x0 = at::ones({1, 2}), noise = at::full({1, 2}, 3.0), t = at::zeros({1}, at::kLong);
  nlohmann::json config = kSd14;
  EXPECT_TRUE(NoiseSchedule::from_config(config).target(x0, noise, t).equal(noise));
  config["prediction_type"] = "sample";
  EXPECT_TRUE(NoiseSchedule::from_config(config).target(x0, noise, t).equal(x0));
  config["prediction_type"] = "v_prediction";
  const NoiseSchedule schedule = NoiseSchedule::from_config(config);
  EXPECT_TRUE(schedule.target(x0, noise, t).equal(schedule.velocity(x0, noise, t)));
}

TEST(Scheduler, OwnClassIsTheDefault) {
  EXPECT_EQ(scheduler_name(kSd14), "pndm");
  EXPECT_EQ(scheduler_name({{"_class_name", "ASchedulerOfTheFuture"}}), "");
  EXPECT_THROW(make_scheduler("", {{"_class_name", "ASchedulerOfTheFuture"}}, 5), CheckpointError);
  EXPECT_EQ(make_scheduler("", kSd14, 5)->size(), 6);
  EXPECT_EQ(make_scheduler("ddim", kSd14, 5)->size(), 5);
}

TEST(Scheduler, RefusesWhatWouldChangeTheResult) {
  const auto refuses = [](const char* name, const char* key, const nlohmann::json& value) {
    nlohmann::json config = kSd14;
    config[key] = value;
    EXPECT_THROW(make_scheduler(name, config, 5), CheckpointError) << name << " " << key << " " << value;
  };
  refuses("pndm", "an_option_of_the_future", true);
  refuses("pndm", "beta_schedule", "sigmoid");
  refuses("pndm", "timestep_spacing", "log");
  refuses("pndm", "prediction_type", "sample");
  refuses("pndm", "trained_betas", "none");
  refuses("ddim", "prediction_type", "flow_prediction");
  refuses("ddim", "thresholding", true);
  refuses("euler", "use_beta_sigmas", true);
  refuses("euler", "interpolation_type", "log_linear");
  refuses("euler", "final_sigmas_type", "one");
  refuses("euler-a", "prediction_type", "sample");
  refuses("dpm++2m", "solver_order", 3);
  refuses("dpm++2m", "algorithm_type", "sde-dpmsolver");
  refuses("dpm++2m", "solver_type", "heun");
  refuses("dpm++2m", "variance_type", "learned");
  refuses("dpm++2m", "use_flow_sigmas", true);
  refuses("unipc", "solver_order", 4);
  refuses("unipc", "solver_type", "bh3");
  refuses("unipc", "solver_p", {{"_class_name", "DDIMScheduler"}});
  refuses("unipc", "predict_x0", false);         // ends at a noise of zero
  refuses("unipc", "lower_order_final", false);  // likewise
  refuses("unipc", "use_exponential_sigmas", true);
  refuses("ddpm", "variance_type", "learned_range");
  refuses("ddpm", "variance_type", "fixed_large_log");
  refuses("ddpm", "thresholding", true);
  refuses("lcm", "thresholding", true);
  refuses("lcm", "original_inference_steps", 1001);
  refuses("lcm", "original_inference_steps", 0);
}

TEST(Scheduler, RefusesWhatIsNoConfiguration) {
  for (const std::string& name : scheduler_names()) {
    EXPECT_THROW(make_scheduler(name, nlohmann::json::array(), 5), CheckpointError) << name;
    EXPECT_THROW(make_scheduler(name, "text", 5), CheckpointError) << name;
  }
}

TEST(Scheduler, RefusesWrongArguments) {
  EXPECT_THROW(make_scheduler("of-the-future", kSd14, 5), UsageError);
  EXPECT_THROW(make_scheduler("ddim", kSd14, 0), UsageError);
  EXPECT_THROW(make_scheduler("ddim", kSd14, 1001), UsageError);
  nlohmann::json config = kSd14;
  config["skip_prk_steps"] = false;
  EXPECT_THROW(make_scheduler("pndm", config, 3), UsageError);
  EXPECT_EQ(make_scheduler("lcm", kSd14, 50)->size(), 50);
  EXPECT_THROW(make_scheduler("lcm", kSd14, 51), UsageError);
}

TEST(Scheduler, HelpAndErrorsNameThemAll) {
  const std::string all = fmt::format("{}", fmt::join(scheduler_names(), ", "));
  GenerationOptions options;
  std::string help;
  for_each_option(options, [&](const auto& option, const auto&, const std::string& path, const std::string&) {
    if (path == "scheduler") help = option.help;
  });
  EXPECT_EQ(help, all);
  try {
    make_scheduler("of-the-future", kSd14, 5);
    FAIL() << "it is no scheduler";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(all), std::string::npos) << error.what();
  }
}

TEST(Scheduler, EveryNumberOfStepsStaysInsideTheSchedule) {
  for (const std::string& name : scheduler_names()) {
    for (const char* spacing : {"linspace", "leading", "trailing"}) {
      nlohmann::json config = kSd14;
      config["timestep_spacing"] = spacing;
      config["steps_offset"] = 0;
      const int64_t most = name == "lcm" ? 50 : 1000;
      for (int64_t steps = 1; steps <= most; steps += steps < 70 ? 1 : 31) {
        const auto scheduler = make_scheduler(name, config, steps);
        const int64_t repeated = name == "pndm" && steps > 1 ? 1 : 0;
        ASSERT_EQ(scheduler->size(), steps + repeated) << name << " " << spacing;
        for (const float t : scheduler->timesteps()) ASSERT_TRUE(t >= 0 && t < 1000) << name << " " << spacing;
      }
    }
  }
}

TEST(Scheduler, ReadsInfinitiesAsDiffusersWritesThem) {
  const auto path = std::filesystem::temp_directory_path() / "readback_scheduler_config.json";
  write_file(path, R"({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity})");
  EXPECT_EQ(make_scheduler("", read_scheduler_config(path), 4)->size(), 4);
  write_file(path, "[1, 2");
  EXPECT_THROW(read_scheduler_config(path), CheckpointError);
  std::filesystem::remove(path);
  EXPECT_THROW(read_scheduler_config(path), CheckpointError);
}

// diffusers loads the class that model_index.json names, whatever the scheduler's own file says.
TEST(Scheduler, TheClassIsThatOfTheModelIndex) {
  const auto folder = std::filesystem::temp_directory_path() / "readback_scheduler_class";
  const auto path = folder / "scheduler/scheduler_config.json", index = folder / "model_index.json";
  write_file(path, R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true, "beta_schedule": "scaled_linear"})");
  const auto name = [&] { return scheduler_name(read_scheduler_config(path)); };
  EXPECT_EQ(name(), "pndm");
  write_file(index, R"({"scheduler": ["diffusers", "EulerDiscreteScheduler"]})");
  EXPECT_EQ(name(), "euler");
  EXPECT_EQ(make_scheduler("", read_scheduler_config(path), 4)->sigmas().size(), 5u);
  write_file(index, R"({"scheduler": [null, null]})");
  EXPECT_EQ(name(), "pndm");
  write_file(path, R"({"beta_schedule": "scaled_linear"})");
  EXPECT_EQ(name(), "");
  write_file(index, R"({"scheduler": ["diffusers", "DDIMScheduler"]})");
  EXPECT_EQ(name(), "ddim");
  write_file(index, "{");
  EXPECT_THROW(name(), CheckpointError);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace readback::generate
