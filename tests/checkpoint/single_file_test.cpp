#include "readback/checkpoint/single_file.h"

#include <fmt/ranges.h>

#include "readback/base/random.h"
#include "readback/checkpoint/ldm_names.h"
#include "readback/checkpoint/pickle.h"
#include "readback/checkpoint/repository.h"
#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

namespace fs = std::filesystem;

const fs::path kFiles = kGoldens.parent_path() / "single_file";

// The rule of tools/reference/single_file.py for a tensor's values.
at::Tensor values_of(const std::string& name, at::IntArrayRef shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  const auto start = static_cast<int64_t>(fnv1a(name) % 23);
  return ((at::arange(count, at::kLong) * 7 + start).remainder(23) - 11).to(at::kHalf).div(16).reshape(shape);
}

std::string spec_of(const std::string& name, const std::string& extension = ".safetensors") {
  return (kFiles / (name + extension)).string() + "@" + (kFiles / name).string();
}

// Every tensor is the one whose name in diffusers or transformers it has now: the generator has seen diffusers' own
// conversion make the same ones, and no others, of the same file.
void expect_converted(const Repository& repository, const std::string& part) {
  const TensorMap tensors = repository.tensors(part);
  static const nlohmann::json counts = read_json(kFiles / "counts.json");
  const std::string name = repository.path().filename().string();
  EXPECT_EQ(tensors.size(), counts.at(name).at(part)) << part;
  for (const auto& [key, tensor] : tensors) expect_same(tensor, values_of(part + "." + key, tensor.sizes()), key);
}

std::string refused(const std::string& spec) {
  return error_of<CheckpointError>([&] { Repository{spec}; });
}

TEST(SingleFile, StableDiffusionIsAsDiffusersConvertsIt) {
  const Repository first(spec_of("stable-diffusion-1"));
  EXPECT_TRUE(first.is_single_file());
  expect_contains(first.title(), "(Stable Diffusion 1.x in one file)");
  expect_converted(first, "unet");
  expect_converted(first, "vae");
  expect_converted(first, "text_encoder");
  EXPECT_EQ(first.json("unet/config.json")["cross_attention_dim"], 8) << "the base's configurations";
  EXPECT_EQ(first.vocabulary("tokenizer"), kFiles / "stable-diffusion-1/tokenizer");

  const Repository second(spec_of("stable-diffusion-2"));
  expect_converted(second, "unet");
  expect_converted(second, "vae");
  expect_converted(second, "text_encoder");

  const Repository large(spec_of("stable-diffusion-xl"));
  expect_contains(large.title(), "Stable Diffusion XL");
  expect_converted(large, "unet");
  expect_converted(large, "vae");
  expect_converted(large, "text_encoder");
  expect_converted(large, "text_encoder_2");
}

TEST(SingleFile, LavisIsAsTransformersConvertsIt) {
  const Repository blip(spec_of("blip", ".pth"));
  expect_contains(blip.title(), "BLIP of LAVIS");
  expect_converted(blip, "");
  for (const char* name : {"blip2-opt", "blip2-t5"}) {
    const SingleFile file = read_single_file(name, load_pickle(kFiles / (std::string(name) + ".pth")));
    EXPECT_EQ(file.kind, name == std::string("blip2-opt") ? "BLIP-2 of LAVIS with OPT" : "BLIP-2 of LAVIS with T5");
    std::string keys;
    for (const auto& [key, tensor] : file.parts.at("")) {
      keys += fmt::format("{} [{}]\n", key, fmt::join(tensor.sizes(), ", "));
      at::Tensor expected = values_of("." + key, tensor.sizes());
      if (key.ends_with("qkv.bias")) expected.narrow(0, 8, 8).zero_();  // of the keys
      expect_same(tensor, expected, key);
    }
    EXPECT_EQ(keys, read_file(kFiles / (std::string(name) + ".txt")));
    expect_contains(refused((kFiles / (std::string(name) + ".pth")).string()),
                    "BASE is a repository such as Salesforce");
  }
}

