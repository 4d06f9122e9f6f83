// What a repository says of itself without its numbers is what the model made of it says.
#include "readback/workflow/describe_model.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/open.h"
#include "readback/generate/open.h"
#include "tests/source_dir.h"

namespace readback::workflow {
namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& name) { return (tests::source_dir() / "tests/goldens" / name).string(); }

bool contains(const std::vector<std::string>& list, const std::string& text) {
  return std::ranges::find(list, text) != list.end();
}

TEST(DescribeModel, ACaptionerIsAsWhatOpensIt) {
  const ModelDescription model = describe_model("emoji-scenes/captioner");
  EXPECT_EQ(model.role, ModelRole::kCaptioner);
  EXPECT_EQ(model.class_name, "BlipForConditionalGeneration");
  EXPECT_EQ(model.title, "BLIP emoji-scenes/captioner");
  ASSERT_EQ(model.parts.size(), 1u);
  EXPECT_EQ(model.parts[0].types, std::vector<std::string>{"float16"});
  EXPECT_EQ(model.bytes(), 2 * model.parameters());
  EXPECT_NEAR(static_cast<double>(model.parameters()), 1.66e6, 1e4);
  EXPECT_EQ(model.picture_height, 32);
  EXPECT_EQ(model.defaults["prompt"], "a picture of ");
  EXPECT_EQ(model.defaults["num_beams"], 3);
  EXPECT_EQ(model.defaults["top_p"], 0.9) << "when sampling";
  EXPECT_TRUE(model.can_be_tuned);
  EXPECT_EQ(model.lacks, std::vector<std::string>{"shots"});
  const auto captioner = caption::open("emoji-scenes/captioner", {});
  EXPECT_EQ(model.max_prompt_tokens, captioner->capabilities().max_prompt_tokens);
  EXPECT_EQ(captioner->description(), model.title + ", float32");
}

TEST(DescribeModel, AGeneratorHasPartsVocabularyLicenceAndDefaultsByARule) {
  const ModelDescription model = describe_model("emoji-scenes/generator");
  EXPECT_EQ(model.role, ModelRole::kGenerator);
  std::vector<std::string> folders;
  for (const ModelPart& part : model.parts) folders.push_back(part.folder);
  EXPECT_EQ(folders, (std::vector<std::string>{"text_encoder", "unet", "vae"}));
  EXPECT_NEAR(static_cast<double>(model.parts[1].parameters), 9.48e6, 2e4);
  ASSERT_EQ(model.vocabularies.size(), 1u);
  EXPECT_EQ(model.vocabularies[0].tokens, 700);
  EXPECT_FALSE(model.licence.empty());
  EXPECT_EQ(model.picture_width, 32);
  EXPECT_EQ(model.defaults["num_inference_steps"], 50);
  EXPECT_EQ(model.defaults["scheduler"], "dpm++2m");
  EXPECT_EQ(model.defaults_rule, generate::open("emoji-scenes/generator", {})->defaults_rule());
  EXPECT_TRUE(contains(model.lacks, "prior_num_inference_steps"));
  EXPECT_TRUE(contains(model.can, "equal seeds give equal pictures"));
}

TEST(DescribeModel, EveryBackendIsKnown) {
  const ModelDescription karlo = describe_model(golden("generate/karlo"));
  EXPECT_EQ(karlo.parts.size(), 6u);
  EXPECT_EQ(karlo.defaults["prior_num_inference_steps"], 25);
  EXPECT_EQ(karlo.defaults["super_res_num_inference_steps"], 7);
  EXPECT_TRUE(contains(karlo.lacks, "scheduler"));
  const ModelDescription lcm = describe_model(golden("generate/pipeline-lcm"));
  EXPECT_EQ(lcm.defaults["num_inference_steps"], 4);
  EXPECT_TRUE(lcm.can_be_tuned);
  EXPECT_EQ(describe_model(golden("generate/pipeline-xl")).vocabularies.size(), 2u);
  const ModelDescription idefics = describe_model(golden("multimodal/idefics-instruct"));
  EXPECT_EQ(idefics.defaults["prompt"], "Describe this image.");
  EXPECT_TRUE(idefics.lacks.empty());
  const ModelDescription smolvlm = describe_model(golden("multimodal/smolvlm"));
  EXPECT_TRUE(smolvlm.cuts_tiles);
  EXPECT_GT(smolvlm.picture_height, 0);
  EXPECT_EQ(describe_model(golden("multimodal/blip2-opt")).defaults["num_beams"], 5);
  EXPECT_EQ(describe_model(golden("multimodal/blip2-flan-t5")).vocabularies.size(), 1u);
  const ModelDescription clip = describe_model("emoji-scenes/clip");
  EXPECT_EQ(clip.role, ModelRole::kEmbedder);
  EXPECT_EQ(clip.option, "clip");
  EXPECT_NEAR(static_cast<double>(clip.parameters()), 1.72e6, 1e4);
}

TEST(DescribeModel, AnAdapterIsItsBaseAndASingleFileIsARepository) {
  const ModelDescription adapter = describe_model(golden("lora/captioner") + "@" + golden("caption/blip"));
  EXPECT_EQ(adapter.role, ModelRole::kCaptioner);
  EXPECT_EQ(adapter.adapter_of, golden("caption/blip"));
  EXPECT_EQ(adapter.parameters(), describe_model(golden("caption/blip")).parameters());
  const ModelDescription file = describe_model(golden("single_file/stable-diffusion-1.safetensors") + "@" +
                                               golden("single_file/stable-diffusion-1"));
  EXPECT_TRUE(file.is_single_file);
  EXPECT_EQ(file.class_name, "StableDiffusionPipeline");
  EXPECT_NE(file.title.find("in one file"), std::string::npos);
}

