// Stable Diffusion's relatives against diffusers: tools/reference/stable_diffusion_family.py.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "../device.h"
#include "../unwrap.h"
#include "pipeline_runs.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/generate/open.h"
#include "readback/generate/stable_diffusion.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;

void change(const fs::path& file, const std::string& key, const nlohmann::json& value) {
  nlohmann::json json = read_json(file);
  json[key] = value;
  write_file(file, json.dump());
}

// Golden repositories, whole or with a part of their configuration changed.
class Family : public testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);  // the models are tiny
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / fmt::format("readback_family_{}_{}", name, getpid());
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path copy(const std::string& repository) {
    const fs::path path = folder_ / std::to_string(copies_++);
    fs::create_directories(folder_);
    fs::copy(kGoldens.parent_path() / repository, path, fs::copy_options::recursive);
    return path;
  }
  fs::path with_scheduler(const std::string& repository, const nlohmann::json& config) {
    const fs::path path = copy(repository);
    write_file(path / "scheduler/scheduler_config.json", config.dump());
    change(path / "model_index.json", "scheduler", {"diffusers", config["_class_name"]});
    return path;
  }
  fs::path repository_of(const nlohmann::json& run) {
    if (run.contains("scheduler_config")) return with_scheduler(run["repository"], run["scheduler_config"]);
    if (!run.contains("force_zeros_for_empty_prompt")) return kGoldens.parent_path() / std::string(run["repository"]);
    const fs::path path = copy(run["repository"]);
    change(path / "model_index.json", "force_zeros_for_empty_prompt", run["force_zeros_for_empty_prompt"]);
    return path;
  }
  static StableDiffusion load(const fs::path& path, at::ScalarType dtype = at::kFloat) {
    return StableDiffusion(checkpoint::Repository(path.string()), test_device(), dtype);
  }
  std::string error(const fs::path& path) const {
    try {
      load(path);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "";
  }

  const fs::path lcm_ = kGoldens / "pipeline-lcm", xl_ = kGoldens / "pipeline-xl";
  const nlohmann::json described_ = read_json(kGoldens / "family_runs.json");
  const checkpoint::TensorMap golden_ = checkpoint::load_safetensors(kGoldens / "family_runs.safetensors");
  fs::path folder_;
  int copies_ = 0;
};

// SD-Turbo in 1, 2 and 4 steps, latent consistency models, LCM-LoRA, Stable Diffusion XL and SDXL-Turbo.
TEST_F(Family, RunsEqualDiffusers) {
  const std::vector<Request> requests = requests_for(described_["prompts"]);
  ASSERT_GE(described_["runs"].size(), 17u);
  for (size_t i = 0; i < described_["runs"].size(); ++i) {
    const nlohmann::json& run = described_["runs"][i];
    SCOPED_TRACE(run.dump());
    StableDiffusion generator = load(repository_of(run));
    expect_pictures(values_of(generator.generate(requests, options_of(run))), golden_.at(fmt::format("{}.latents", i)),
                    golden_.at(fmt::format("{}.images", i)));
  }
}

// Run 3 is a latent consistency model's with its pipeline's defaults, run 0 SD-Turbo's with its makers'.
TEST_F(Family, DefaultsAreThoseOfTheModel) {
  const std::vector<Request> requests = requests_for(described_["prompts"]);
  for (const size_t i : {0u, 3u}) {
    SCOPED_TRACE(i);
    StableDiffusion generator = load(repository_of(described_["runs"][i]));
    GenerationOptions open;
    open.seed = 7;
    expect_pictures(values_of(generator.generate(requests, open)), golden_.at(fmt::format("{}.latents", i)),
                    golden_.at(fmt::format("{}.images", i)));
  }
  const auto defaults = [](const StableDiffusion& generator) {
    const GenerationOptions options = generator.defaults();
    return std::pair(*options.num_inference_steps, *options.guidance_scale);
  };
  const StableDiffusion turbo = load(repository_of(described_["runs"][0]));
  EXPECT_EQ(defaults(turbo), std::pair(int64_t{1}, 0.0));
  EXPECT_NE(turbo.defaults_rule().find("trailing"), std::string::npos) << turbo.defaults_rule();
  EXPECT_EQ(defaults(load(kGoldens / "pipeline")), std::pair(int64_t{50}, 7.5));
  EXPECT_NE(load(kGoldens / "pipeline").defaults_rule().find("StableDiffusionPipeline"), std::string::npos);
  EXPECT_EQ(defaults(load(xl_)), std::pair(int64_t{50}, 5.0));
}

TEST(StepDefaults, AreKnownByNameOrByASchedule) {
  const StableDiffusionKind &base = kStableDiffusionKinds[0], &xl = kStableDiffusionKinds[2];
  const nlohmann::json plain = {{"_class_name", "PNDMScheduler"}};
  EXPECT_EQ(step_defaults(base, "stabilityai/sd-turbo", plain).num_inference_steps, 1);
  EXPECT_NE(step_defaults(xl, "stabilityai/sdxl-turbo", plain).rule.find("stabilityai/sdxl-turbo"), std::string::npos);
  EXPECT_EQ(step_defaults(base, "me/sd-turbo", plain).num_inference_steps, 50);
  const auto steps_with = [&](const nlohmann::json& changes) {
    nlohmann::json config = {{"_class_name", "EulerAncestralDiscreteScheduler"}, {"timestep_spacing", "trailing"}};
    config.update(changes);
    return step_defaults(xl, "somewhere", config).num_inference_steps;
  };
  EXPECT_EQ(steps_with(nlohmann::json::object()), 1);
  EXPECT_EQ(steps_with({{"_class_name", "EulerDiscreteScheduler"}}), 1);
  EXPECT_EQ(steps_with({{"_class_name", "DDIMScheduler"}}), 50);
  EXPECT_EQ(steps_with({{"timestep_spacing", "leading"}}), 50);
  EXPECT_EQ(steps_with({{"rescale_betas_zero_snr", true}}), 50);
}