// Weights are not copied: they are views of the mapped file.
TEST(SingleFile, TensorsViewTheFile) {
  const fs::path path = kFiles / "stable-diffusion-2.safetensors";
  const TensorMap tensors = load_safetensors(path);
  const SingleFile file = read_single_file(path, tensors);
  const at::Tensor whole = tensors.at("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight");
  EXPECT_EQ(file.parts.at("text_encoder").at("text_model.encoder.layers.0.self_attn.v_proj.weight").data_ptr(),
            whole[16].data_ptr());
  EXPECT_EQ(file.parts.at("unet").at("conv_in.weight").data_ptr(),
            tensors.at("model.diffusion_model.input_blocks.0.0.weight").data_ptr());
}

TEST(SingleFile, LightningsCheckpointsAreRead) {
  const TensorMap tensors = load_pickle(kFiles / "lightning.ckpt");
  ASSERT_EQ(tensors.size(), 1u);
  expect_same(tensors.at("state_dict.a.weight"), values_of("a", {2, 3}), "a.weight");
}

TEST(SingleFile, LevelsAreCountedByTheirSampling) {
  const auto one = [](int64_t layers, const std::string& name) { return unet_name_of_ldm(name, layers); };
  EXPECT_EQ(one(2, "input_blocks.4.0.in_layers.0.weight"), "down_blocks.1.resnets.0.norm1.weight");
  EXPECT_EQ(one(1, "input_blocks.4.0.op.bias"), "down_blocks.1.downsamplers.0.conv.bias");
  EXPECT_EQ(one(1, "output_blocks.1.1.conv.weight"), "up_blocks.0.upsamplers.0.conv.weight");
  for (const char* other : {"", "input_blocks", "input_blocks.x.0", "input_blocks.99999999999999999999.0.a",
                            "input_blocks.1", "middle_block.7.a", "output_blocks.-1.0.a", "weight"})
    EXPECT_EQ(one(2, other), other);
}

class SingleFileTest : public TemporaryFolder {
 protected:
  std::string put(const TensorMap& tensors, const std::string& name = "model.safetensors") const {
    save_safetensors(tensors, folder_ / name);
    return (folder_ / name).string();
  }
  TensorMap stable_diffusion() const { return load_safetensors(kFiles / "stable-diffusion-1.safetensors"); }
  void put_vocabulary(const fs::path& folder) const {
    fs::create_directories(folder);
    fs::copy(kFiles / "stable-diffusion-1/tokenizer", folder, fs::copy_options::recursive);
  }
};

TEST_F(SingleFileTest, PublishedConfigurationsStandInForABase) {
  const std::string file = put(stable_diffusion());
  const std::string message = refused(file);
  expect_contains(message, "whose CLIP vocabulary (tokenizer.json, or vocab.json and merges.txt) is here");
  expect_contains(message, file + "@BASE");
  expect_contains(message, "stable-diffusion-v1-5/stable-diffusion-v1-5");
  expect_contains(message, "put its tokenizer/ beside the file");

  put_vocabulary(folder_ / "tokenizer");
  const Repository repository(file);
  EXPECT_EQ(repository.vocabulary("tokenizer"), folder_ / "tokenizer");
  EXPECT_TRUE(repository.has("model_index.json"));
  EXPECT_FALSE(repository.has("safety_checker/config.json"));
  EXPECT_EQ(repository.json("model_index.json")["_class_name"], "StableDiffusionPipeline");
  EXPECT_EQ(repository.json("unet/config.json")["block_out_channels"], (nlohmann::json{320, 640, 1280, 1280}));
  EXPECT_EQ(repository.json("text_encoder/config.json")["architectures"], (nlohmann::json{"CLIPTextModel"}));
  EXPECT_FALSE(repository.is_on_disk("unet/config.json"));
  // A hundred other files in the folder are nothing to it; its own are.
  const std::string digest = repository.digest();
  put({{"a", golden_values({2})}}, "another.safetensors");
  EXPECT_EQ(repository.digest(), digest);
  EXPECT_EQ(Repository(file).digest(), digest);
  TensorMap changed = stable_diffusion();
  changed["model.diffusion_model.out.2.bias"] = at::zeros({4}, at::kHalf);
  put(changed);
  EXPECT_NE(Repository(file).digest(), digest);
  EXPECT_THROW(repository.tensors("unet"), CheckpointError) << "it changed under the repository";
}

