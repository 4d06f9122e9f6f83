#include "readback/checkpoint/lora_names.h"

#include "readback/checkpoint/repository.h"
#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

namespace fs = std::filesystem;

const fs::path kLoras = kGoldens.parent_path() / "lora", kPipeline = kGoldens.parent_path() / "generate/pipeline";

// As tools/reference/lora.py sums up a weight.
at::Tensor summary(const at::Tensor& weight) {
  const at::Tensor rows = weight.to(at::kFloat).flatten(1);
  return at::matmul(rows, at::arange(rows.size(1), at::kFloat).cos());
}

// Newer files lack the level that older ones have.
std::string without_level(const std::string& key) {
  return key.starts_with("text_model.") ? key.substr(std::string("text_model.").size()) : key;
}

// diffusers' load_lora_weights and fuse_lora, of the same file.
void expect_as_diffusers(const std::string& name, const std::string& spec) {
  const TensorMap golden = load_safetensors(kLoras / name / "golden.safetensors");
  const Repository plain(kPipeline.string()), adapted(spec);
  size_t changed = 0;
  for (const std::string part : {"unet", "text_encoder"}) {
    const TensorMap before = plain.tensors(part);
    for (const auto& [key, weight] : adapted.tensors(part)) {
      const auto expected = golden.find(part + "." + without_level(key));
      if (expected == golden.end()) {
        expect_same(weight, before.at(key), key);
        continue;
      }
      ++changed;
      const at::Tensor sums = summary(weight);
      EXPECT_LE((sums - expected->second).abs().max().item<float>(),
                1e-6 * std::max(1.0F, expected->second.abs().max().item<float>()))
          << key;
    }
  }
  EXPECT_EQ(changed, golden.size());
}

TEST(Loras, OfKohyasNamesAreAsDiffusersLoadsThem) {
  expect_as_diffusers("others-kohya", (kLoras / "others-kohya").string());
  // The file alone, as web interfaces keep it.
  expect_as_diffusers("others-kohya", (kLoras / "others-kohya/pytorch_lora_weights.safetensors").string());
  expect_as_diffusers("others-kohya",
                      (kLoras / "others-kohya/pytorch_lora_weights.safetensors").string() + "@" + kPipeline.string());
}

TEST(Loras, OfAttentionProcessorsAreAsDiffusersLoadsThem) {
  expect_as_diffusers("others-processors", (kLoras / "others-processors").string());
  expect_as_diffusers("others-processors-unet", (kLoras / "others-processors-unet").string());  // a pickle
}

at::Tensor of(std::vector<int64_t> shape) { return golden_values(std::move(shape)) / 7; }

TEST(Loras, NamesBecomeDiffusers) {
  const auto renamed = [](const std::string& key) {
    const TensorMap tensors = lora_of_others({{key, of({2, 4})}}, "test");
    return tensors.begin()->first;
  };
  const std::pair<const char*, const char*> cases[] = {
      {"lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
       "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q.lora_A.weight"},
      {"lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_attn2_to_out_0.lora_up.weight",
       "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0.lora_B.weight"},
      {"lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj.alpha",
       "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.alpha"},
      {"lora_unet_down_blocks_2_resnets_1_time_emb_proj.alpha", "unet.down_blocks.2.resnets.1.time_emb_proj.alpha"},
      {"lora_unet_time_embedding_linear_2.alpha", "unet.time_embedding.linear_2.alpha"},
      {"lora_unet_conv_in.alpha", "unet.conv_in.alpha"},
      // The original UNet's, as kohya's scripts write for XL.
      {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha",
       "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.alpha"},
      {"lora_unet_input_blocks_3_0_op.alpha", "unet.down_blocks.0.downsamplers.0.conv.alpha"},
      {"lora_unet_output_blocks_2_2_conv.alpha", "unet.up_blocks.0.upsamplers.0.conv.alpha"},
      {"lora_unet_middle_block_1_proj_in.alpha", "unet.mid_block.attentions.0.proj_in.alpha"},
      {"lora_unet_output_blocks_0_0_in_layers_2.alpha", "unet.up_blocks.0.resnets.0.conv1.alpha"},
      {"lora_unet_input_blocks_1_0_emb_layers_1.alpha", "unet.down_blocks.0.resnets.0.time_emb_proj.alpha"},
      {"lora_unet_label_emb_0_2.alpha", "unet.add_embedding.linear_2.alpha"},
      {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha",
       "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.alpha"},
      {"lora_te1_text_model_encoder_layers_11_mlp_fc1.alpha",
       "text_encoder.text_model.encoder.layers.11.mlp.fc1.alpha"},
      {"lora_te2_text_model_encoder_layers_3_self_attn_out_proj.alpha",
       "text_encoder_2.text_model.encoder.layers.3.self_attn.out_proj.alpha"},
      {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
       "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_B.weight"},
      {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_k_lora.down.weight",
       "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight"},
      {"text_encoder.text_model.encoder.layers.0.self_attn.to_v_lora.down.weight",
       "text_encoder.text_model.encoder.layers.0.self_attn.v_proj.lora_A.weight"},
      {"text_encoder.encoder.layers.0.self_attn.out_proj.lora_linear_layer.up.weight",
       "text_encoder.encoder.layers.0.self_attn.out_proj.lora_B.weight"},
      {"unet.a.to_q.lora.down.weight", "unet.a.to_q.lora_A.weight"},
      {"unet.a.lora_A.weight", "unet.a.lora_A.weight"}};
  for (const auto& [from, to] : cases) EXPECT_EQ(renamed(from), to);
}