TEST_F(Family, OpensByTheClassOfTheIndex) {
  const Machine machine{.device = test_device(), .dtype = at::kFloat};
  EXPECT_NE(open(lcm_.string(), machine)->description().find("Latent consistency"), std::string::npos);
  EXPECT_NE(open(xl_.string(), machine)->description().find("Stable Diffusion XL"), std::string::npos);
}

// As SD-Turbo is asked: without guidance nothing is compared with a negative prompt, which would do nothing.
TEST_F(Family, ANegativePromptWithoutGuidanceIsRefused) {
  StableDiffusion generator = load(xl_);
  GenerationOptions options;
  options.num_inference_steps = 1;
  options.guidance_scale = 0;
  options.negative_prompt = "a fox";
  try {
    generator.generate(requests_for({"a cat"}), options);
    FAIL() << "drew";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("take a guidance_scale above 1"), std::string::npos) << error.what();
  }
}

// A latent consistency model hears of guidance through its UNet, and of nothing that it should steer away from.
TEST_F(Family, LatentConsistencyModelsAreToldTheirGuidance) {
  StableDiffusion generator = load(lcm_);
  const std::vector<Request> requests = requests_for({"a cat"});
  const auto latents = [&](double guidance) {
    GenerationOptions options;
    options.guidance_scale = guidance;
    return to_tensor(values_of(generator.generate(requests, options))[0].latents);
  };
  EXPECT_GT(relative_error(latents(3), latents(8.5)), 10 * kTolerance);
  GenerationOptions negative;
  negative.negative_prompt = "a fox";
  EXPECT_THROW(generator.generate(requests, negative), UsageError);
  const image::Image picture = values_of(generator.generate(requests, {}))[0].image;
  const std::string prompt = "a cat";
  EXPECT_TRUE(generator.denoising_errors(std::vector{&picture}, {&prompt, 1})[0].ok());
}

// The prompt "" is not the negative prompt that is read as zeros: guidance leads from one to the other.
TEST_F(Family, AnEmptyPromptIsReadBesideZeros) {
  StableDiffusion generator = load(xl_);
  GenerationOptions options;
  options.num_inference_steps = 2;
  const auto latents = [&](double guidance) {
    options.guidance_scale = guidance;
    return to_tensor(values_of(generator.generate(requests_for({""}), options)).front().latents);
  };
  EXPECT_GT(relative_error(latents(5), latents(2)), 10 * kTolerance);
  const image::Image picture = values_of(generator.generate(requests_for({"a cat"}), options))[0].image;
  const std::string prompts[] = {"a cat", "a red fox"};
  const auto errors = generator.denoising_errors(std::vector{&picture, &picture}, prompts);
  EXPECT_NE(errors[0].value(), errors[1].value());
}

// In float16 an XL's VAE decodes in float32 unless its configuration says that it need not.
TEST_F(Family, TheVaeIsUpcastWhereItsConfigurationSaysSo) {
  const std::vector<Request> requests = requests_for({"a cat", "a fox"});
  GenerationOptions options;
  options.num_inference_steps = 1;
  const auto finite = [&](const std::string& repository, bool upcast) {
    const fs::path path = copy(repository);
    change(path / "vae/config.json", "force_upcast", upcast);
    // Beyond float16's range at its last layer.
    const fs::path weights = path / "vae/diffusion_pytorch_model.safetensors";
    checkpoint::TensorMap tensors = checkpoint::load_safetensors(weights);
    tensors["decoder.conv_in.weight"] = tensors.at("decoder.conv_in.weight").to(at::kFloat) * 1e6;
    checkpoint::save_safetensors(tensors, path / "vae/changed.safetensors");
    fs::rename(path / "vae/changed.safetensors", weights);
    return load(path, at::kHalf).generate(requests, options)[0].ok();
  };
  EXPECT_TRUE(finite("generate/pipeline-xl", true));
  EXPECT_FALSE(finite("generate/pipeline-xl", false));
  EXPECT_FALSE(finite("generate/pipeline", true));  // StableDiffusionPipeline does not look at it
}

TEST_F(Family, PartsThatDoNotFitAreNamed) {
  const auto with = [&](const fs::path& from, const char* file, const char* key, const nlohmann::json& value) {
    const fs::path path = copy(fs::relative(from, kGoldens.parent_path()).string());
    change(path / file, key, value);
    return error(path);
  };
  EXPECT_NE(with(xl_, "text_encoder_2/config.json", "hidden_size", 20).find("cross_attention_dim"), std::string::npos);
  EXPECT_NE(with(xl_, "text_encoder_2/config.json", "projection_dim", 8).find("projection_class_embeddings_input_dim"),
            std::string::npos);
  EXPECT_NE(with(xl_, "model_index.json", "text_encoder_2", {"transformers", "CLIPTextModel"})
                .find("CLIPTextModelWithProjection"),
            std::string::npos);
  EXPECT_NE(with(kGoldens / "pipeline", "model_index.json", "_class_name", "LatentConsistencyModelPipeline")
                .find("time_cond_proj_dim"),
            std::string::npos);
  EXPECT_NE(with(xl_, "model_index.json", "_class_name", "StableDiffusionPipeline").find("cross_attention_dim"),
            std::string::npos);
  EXPECT_NE(with(xl_, "model_index.json", "_class_name", "StableDiffusion3Pipeline").find("StableDiffusionXLPipeline"),
            std::string::npos);
}

}  // namespace
}  // namespace readback::generate
