// Karlo against diffusers' UnCLIPPipeline: tools/reference/karlo.py.
#include "readback/generate/karlo.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <map>
#include <mutex>

#include "../device.h"
#include "../unwrap.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/generate/open.h"
#include "readback/generate/sampler.h"
#include "readback/generate/schedulers/unclip.h"
#include "readback/image/preprocess.h"
#include "tests/source_dir.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;

// Of the largest value. diffusers in float32 is up to 3e-6 from itself in float64.
constexpr double kTolerance = 2e-5, kPictureTolerance = 5e-5;

const fs::path kGoldens = tests::source_dir() / "tests/goldens/generate";

checkpoint::Repository repository() { return checkpoint::Repository((kGoldens / "karlo").string()); }

Karlo& pipeline() {
  static Karlo loaded = [] {
    at::set_num_threads(1);  // the models are tiny
    return Karlo(repository(), test_device(), at::kFloat);
  }();
  return loaded;
}

GenerationOptions options_of(const nlohmann::json& run) {
  GenerationOptions options;
  const auto read = [&](const char* key, auto& option) {
    if (run.contains(key)) option = run[key].get<typename std::decay_t<decltype(option)>::value_type>();
  };
  read("prior_num_inference_steps", options.prior_num_inference_steps);
  read("decoder_num_inference_steps", options.num_inference_steps);
  read("super_res_num_inference_steps", options.super_res_num_inference_steps);
  read("prior_guidance_scale", options.prior_guidance_scale);
  read("decoder_guidance_scale", options.guidance_scale);
  options.seed = 7;
  return options;
}

std::vector<Request> requests_for(const std::vector<std::string>& prompts) {
  std::vector<Request> requests;
  for (size_t i = 0; i < prompts.size(); ++i)
    requests.push_back({prompts[i], fmt::format("sample {}", i), static_cast<int64_t>(i), {}});
  return requests;
}

GenerationOptions quick() {
  GenerationOptions options;
  options.prior_num_inference_steps = 3;
  options.num_inference_steps = 4;
  options.super_res_num_inference_steps = 3;
  return options;
}

at::Tensor pixels_of(const Picture& picture) {
  return at::tensor(picture.image.pixels).view({picture.image.height, picture.image.width, 3}).to(at::kFloat);
}

// What a stage gives, and the pictures as they are drawn.
struct Stages {
  at::Tensor embeds, small, large;
};

Stages stages_of(std::span<const Request> requests, const GenerationOptions& options, at::ScalarType dtype) {
  c10::NoGradGuard no_grad;
  const checkpoint::Repository source = repository();
  const GenerationOptions resolved = resolve(options, pipeline());
  const Context context;
  const KarloCall call{requests, resolved, context};
  const KarloTexts texts = KarloTextEncoder(source, test_device(), dtype).encode(requests);
  Stages stages;
  stages.embeds = KarloPrior(source, test_device(), dtype).image_embeds(call, texts);
  stages.small = KarloDecoder(source, test_device(), dtype).draw(call, texts, stages.embeds);
  stages.large = KarloSuperResolution(source, test_device(), dtype).enlarge(call, stages.small);
  return stages;
}

TEST(Karlo, RunsEqualDiffusers) {
  const nlohmann::json described = read_json(kGoldens / "karlo_runs.json");
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "karlo_runs.safetensors");
  const std::vector<Request> requests = requests_for(described["prompts"]);
  ASSERT_GE(described["runs"].size(), 5u);
  for (size_t i = 0; i < described["runs"].size(); ++i) {
    const nlohmann::json& run = described["runs"][i];
    SCOPED_TRACE(run.dump());
    const auto expected = [&](const char* key) { return golden.at(fmt::format("{}.{}", i, key)); };
    const Stages stages = stages_of(requests, options_of(run), at::kFloat);
    EXPECT_LT(relative_error(stages.embeds, expected("embeds")), kTolerance);
    const at::Tensor guess = at::_upsample_bicubic2d_aa(stages.small, {20, 20}, false);
    EXPECT_LT(relative_error(guess, expected("upscaled")), kTolerance);
    EXPECT_LT(relative_error(stages.large.clamp(-1, 1), expected("images")), kPictureTolerance);

    const std::vector<Picture> pictures = values_of(pipeline().generate(requests, options_of(run)));
    ASSERT_EQ(pictures.size(), requests.size());
    for (size_t p = 0; p < pictures.size(); ++p) {
      const image::Image wanted = image::from_signed_unit(expected("images")[static_cast<int64_t>(p)]);
      ASSERT_EQ(pictures[p].image.width, 20);
      ASSERT_EQ(pictures[p].image.height, 20);
      for (size_t k = 0; k < wanted.pixels.size(); ++k) EXPECT_NEAR(pictures[p].image.pixels[k], wanted.pixels[k], 1);
      EXPECT_EQ(pictures[p].seed, derive_seed(7, Purpose::kPictureSeed, requests[p].sample, p));
    }
  }
}

