// Stable Diffusion in one file (tools/reference/single_file.py) draws what the same weights in a folder draw.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "../device.h"
#include "../unwrap.h"
#include "readback/checkpoint/published.h"
#include "readback/checkpoint/repository.h"
#include "readback/checkpoint/writer.h"
#include "readback/generate/open.h"
#include "readback/generate/scheduler.h"
#include "readback/models/clip/clip.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"
#include "tests/source_dir.h"

namespace readback::generate {
namespace {

namespace fs = std::filesystem;

const fs::path kFiles = tests::source_dir() / "tests/goldens/single_file";

Picture draw(const std::string& spec) {
  GenerationOptions options;
  options.num_inference_steps = 2;
  options.seed = 5;
  const auto generator = open(spec, Machine{.device = test_device()});
  const std::vector<Request> requests = {{"a red fox", "0", 0, {}}};
  return values_of(generator->generate(requests, options)).front();
}

TEST(SingleFile, DrawsWhatItsFolderDraws) {
  for (const std::string name : {"stable-diffusion-1", "stable-diffusion-2"}) {
    const std::string spec = (kFiles / (name + ".safetensors")).string() + "@" + (kFiles / name).string();
    std::string folder = testing::TempDir() + "readback_single_file_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    fs::copy(kFiles / name, folder, fs::copy_options::recursive);
    const checkpoint::Repository repository(spec);
    for (const std::string part : {"unet", "vae", "text_encoder"}) {
      checkpoint::TensorMap tensors = repository.tensors(part);
      for (auto& [key, tensor] : tensors) tensor = tensor.contiguous();
      const char* file = part == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
      checkpoint::save_safetensors(std::move(tensors), fs::path(folder) / part / file);
    }
    const Picture one = draw(spec), other = draw(folder);
    EXPECT_EQ(one.latents.values, other.latents.values);
    EXPECT_EQ(one.image.pixels, other.image.pixels);
    fs::remove_all(folder);
  }
}

// Without a base a file has these, which are read as strictly as any.
TEST(SingleFile, PublishedConfigurationsAreRead) {
  for (const checkpoint::Configurations& files : {checkpoint::stable_diffusion_1(), checkpoint::stable_diffusion_2()}) {
    const auto reader = [&](const std::string& file) { return checkpoint::ConfigReader(files.at(file), file); };
    const auto unet = models::UnetConfig::read(reader("unet/config.json"));
    const auto text = models::ClipTextConfig::read(reader("text_encoder/config.json"));
    const auto vae = models::VaeConfig::read(reader("vae/config.json"));
    EXPECT_EQ(unet.cross_attention_dim, text.hidden_size);
    EXPECT_EQ(unet.sample_size * vae.factor(), files.at("vae/config.json")["sample_size"]);
    const nlohmann::json& scheduler = files.at("scheduler/scheduler_config.json");
    EXPECT_EQ(make_scheduler("", pipeline_scheduler_config(scheduler, ""), 50)->init_noise_sigma(), 1);
  }
}

}  // namespace
}  // namespace readback::generate
