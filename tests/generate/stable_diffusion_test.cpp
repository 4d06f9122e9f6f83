// The sampling loop against diffusers' StableDiffusionPipeline: tools/reference/stable_diffusion_pipeline.py.
#include "readback/generate/stable_diffusion.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <mutex>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "../device.h"
#include "../unwrap.h"
#include "readback/generate/latents.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-4;  // of the largest value

const fs::path kGoldens = fs::path(READBACK_SOURCE_DIR) / "tests/goldens/generate";

StableDiffusion& pipeline() {
  static StableDiffusion loaded = [] {
    at::set_num_threads(1);  // the models are tiny
    return StableDiffusion(checkpoint::Repository((kGoldens / "pipeline").string()), test_device(), at::kFloat);
  }();
  return loaded;
}

GenerationOptions options_of(const nlohmann::json& run) {
  GenerationOptions options;
  options.scheduler = run["scheduler"];
  options.num_inference_steps = run["num_inference_steps"];
  options.guidance_scale = run["guidance_scale"];
  options.negative_prompt = run.value("negative_prompt", "");
  options.height = run.value("height", 0);
  options.width = run.value("width", 0);
  options.seed = 7;
  return options;
}

std::vector<Request> requests_for(const std::vector<std::string>& prompts) {
  std::vector<Request> requests;
  for (size_t i = 0; i < prompts.size(); ++i)
    requests.push_back({prompts[i], fmt::format("sample {}", i), static_cast<int64_t>(i), {}});
  return requests;
}

int largest_difference(const image::Image& image, const uint8_t* expected) {
  int largest = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) largest = std::max(largest, std::abs(image.pixels[i] - expected[i]));
  return largest;
}

GenerationOptions quick() {
  GenerationOptions options;
  options.num_inference_steps = 3;
  return options;
}

TEST(StableDiffusion, RunsEqualDiffusers) {
  const nlohmann::json described = read_json(kGoldens / "pipeline_runs.json");
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "pipeline_runs.safetensors");
  const std::vector<Request> requests = requests_for(described["prompts"]);
  ASSERT_GE(described["runs"].size(), 16u);
  for (size_t i = 0; i < described["runs"].size(); ++i) {
    const nlohmann::json& run = described["runs"][i];
    SCOPED_TRACE(run.dump());
    const std::vector<Picture> pictures = values_of(pipeline().generate(requests, options_of(run)));
    const at::Tensor latents = golden.at(fmt::format("{}.latents", i));
    const at::Tensor images = golden.at(fmt::format("{}.images", i)).contiguous();
    ASSERT_EQ(pictures.size(), requests.size());
    for (size_t p = 0; p < pictures.size(); ++p) {
      const auto row = static_cast<int64_t>(p);
      ASSERT_EQ(pictures[p].latents.shape, latents[row].sizes().vec());
      EXPECT_LT(relative_error(to_tensor(pictures[p].latents), latents[row]), kTolerance);
      ASSERT_EQ(pictures[p].image.height, images.size(1));
      ASSERT_EQ(pictures[p].image.width, images.size(2));
      EXPECT_LE(largest_difference(pictures[p].image, images[row].const_data_ptr<uint8_t>()), 1);
    }
  }
}

TEST(StableDiffusion, GivenNoiseGivesWhatTheSeedGives) {
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(kGoldens / "pipeline_runs.safetensors");
  std::vector<Request> requests = requests_for({"a cat", "a fox"});
  GenerationOptions options = quick();
  options.seed = 7;
  options.scheduler = "euler-a";
  const std::vector<Picture> drawn = values_of(pipeline().generate(requests, options));
  for (size_t i = 0; i < requests.size(); ++i)
    requests[i].latents = to_latents(golden.at("0.initial")[static_cast<int64_t>(i)]);
  const std::vector<Picture> given = values_of(pipeline().generate(requests, options));
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_LT(relative_error(to_tensor(given[i].latents), to_tensor(drawn[i].latents)), 1e-5);
    EXPECT_EQ(drawn[i].seed, derive_seed(7, Purpose::kPictureSeed, requests[i].sample, i));
  }
}

TEST(StableDiffusion, PictureDoesNotDependOnItsBatch) {
  const std::vector<Request> requests =
      requests_for({"a red fox", "a cat", "fox", "red", "a red fox", "cat fox", "?", ""});
  for (const std::string& scheduler : scheduler_names()) {
    SCOPED_TRACE(scheduler);
    GenerationOptions options = quick();
    options.scheduler = scheduler;
    const std::vector<Picture> together = values_of(pipeline().generate(requests, options));
    const std::vector<Request> backwards(requests.rbegin(), requests.rend());
    const std::vector<Picture> reversed = values_of(pipeline().generate(backwards, options));
    for (size_t i = 0; i < requests.size(); ++i) {
      const Picture alone = values_of(pipeline().generate({&requests[i], 1}, options))[0];
      EXPECT_LE(largest_difference(alone.image, together[i].image.pixels.data()), 1);
      EXPECT_LT(relative_error(to_tensor(alone.latents), to_tensor(together[i].latents)), kTolerance);
      EXPECT_LT(relative_error(to_tensor(reversed[requests.size() - 1 - i].latents), to_tensor(together[i].latents)), kTolerance);
    }
  }
}