TEST_F(SingleFileTest, AVocabularyMustPadAsItsModelDoes) {
  const std::string second = (kFiles / "stable-diffusion-2.safetensors").string();
  expect_contains(refused(second + "@" + (kFiles / "stable-diffusion-1").string()),
                  "one that pads with '<|endoftext|>' and not with '!'");
  put_vocabulary(folder_ / "clip");
  const std::string first = (kFiles / "stable-diffusion-1.safetensors").string();
  EXPECT_EQ(Repository(first + "@" + (folder_ / "clip").string()).vocabulary("tokenizer"), folder_ / "clip")
      << "a CLIP repository will do";
  EXPECT_EQ(refused(first + "@/nowhere").find("pads"), std::string::npos);
  expect_contains(refused(first + "@/nowhere"), "a base that is a folder or a hub id");
}

TEST_F(SingleFileTest, WhatAFileLacksIsTheBases) {
  TensorMap tensors = stable_diffusion();
  std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("first_stage_model."); });
  const std::string file = put(tensors);
  put_vocabulary(folder_ / "tokenizer");
  const std::string message = error_of<CheckpointError>([&] { Repository(file).tensors("vae"); });
  expect_contains(message, "Stable Diffusion 1.x with its vae, got a file without it");
  expect_contains(message, file + "@BASE");
  fs::copy(kFiles / "stable-diffusion-1", folder_ / "base", fs::copy_options::recursive);
  save_safetensors({{"a", golden_values({2})}}, folder_ / "base/vae/diffusion_pytorch_model.fp16.safetensors");
  const Repository repository(file + "@" + (folder_ / "base").string());
  EXPECT_EQ(repository.tensors("vae").size(), 1u);
  EXPECT_EQ(repository.tensors("unet").size(), read_json(kFiles / "counts.json")["stable-diffusion-1"]["unet"]);
}