TEST(UnclipScheduler, RunsEqualDiffusers) {
  const nlohmann::json described = read_json(kGoldens / "karlo_runs.json");
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "karlo_runs.safetensors");
  ASSERT_GE(described["schedules"].size(), 20u);
  for (size_t i = 0; i < described["schedules"].size(); ++i) {
    const nlohmann::json& test = described["schedules"][i];
    SCOPED_TRACE(test.dump());
    const auto expected = [&](const char* key) { return golden.at(fmt::format("schedule.{}.{}", i, key)); };
    const UnclipSchedule schedule = UnclipSchedule::read({test["config"], "scheduler_config.json"});
    UnclipScheduler scheduler(schedule, test["steps"]);
    EXPECT_TRUE(at::tensor(scheduler.timesteps()).to(at::kLong).equal(expected("timesteps")));
    Random random(7, Purpose::kTest);
    at::Tensor sample = normal(random, {1, 2, 3, 4});
    const at::Tensor samples = expected("samples");
    ASSERT_EQ(samples.size(0), scheduler.size());
    for (int64_t index = 0; index < scheduler.size(); ++index) {
      at::Tensor output = 0.8 * sample.tanh() + 0.1 * (scheduler.timesteps()[static_cast<size_t>(index)] / 1000);
      if (schedule.learned_range) output = at::cat({output, (3 * sample).sin()}, 1);
      sample = scheduler.step(output, index, sample, [&] { return normal(random, {1, 2, 3, 4}); });
      ASSERT_LT(relative_error(sample[0], samples[index]), kTolerance) << index;
    }
  }
}

TEST(UnclipScheduler, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const nlohmann::json& config, const std::string& what) {
    try {
      UnclipSchedule::read({config, "scheduler_config.json"});
      ADD_FAILURE() << config;
    } catch (const CheckpointError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  };
  refuses({{"variance_type", "fixed_large"}}, "variance_type");
  refuses({{"prediction_type", "v_prediction"}}, "prediction_type");
  refuses({{"beta_schedule", "linear"}}, "beta_schedule");
  refuses({{"clip_sample_range", -1}}, "clip_sample_range");
  refuses({{"num_train_timesteps", 1}}, "num_train_timesteps");
  refuses({{"thresholding", true}}, "thresholding");
  EXPECT_THROW(UnclipScheduler({}, 1), UsageError);
  EXPECT_THROW(UnclipScheduler({}, 1001), UsageError);
}

TEST(Karlo, PictureDoesNotDependOnItsBatch) {
  const std::vector<Request> requests = requests_for({"a red fox", "a cat", "fox", "a red fox", "?", ""});
  const std::vector<Picture> together = values_of(pipeline().generate(requests, quick()));
  const std::vector<Request> backwards(requests.rbegin(), requests.rend());
  const std::vector<Picture> reversed = values_of(pipeline().generate(backwards, quick()));
  for (size_t i = 0; i < requests.size(); ++i) {
    const Picture alone = values_of(pipeline().generate({&requests[i], 1}, quick()))[0];
    EXPECT_LE((pixels_of(alone) - pixels_of(together[i])).abs().max().item<double>(), 1);
    EXPECT_LE((pixels_of(reversed[requests.size() - 1 - i]) - pixels_of(together[i])).abs().max().item<double>(), 1);
  }
}

TEST(Karlo, PromptSeedAndCandidateMatter) {
  const auto draw = [](const Request& request, uint64_t seed) {
    GenerationOptions options = quick();
    options.seed = seed;
    return pixels_of(values_of(pipeline().generate({&request, 1}, options))[0]);
  };
  const auto difference = [](const at::Tensor& one, const at::Tensor& other) {
    return (one - other).abs().mean().item<double>();
  };
  const at::Tensor base = draw({"a cat", "s", 0, {}}, 0);
  EXPECT_TRUE(base.equal(draw({"a cat", "s", 0, {}}, 0)));
  EXPECT_GT(difference(draw({"a fox", "s", 0, {}}, 0), base), 0.5);
  EXPECT_GT(difference(draw({"a cat", "t", 0, {}}, 0), base), 10);
  EXPECT_GT(difference(draw({"a cat", "s", 1, {}}, 0), base), 10);
  EXPECT_GT(difference(draw({"a cat", "s", 0, {}}, 1), base), 10);
}