TEST(StableDiffusion, PromptSeedAndCandidateMatter) {
  const auto latents = [](const Request& request, uint64_t seed) {
    GenerationOptions options = quick();
    options.seed = seed;
    options.latents_only = true;
    const Picture picture = values_of(pipeline().generate({&request, 1}, options))[0];
    EXPECT_TRUE(picture.image.pixels.empty());
    return to_tensor(picture.latents);
  };
  const at::Tensor base = latents({"a cat", "s", 0, {}}, 0);
  EXPECT_TRUE(base.equal(latents({"a cat", "s", 0, {}}, 0)));
  EXPECT_GT(relative_error(latents({"a fox", "s", 0, {}}, 0), base), 1e-3);
  EXPECT_GT(relative_error(latents({"a cat", "t", 0, {}}, 0), base), 1e-2);
  EXPECT_GT(relative_error(latents({"a cat", "s", 1, {}}, 0), base), 1e-2);
  EXPECT_GT(relative_error(latents({"a cat", "s", 0, {}}, 1), base), 1e-2);
}

TEST(StableDiffusion, CountsTokensThatDoNotFit) {
  // 16 tokens with begin and end; "x" is one token.
  std::string fits, longer;
  for (int i = 0; i < 14; ++i) fits += "x ";
  for (int i = 0; i < 19; ++i) longer += "x ";
  const std::vector<Picture> pictures = values_of(pipeline().generate(requests_for({fits, longer}), quick()));
  EXPECT_EQ(pictures[0].truncated_tokens, 0);
  EXPECT_EQ(pictures[1].truncated_tokens, 5);
}

TEST(StableDiffusion, NoRequestsNoPictures) { EXPECT_TRUE(pipeline().generate({}, quick()).empty()); }

TEST(StableDiffusion, RefusesWrongOptions) {
  const std::vector<Request> requests = requests_for({"a cat"});
  const auto refuses = [&](auto change) {
    GenerationOptions options = quick();
    std::vector<Request> changed = requests;
    change(options, changed[0]);
    EXPECT_THROW(pipeline().generate(changed, options), UsageError);
  };
  refuses([](GenerationOptions& options, Request&) { options.height = 17; });
  refuses([](GenerationOptions& options, Request&) { options.width = -8; });
  refuses([](GenerationOptions& options, Request&) { options.scheduler = "heun"; });
  refuses([](GenerationOptions& options, Request&) { options.num_inference_steps = 0; });
  refuses([](GenerationOptions&, Request& request) { request.latents = to_latents(at::zeros({4, 8, 9})); });
}

TEST(StableDiffusion, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(pipeline().generate(requests_for({"a cat"}), quick(), Context(stop.get_token())), Interrupted);
  EXPECT_TRUE(pipeline().generate(requests_for({"a cat"}), quick())[0].ok());  // another call goes on
}

// Every step of every request is told, with a preview; an observer that has seen enough ends the call.
TEST(StableDiffusion, TellsItsSteps) {
  struct Steps : Observer {
    void on_step(const StepEvent& event) override {
      const std::lock_guard lock(mutex);
      steps[{event.sample, event.step}] = event.steps;
      if (event.step == event.steps) preview = event.preview();
      if (event.step == last) throw Interrupted("enough");
    }
    std::mutex mutex;
    std::map<std::pair<std::string, int64_t>, int64_t> steps;
    image::Image preview;
    int64_t last = 0;
  } observer;
  const auto requests = requests_for({"a cat", "a fox"});
  const std::vector<Picture> pictures =
      values_of(pipeline().generate(requests, quick(), Context({}, nullptr, &observer)));
  const int64_t steps = observer.steps.begin()->second;
  EXPECT_EQ(std::ssize(observer.steps), 2 * steps);
  // The last estimate is the picture itself, which is small enough here to be decoded as a whole.
  EXPECT_EQ(observer.preview.width, pictures[0].image.width);
  observer.last = 1;
  EXPECT_THROW(pipeline().generate(requests, quick(), Context({}, nullptr, &observer)), Interrupted);
}

// Four threads ask one generator at once.
TEST(StableDiffusion, AnswersSeveralThreadsAtOnce) {
  ASSERT_TRUE(pipeline().capabilities().concurrent);
  const auto requests = requests_for({"a cat", "a fox"});
  const std::vector<Picture> expected = values_of(pipeline().generate(requests, quick()));
  std::vector<std::future<std::vector<Picture>>> answers;
  for (int i = 0; i < 4; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return values_of(pipeline().generate(requests, quick())); }));
  }
  for (auto& answer : answers) {
    const std::vector<Picture> pictures = answer.get();
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(pictures[i].image, expected[i].image);
  }
}

TEST(StableDiffusion, PicturesOfEarlyRepositoriesHaveTheRightSize) {
  std::string name = testing::TempDir() + "readback_early_XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const fs::path folder = name;
  fs::copy(fs::path(READBACK_SOURCE_DIR) / "assets/emoji-scenes/generator", folder, fs::copy_options::recursive);
  nlohmann::json config = read_json(folder / "unet/config.json");
  config["_diffusers_version"] = "0.6.0";
  write_file(folder / "unet/config.json", config.dump());
  StableDiffusion early(checkpoint::Repository(folder.string()), at::kCPU, at::kFloat);
  GenerationOptions options;
  options.num_inference_steps = 1;
  const Picture picture = values_of(early.generate(requests_for({"a bus"}), options)).front();
  EXPECT_EQ(picture.image.width, 256);
  EXPECT_EQ(picture.image.height, 256);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace readback::generate