TEST_F(SingleFileTest, ABaseOfSmallFilesHasNoSafetyChecker) {
  const std::string spec = (kFiles / "stable-diffusion-1.safetensors").string() + "@" + (folder_ / "base").string();
  fs::copy(kFiles / "stable-diffusion-1", folder_ / "base", fs::copy_options::recursive);
  nlohmann::json index = read_json(folder_ / "base/model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  file(index.dump(), "base/model_index.json");
  EXPECT_EQ(Repository(spec).json("model_index.json")["safety_checker"], (nlohmann::json{nullptr, nullptr}));
  fs::create_directories(folder_ / "base/safety_checker");
  save_safetensors({{"a", golden_values({2})}}, folder_ / "base/safety_checker/model.safetensors");
  EXPECT_EQ(Repository(spec).json("model_index.json")["safety_checker"][1], "StableDiffusionSafetyChecker");
  EXPECT_EQ(Repository(spec).tensors("safety_checker").size(), 1u);
}

TEST_F(SingleFileTest, AnAdapterMayBelongToAFile) {
  const std::string module = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
  const std::string lora = put({{"unet." + module + ".lora_A.weight", golden_values({2, 4})},
                                {"unet." + module + ".lora_B.weight", golden_values({4, 2})}},
                               "lora.safetensors");
  const Repository repository(lora + "@" + spec_of("stable-diffusion-1"));
  EXPECT_TRUE(repository.is_adapter());
  EXPECT_TRUE(repository.is_single_file());
  const at::Tensor before = values_of("unet." + module + ".weight", {4, 4}).to(at::kFloat);
  EXPECT_TRUE(at::allclose(repository.tensors("unet").at(module + ".weight"),
                           before + at::matmul(golden_values({4, 2}), golden_values({2, 4}))));
}

// Files whose weights are below "state_dict." or lack CLIP's level "text_model.".
TEST_F(SingleFileTest, OtherFormsOfTheSame) {
  TensorMap tensors;
  for (const auto& [key, tensor] : stable_diffusion()) {
    std::string name = "state_dict." + key;
    if (const size_t at = name.find("transformer.text_model."); at != std::string::npos)
      name.erase(at + std::string("transformer.").size(), std::string("text_model.").size());
    tensors[name] = tensor;
  }
  const Repository repository(put(tensors) + "@" + (kFiles / "stable-diffusion-1").string());
  expect_converted(repository, "text_encoder");
  expect_converted(repository, "unet");
}

TEST_F(SingleFileTest, OtherFilesAreNamed) {
  const auto of_key = [&](const std::string& key, std::vector<int64_t> shape = {2}) {
    return refused(put({{key, golden_values(std::move(shape))}}));
  };
  const std::string unet = "model.diffusion_model.input_blocks.0.0.weight";
  for (const auto& [key, name] :
       {std::pair("model.diffusion_model.joint_blocks.0.a", "Stable Diffusion 3"),
        std::pair("double_blocks.0.img_attn.norm.key_norm.scale", "Flux"),
        std::pair("conditioner.embedders.0.model.text_projection", "the refiner of Stable Diffusion XL"),
        std::pair("control_model.time_embed.0.weight", "a ControlNet"),
        std::pair("down_blocks.0.resnets.0.norm1.weight", "diffusers' UNet without its pipeline"),
        std::pair("encoder.down.0.block.0.norm1.weight", "a VAE alone"), std::pair("emb_params", "a textual inversion"),
        std::pair("text_encoder.embeddings.word_embeddings.weight", "captions nothing"),
        std::pair("something.else", "other names, such as 'something.else'"),
        std::pair("controlnet_cond_embedding.conv_in.weight", "a ControlNet. It draws by more than a text"),
        std::pair("adapter.body.0.resnets.0.block1.weight", "a T2I adapter. It draws by more than a text"),
        std::pair("body.0.in_conv.weight", "a T2I adapter"), std::pair("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
        std::pair("clip_g", "a textual inversion. Say in the prompt"), std::pair("<cat-toy>", "a textual inversion"),
        std::pair("first_stage_model.encoder.conv_in.weight", "a VAE alone"),
        std::pair("visual.conv1.weight", "a CLIP model without its repository"),
        std::pair("llm_proj.weight", "InstructBLIP of LAVIS. BLIP for captions would do"),
        std::pair("Qformer.bert.embeddings.LayerNorm.weight", "BLIP-2 of LAVIS before it had a language model")})
    expect_contains(of_key(key), name);
  expect_contains(of_key(unet, {4, 9, 3, 3}), "reads 9 channels, for inpainting");
  expect_contains(of_key("something.else"), "Stable Diffusion 1.x, 2.x or XL in one file");
  expect_contains(refused(put({})), "no tensors");
  // Its decoder would caption, of a question that nobody asked.
  const TensorMap answers = {{"visual_encoder.cls_token", golden_values({1, 1, 4})},
                             {"text_encoder.embeddings.LayerNorm.weight", golden_values({4})},
                             {"text_decoder.bert.embeddings.LayerNorm.weight", golden_values({4})}};
  expect_contains(refused(put(answers)), "LAVIS's BLIP for retrieval or questions, which captions nothing");
  const TensorMap both = {{unet, golden_values({4, 4, 3, 3})}, {"control_model.a", golden_values({1})}};
  expect_contains(refused(put(both)), "a ControlNet");
  expect_contains(refused(file("x", "notes.txt").string()), ".safetensors, .bin, .ckpt, .pt or .pth");
  const TensorMap torn = {{unet, golden_values({4, 4, 3, 3})},
                          {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight", golden_values({4})}};
  expect_contains(refused(put(torn)), "queries, keys and values one below the other");
  const TensorMap twice = {{unet, golden_values({4, 4, 3, 3})},
                           {"model.diffusion_model.conv_in.weight", golden_values({4, 4, 3, 3})}};
  expect_contains(refused(put(twice)), "two for 'conv_in.weight'");
}

}  // namespace
}  // namespace readback::checkpoint