// The golden BLIP with a vocabulary of 100 million words, whose weights no disk holds.
class HugeBlip {
 public:
  HugeBlip() {
    fs::create_directories(folder_);
    for (const auto& entry : fs::directory_iterator(golden("caption/blip"))) {
      if (entry.path().extension() != ".safetensors") fs::copy(entry.path(), folder_ / entry.path().filename());
    }
    nlohmann::json config = read_json(folder_ / "config.json");
    const int64_t words = config["text_config"]["vocab_size"];
    config["text_config"]["vocab_size"] = kWords;
    write_file(folder_ / "config.json", config.dump());
    const std::string weights = read_file(fs::path(golden("caption/blip")) / "model.safetensors");
    uint64_t length = 0;
    std::memcpy(&length, weights.data(), sizeof length);
    nlohmann::json header = nlohmann::json::parse(weights.substr(8, length));
    uint64_t offset = 0;
    for (auto& [key, tensor] : header.items()) {
      if (key == "__metadata__") continue;
      const uint64_t before = tensor["data_offsets"][1].get<uint64_t>() - tensor["data_offsets"][0].get<uint64_t>();
      uint64_t elements = 1, element = before;
      for (const uint64_t size : tensor["shape"]) element /= size;
      if (!tensor["shape"].empty() && tensor["shape"][0] == words) tensor["shape"][0] = kWords;
      for (const uint64_t size : tensor["shape"]) elements *= size;
      tensor["data_offsets"] = {offset, offset + elements * element};
      offset += elements * element;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // as writers do: what is not aligned cannot be mapped
    length = text.size();
    std::ofstream file(folder_ / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << text;
    file.close();
    fs::resize_file(folder_ / "model.safetensors", 8 + length + offset);
  }
  ~HugeBlip() { fs::remove_all(folder_); }
  static constexpr int64_t kWords = 100'000'000;
  std::string path() const { return folder_.string(); }

 private:
  fs::path folder_ = fs::temp_directory_path() / ("readback-huge-" + std::to_string(::getpid()));
};

TEST(DescribeModel, ReadsNoWeights) {
  const HugeBlip huge;
  ASSERT_GT(fs::file_size(huge.path() + "/model.safetensors"), uint64_t{6'000'000'000});
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  const ModelDescription model = describe_model(huge.path());
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_GT(model.parameters(), 16 * HugeBlip::kWords);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 500'000) << "KB";
}

std::string refusal(const std::string& name) {
  try {
    describe_model(name);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "described";
}

// A folder with this file alone.
class OneFile {
 public:
  OneFile(const std::string& file, const std::string& content) { write_file(folder_ / file, content); }
  ~OneFile() { fs::remove_all(folder_); }
  std::string path() const { return folder_.string(); }

 private:
  fs::path folder_ = fs::temp_directory_path() / ("readback-one-" + std::to_string(::getpid()));
};

TEST(DescribeModel, WhatIsRefusedIsNamedWithWhatWouldWork) {
  const auto expect = [](const std::string& file, const std::string& content, const std::string& is,
                         const std::string& next) {
    const OneFile repository(file, content);
    const std::string got = refusal(repository.path());
    EXPECT_NE(got.find(is), std::string::npos) << got;
    EXPECT_NE(got.find(next), std::string::npos) << got;
  };
  expect("config.json", R"({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"})",
         "T5, a language model that sees no pictures", "Salesforce/blip2-flan-t5-xl");
  expect("config.json", R"({"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl"})",
         "Qwen2-VL", "BLIP, BLIP-2, IDEFICS and SmolVLM are captioners");
  expect("model_index.json", R"({"_class_name": "FluxPipeline"})", "Flux", "SD-Turbo, LCM and Karlo");
  expect("model_index.json", R"({"_class_name": "StableDiffusion3Pipeline"})", "Stable Diffusion 3", "SD-Turbo");
  expect("model_index.json", R"({"_class_name": "StableDiffusionInpaintPipeline"})", "needs more than a text",
         "SD-Turbo");
  expect("config.json", R"({"_class_name": "UNet2DConditionModel"})", "one part of a pipeline", "model_index.json");
  expect("config.json", R"({"architectures": ["BlipForQuestionAnswering"], "model_type": "blip"})",
         "BLIP for another task", "Salesforce/blip-image-captioning-base");
}

TEST(Open, NamesWhatItIsGivenInsteadAndWhereThatGoes) {
  const auto refused = [](const auto& open) -> std::string {
    try {
      open();
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "opened";
  };
  EXPECT_NE(refused([] { generate::open("emoji-scenes/captioner", {}); }).find("give it as captioner"),
            std::string::npos);
  EXPECT_NE(refused([] { caption::open("emoji-scenes/generator", {}); }).find("give it as generator"),
            std::string::npos);
  EXPECT_NE(refused([] { caption::open("emoji-scenes/clip", {}); }).find("Give it as clip"), std::string::npos);
}

}  // namespace
}  // namespace readback::workflow