TEST(Loras, OtherKindsAreNamed) {
  const auto refused = [](const std::string& key) {
    return error_of<CheckpointError>([&] { lora_of_others({{key, of({2, 4})}}, "the file"); });
  };
  for (const auto& [key, kind] :
       {std::pair("lora_unet_a.hada_w1_a", "a LoHa"), std::pair("lora_unet_a.lokr_w1", "a LoKr"),
        std::pair("lora_unet_a.dora_scale", "a DoRA"), std::pair("lora_unet_a.lora_mid.weight", "Tucker"),
        std::pair("unet.a.lora_magnitude_vector", "a DoRA"),
        std::pair("transformer.a.lora_A.weight", "diffusion transformer"),
        std::pair("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "Flux")}) {
    expect_contains(refused(key), std::string("the file: '") + key + "'");
    expect_contains(refused(key), kind);
    expect_contains(refused(key), "Merge it into a model");
  }
  expect_contains(
      error_of<CheckpointError>([] {
        lora_of_others({{"unet.a.lora_A.weight", of({2, 4})}, {"unet.a.lora.down.weight", of({2, 4})}}, "x");
      }),
      "two of unet.a");
}

class LoraFile : public TemporaryFolder {
 protected:
  // kohya's, of a linear layer and a convolution of the pipeline.
  TensorMap tensors() const {
    const std::string linear = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
                      conv = "lora_unet_conv_in";
    return {{linear + ".lora_down.weight", of({2, 16})},
            {linear + ".lora_up.weight", of({16, 2})},
            {linear + ".alpha", at::tensor(0.5F)},
            {conv + ".lora_down.weight", of({1, 4, 3, 3})},
            {conv + ".lora_up.weight", of({8, 1, 1, 1})}};
  }
  std::string put(const TensorMap& tensors) const {
    save_safetensors(tensors, folder_ / "style.safetensors");
    return (folder_ / "style.safetensors").string();
  }
};

// As kohya's scripts apply it: alpha / rank, each layer's own, and the rank where none is stated.
TEST_F(LoraFile, EachLayerHasItsOwnAlpha) {
  const std::string spec = put(tensors()) + "@" + kPipeline.string();
  const TensorMap before = Repository(kPipeline.string()).tensors("unet"), after = Repository(spec).tensors("unet");
  const std::string linear = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
  EXPECT_TRUE(at::allclose(after.at(linear) - before.at(linear).to(at::kFloat),
                           0.25 * at::matmul(of({16, 2}), of({2, 16})), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(after.at("conv_in.weight") - before.at("conv_in.weight").to(at::kFloat),
                           at::matmul(of({8, 1}), of({1, 36})).view({8, 4, 3, 3}), 1e-5, 1e-6));
  const Repository repository(spec);
  EXPECT_TRUE(repository.is_adapter());
  EXPECT_EQ(repository.name(), spec);
  EXPECT_NE(repository.digest(), Repository(kPipeline.string()).digest());
}

TEST_F(LoraFile, ErrorsSayWhatWouldWork) {
  const auto refused = [&](const std::string& spec) {
    return error_of<CheckpointError>([&] { Repository(spec).tensors("unet"); });
  };
  const std::string file = put(tensors());
  expect_contains(refused(file), "an adapter that names its base model");
  expect_contains(refused(file), file + "@BASE");
  expect_contains(refused(file + "@/nowhere/at/all"), "base model '/nowhere/at/all'");
  TensorMap changed = tensors();
  changed["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = of({2, 16});
  changed["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"] = of({32, 2});
  expect_contains(refused(put(changed) + "@" + kPipeline.string()), "one of text_encoder_2");
  changed = tensors();
  changed["lora_unet_no_such_layer.alpha"] = at::tensor(1.0F);
  expect_contains(refused(put(changed) + "@" + kPipeline.string()), "a number as alpha of an A and B");
  changed = tensors();
  changed["lora_control_a.lora_down.weight"] = of({2, 4});
  expect_contains(refused(put(changed) + "@" + kPipeline.string()), "or kohya's words for them");
  expect_contains(refused(kPipeline.string() + "@x"), "Leave '@x' away");
}

}  // namespace
}  // namespace readback::checkpoint
