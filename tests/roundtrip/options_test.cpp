// Every declared option of a run, in turn.
#include "readback/roundtrip/options.h"

#include <gtest/gtest.h>

#include <set>

#include "../ranks_job.h"
#include "fakes.h"
#include "readback/base/options_json.h"
#include "readback/roundtrip/shared_models.h"
#include "tests/change_options.h"

namespace readback::roundtrip {
namespace {

using tests::for_each_change;

TEST(RunOptions, EachOptionChangesJsonAndThoseOfResultsIdentity) {
  const int count = tests::expect_declared<RunOptions>([](const RunOptions& options) { return identity(options, {}); });
  EXPECT_GT(count, 45);
}

TEST(RunOptions, DeviceAndTypeAreOfTheIdentity) {
  EXPECT_NE(identity({}, {.dtype = at::kBFloat16}), identity({}, {}));
  EXPECT_EQ(Machine{}.device_class(), "cpu");
  EXPECT_EQ((Machine{.device = {at::kCUDA, 1}}).device_class(), "cuda");
}

TEST(RunOptions, WhatIsLeftOpenIsThePapersThenTheBackends) {
  const caption::DecodingOptions captioner{.prompt = "a photo of", .num_beams = 9, .max_length = 30, .top_p = 0.4};
  const RunOptions resolved = resolve({}, captioner, {.num_inference_steps = 4, .guidance_scale = 0.0});
  EXPECT_EQ(resolved.sampling.prompt, "a photo of");
  EXPECT_EQ(resolved.sampling.top_p, 0.9);
  EXPECT_EQ(resolved.sampling.max_length, 30);
  EXPECT_EQ(resolved.reading.num_beams, 3);
  EXPECT_EQ(resolved.generation.num_inference_steps, 4);
  RunOptions search;
  search.sampling.do_sample = false;
  EXPECT_EQ(resolve(search, captioner, {}).sampling.num_beams, 9);
  EXPECT_FALSE(resolve(search, captioner, {}).sampling.top_p);
}

// On rank 1: models that answer with the options that have reached them.
class Echo : public caption::Captioner, public generate::Generator {
 public:
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context&) override {
    return {requests.size(), std::vector<caption::Caption>{{options_to_json(options).dump(), {}, {}}}};
  }
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options, const Context&) override {
    const std::string text = options_to_json(options).dump();
    generate::Picture picture;
    picture.image = image::Image(static_cast<int64_t>(text.size()), 1);
    std::copy(text.begin(), text.end(), picture.image.pixels.begin());
    picture.latents = requests.back().latents;
    return {requests.size(), picture};
  }
  std::string description() const override { return "echo"; }
  std::string identity() const override { return "echo"; }
};

TEST(DISABLED_OptionsChild, Run) {
  const Ranks ranks(find_launch());
  Echo echo;
  caption::Captioner& captioner = echo;
  generate::Generator& generator = echo;
  if (!ranks.is_root()) return serve_models(ranks, captioner, generator);
  SharedModels models(ranks, captioner, generator);
  const std::vector<caption::Request> images(2, {image::Image(1, 1), "s", 0, "its prompt", {std::string("before")}});
  for_each_change<caption::DecodingOptions>({}, [&](const auto& options, const std::string& path, Scope) {
    const auto results = models.captioner().caption(images, options, {});
    EXPECT_EQ(results.at(1).value().front().text, options_to_json(options).dump()) << path;
  });
  const std::vector<generate::Request> prompts(2, {"a cat", "s", 0, {{1, 1, 2}, {0.5, 0.25}}});
  for_each_change<generate::GenerationOptions>({}, [&](const auto& options, const std::string& path, Scope) {
    const auto results = models.generator().generate(prompts, options, {});
    const auto& pixels = results.at(1).value().image.pixels;
    EXPECT_EQ(std::string(pixels.begin(), pixels.begin() + results.at(1).value().image.width),
              options_to_json(options).dump())
        << path;
    EXPECT_EQ(results.at(1).value().latents.values, (std::vector<float>{0.5, 0.25}));
  });
}

TEST(RunOptions, EachOptionOfAModelReachesASecondRank) {
  Job job(2, "DISABLED_OptionsChild.Run");
  EXPECT_EQ(job.wait(0), 0);
  EXPECT_EQ(job.wait(1), 0);
}

}  // namespace
}  // namespace readback::roundtrip