// 16 tokens with begin and end; "x" is one token.
TEST(Karlo, CountsTokensThatDoNotFit) {
  std::string longer;
  for (int i = 0; i < 19; ++i) longer += "x ";
  const std::vector<Picture> pictures = values_of(pipeline().generate(requests_for({"a cat", longer}), quick()));
  EXPECT_EQ(pictures[0].truncated_tokens, 0);
  EXPECT_EQ(pictures[1].truncated_tokens, 5);
  EXPECT_EQ(pipeline().capabilities().max_prompt_tokens, 16);
}

TEST(Karlo, NoRequestsNoPictures) { EXPECT_TRUE(pipeline().generate({}, quick()).empty()); }

TEST(Karlo, RefusesWrongOptions) {
  const std::vector<Request> requests = requests_for({"a cat"});
  const auto refuses = [&](const std::string& what, auto change) {
    GenerationOptions options = quick();
    std::vector<Request> changed = requests;
    change(options, changed[0]);
    try {
      pipeline().generate(changed, options);
      ADD_FAILURE() << what;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  };
  refuses("negative_prompt", [](GenerationOptions& options, Request&) { options.negative_prompt = "a fox"; });
  refuses("height", [](GenerationOptions& options, Request&) { options.height = 64; });
  refuses("width", [](GenerationOptions& options, Request&) { options.width = 24; });
  refuses("scheduler", [](GenerationOptions& options, Request&) { options.scheduler = "ddim"; });
  refuses("latents", [](GenerationOptions& options, Request&) { options.latents_only = true; });
  refuses("latents", [](GenerationOptions&, Request& request) { request.latents = {{1}, {0.5f}}; });
  refuses("num_inference_steps", [](GenerationOptions& options, Request&) { options.num_inference_steps = 1; });
  refuses("num_inference_steps", [](GenerationOptions& options, Request&) { options.num_inference_steps = 1001; });
  refuses("prior_num_inference_steps",
          [](GenerationOptions& options, Request&) { options.prior_num_inference_steps = 1; });
  refuses("super_res_num_inference_steps",
          [](GenerationOptions& options, Request&) { options.super_res_num_inference_steps = 1001; });
}

TEST(Karlo, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(pipeline().generate(requests_for({"a cat"}), quick(), Context(stop.get_token())), Interrupted);
  EXPECT_TRUE(pipeline().generate(requests_for({"a cat"}), quick())[0].ok());  // another call goes on
}

// Every step of the decoder and of super-resolution is told, with a preview of the small picture's size.
TEST(Karlo, TellsItsSteps) {
  struct Steps : Observer {
    void on_step(const StepEvent& event) override {
      const std::lock_guard lock(mutex);
      steps[{event.sample, event.step}] = event.steps;
      previews.push_back(event.preview());
      if (event.step == last) throw Interrupted("enough");
    }
    std::mutex mutex;
    std::map<std::pair<std::string, int64_t>, int64_t> steps;
    std::vector<image::Image> previews;
    int64_t last = 0;
  } observer;
  const auto requests = requests_for({"a cat", "a fox"});
  pipeline().generate(requests, quick(), Context({}, nullptr, &observer));
  EXPECT_EQ(observer.steps.size(), 2u * (4 + 3));
  for (const auto& [step, steps] : observer.steps) EXPECT_EQ(steps, 4 + 3);
  for (const image::Image& preview : observer.previews) {
    EXPECT_EQ(preview.width, 8);
    EXPECT_EQ(preview.height, 8);
  }
  observer.last = 6;
  EXPECT_THROW(pipeline().generate(requests, quick(), Context({}, nullptr, &observer)), Interrupted);
}

TEST(Karlo, AnswersSeveralThreadsAtOnce) {
  ASSERT_TRUE(pipeline().capabilities().concurrent);
  const auto requests = requests_for({"a cat", "a fox"});
  const std::vector<Picture> expected = values_of(pipeline().generate(requests, quick()));
  std::vector<std::future<std::vector<Picture>>> answers;
  for (int i = 0; i < 4; ++i) {
    answers.push_back(
        std::async(std::launch::async, [&] { return values_of(pipeline().generate(requests, quick())); }));
  }
  for (auto& answer : answers) {
    const std::vector<Picture> pictures = answer.get();
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(pictures[i].image, expected[i].image);
  }
}

TEST(Karlo, IsOpenedByItsClass) {
  const auto opened = open((kGoldens / "karlo").string(), {test_device(), at::kFloat});
  const GenerationOptions defaults = opened->defaults();
  EXPECT_EQ(defaults.num_inference_steps, 25);
  EXPECT_EQ(defaults.prior_num_inference_steps, 25);
  EXPECT_EQ(defaults.super_res_num_inference_steps, 7);
  EXPECT_EQ(defaults.guidance_scale, 8.0);
  EXPECT_EQ(defaults.prior_guidance_scale, 4.0);
  EXPECT_EQ(defaults.width, 20);
  EXPECT_NE(opened->description().find("Karlo"), std::string::npos);
  EXPECT_EQ(opened->identity(), repository().digest());
}

// Options of unCLIP do nothing to other generators, which refuse them.
TEST(Karlo, OptionsThatOtherGeneratorsRefuse) {
  const auto other = open((kGoldens / "pipeline").string(), {test_device(), at::kFloat});
  const auto requests = requests_for({"a cat"});
  const auto refuses = [&](const std::string& what, auto change) {
    GenerationOptions options;
    change(options);
    try {
      other->generate(requests, options);
      ADD_FAILURE() << what;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  };
  refuses("prior_num_inference_steps", [](GenerationOptions& options) { options.prior_num_inference_steps = 25; });
  refuses("prior_guidance_scale", [](GenerationOptions& options) { options.prior_guidance_scale = 4; });
  refuses("super_res_num_inference_steps",
          [](GenerationOptions& options) { options.super_res_num_inference_steps = 7; });
}

// A copy of the golden repository that a test may damage.
class BrokenKarlo : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::temp_directory_path() / fmt::format("readback_karlo_{}_{}", name, getpid());
    fs::copy(kGoldens / "karlo", folder_, fs::copy_options::recursive);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Puts `value` there, loads, puts back what was there.
  std::string error_with(const std::string& file, const std::string& key, const nlohmann::json& value) const {
    const nlohmann::json before = read_json(folder_ / file);
    nlohmann::json changed = before;
    changed[key] = value;
    write_file(folder_ / file, changed.dump());
    const std::string message = error();
    write_file(folder_ / file, before.dump());
    return message;
  }
  std::string error() const {
    try {
      Karlo(checkpoint::Repository(folder_.string()), test_device(), at::kFloat);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "";
  }
  fs::path folder_;
};

TEST_F(BrokenKarlo, LoadsWhole) { EXPECT_EQ(error(), ""); }

// As the published repository's index has it.
TEST_F(BrokenKarlo, TextProjectionOfItsOwnLibrary) {
  EXPECT_EQ(error_with("model_index.json", "text_proj", {"unclip", "UnCLIPTextProjModel"}), "");
}

TEST_F(BrokenKarlo, NamesWhatIsMissingOrOfAnotherClass) {
  const nlohmann::json index = read_json(folder_ / "model_index.json");
  for (const auto& [part, class_name] : index.items()) {
    if (part.starts_with("_")) continue;
    const std::string missing = error_with("model_index.json", part, {nullptr, nullptr});
    EXPECT_NE(missing.find(": " + part + ": expected"), std::string::npos) << part << missing;
    EXPECT_NE(missing.find("none"), std::string::npos) << missing;
    EXPECT_NE(error_with("model_index.json", part, {"diffusers", "OfTheFuture"}).find("OfTheFuture"),
              std::string::npos);
  }
  EXPECT_NE(error_with("model_index.json", "_class_name", "UnCLIPVideoPipeline").find("UnCLIPPipeline"),
            std::string::npos);
  EXPECT_NE(error_with("model_index.json", "_class_name", "UnCLIPImageVariationPipeline").find("image_encoder"),
            std::string::npos);
}

TEST_F(BrokenKarlo, PartsThatDoNotFit) {
  const auto refuses = [&](const std::string& file, const char* key, const nlohmann::json& value,
                           const std::string& what) {
    const std::string message = error_with(file, key, value);
    EXPECT_NE(message.find(what), std::string::npos) << file << " " << key << ": " << message;
  };
  refuses("text_encoder/config.json", "projection_dim", 7, "projection_dim");
  refuses("text_encoder/config.json", "hidden_size", 14, "hidden_size");
  refuses("prior/config.json", "num_embeddings", 17, "prior");
  refuses("text_proj/config.json", "clip_embeddings_dim", 7, "clip_embeddings_dim");
  refuses("text_proj/config.json", "time_embed_dim", 8, "time_embed_dim");
  refuses("text_proj/config.json", "cross_attention_dim", 8, "cross_attention_dim");
  refuses("decoder/config.json", "in_channels", 4, "in_channels");
  refuses("decoder/config.json", "out_channels", 3, "out_channels");
  refuses("super_res_first/config.json", "in_channels", 3, "super_res_first's in_channels");
  refuses("super_res_last/config.json", "out_channels", 6, "super_res_last's out_channels");
  refuses("super_res_last/config.json", "sample_size", 24, "sample_size");
  refuses("decoder_scheduler/scheduler_config.json", "variance_type", "fixed_small_log", "decoder_scheduler");
  refuses("prior_scheduler/scheduler_config.json", "variance_type", "learned_range", "prior_scheduler");
  refuses("super_res_scheduler/scheduler_config.json", "variance_type", "learned_range", "super_res_scheduler");
}

TEST_F(BrokenKarlo, ARepositorySaysHowItIsDrawnFrom) {
  const fs::path file = folder_ / "generation_config.json";
  write_file(file, R"({"num_inference_steps": 10, "prior_guidance_scale": 1})");
  Karlo karlo(checkpoint::Repository(folder_.string()), test_device(), at::kFloat);
  EXPECT_EQ(karlo.defaults().num_inference_steps, 10);
  EXPECT_EQ(karlo.defaults().prior_guidance_scale, 1.0);
  EXPECT_EQ(karlo.defaults().guidance_scale, 8.0) << "what it does not say is the pipeline's";
  EXPECT_NE(karlo.defaults_rule().find("generation_config.json"), std::string::npos);
  EXPECT_EQ(pipeline().defaults_rule(), "");
  GenerationOptions asked = quick();
  asked.num_inference_steps.reset();
  asked.prior_guidance_scale.reset();
  const auto drawn = values_of(karlo.generate(requests_for({"a cat"}), asked));
  asked.num_inference_steps = 10;
  asked.prior_guidance_scale = 1;
  EXPECT_EQ(drawn[0].image, values_of(pipeline().generate(requests_for({"a cat"}), asked))[0].image);

  write_file(file, R"({"prior_steps": 10})");
  EXPECT_NE(error().find("prior_steps"), std::string::npos) << error();
  write_file(file, R"({"num_inference_steps": "ten"})");
  EXPECT_NE(error().find("num_inference_steps"), std::string::npos) << error();
}

TEST_F(BrokenKarlo, TruncatedWeights) {
  fs::resize_file(folder_ / "super_res_last/diffusion_pytorch_model.safetensors", 1000);
  EXPECT_NE(error().find("super_res_last"), std::string::npos);
}

// A decoder of another number of tokens than the prior reads.
TEST_F(BrokenKarlo, TokenizerOfAnotherLength) {
  EXPECT_NE(error_with("tokenizer/tokenizer_config.json", "model_max_length", 12).find("num_embeddings"),
            std::string::npos);
}

TEST_F(BrokenKarlo, PicturesThatAreNotFiniteAreFailures) {
  const fs::path weights = folder_ / "super_res_last/diffusion_pytorch_model.safetensors";
  checkpoint::TensorMap tensors = checkpoint::load_safetensors(weights);
  tensors["conv_out.bias"] = at::full_like(tensors.at("conv_out.bias"), NAN);
  checkpoint::save_safetensors(tensors, folder_ / "changed.safetensors");
  fs::rename(folder_ / "changed.safetensors", weights);
  Karlo broken(checkpoint::Repository(folder_.string()), test_device(), at::kFloat);
  const auto results = broken.generate(requests_for({"a cat", "a fox"}), quick());
  ASSERT_EQ(results.size(), 2u);
  for (const auto& result : results) {
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.failure().find("bfloat16"), std::string::npos) << result.failure();
  }
}

}  // namespace
}  // namespace readback::generate
