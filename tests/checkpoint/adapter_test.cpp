#include "readback/checkpoint/adapter.h"

#include <nlohmann/json.hpp>

#include "readback/base/files.h"
#include "readback/checkpoint/peft_options.h"
#include "readback/checkpoint/repository.h"
#include "readback/checkpoint/writer.h"
#include "tests/checkpoint/testing.h"

namespace readback::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kModule = "layer.self.query";

// A base of two linear layers and a convolution under "base", and adapters of it.
class AdapterTest : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    put_base("base");
  }
  void put_base(const fs::path& name) const {
    write_model(folder_ / name, {{"mark", 1}},
                {{kModule + ".weight", golden_values({6, 4})},
                 {"layer.self.key.weight", golden_values({6, 4}).to(at::kHalf)},
                 {"layer.conv.weight", golden_values({6, 2, 3, 3})}});
  }
  static LowRankMap modules(const std::string& name = kModule) {
    return {{name, {golden_values({2, 4}) / 7, golden_values({6, 2}) / 5, 3}}};
  }
  // PEFT's adapter in "adapter", with `options` changed.
  fs::path put_peft(const json& options = json::object()) const {
    put_peft_on("../base");
    const fs::path path = folder_ / "adapter/adapter_config.json";
    json config = read_json(path);
    config.update(options);
    write_json(path, config);
    return folder_ / "adapter";
  }
  fs::path put_peft_on(const std::string& base) const {
    save_peft_adapter(folder_ / "adapter", base, modules());
    return folder_ / "adapter";
  }
  std::string refused(const json& options) const {
    const fs::path folder = put_peft(options);
    return error_of<CheckpointError>([&] { load_adapter(folder); });
  }
  static TensorMap read(const fs::path& folder) { return Repository(folder.string()).tensors(); }
};

TEST_F(AdapterTest, AddsWhatItWasTrainedTo) {
  const TensorMap before = read(folder_ / "base"), after = read(put_peft());
  const LowRank pair = modules().at(kModule);
  const at::Tensor expected = before.at(kModule + ".weight") + 1.5 * at::matmul(pair.b, pair.a);
  EXPECT_TRUE(at::allclose(after.at(kModule + ".weight"), expected));
  EXPECT_FALSE(at::allclose(after.at(kModule + ".weight"), before.at(kModule + ".weight")));
  for (const char* key : {"layer.self.key.weight", "layer.conv.weight"})
    expect_same(after.at(key), before.at(key), key);

  const Repository repository((folder_ / "adapter").string());
  EXPECT_TRUE(repository.is_adapter());
  EXPECT_EQ(repository.name(), (folder_ / "adapter").string());
  EXPECT_TRUE(fs::equivalent(repository.path(), folder_ / "base"));
  EXPECT_EQ(repository.json()["mark"], 1);
  EXPECT_FALSE(Repository((folder_ / "base").string()).is_adapter());
}

TEST_F(AdapterTest, AnotherModelsIsNamedWithWhatItsBaseIs) {
  const auto refusal = [](const std::string& module, int64_t width) {
    TensorMap base = {{"other.weight", golden_values({6, 4})},
                      {"down_blocks.1.attn2.to_k.weight", golden_values({6, 4})}};
    const LowRankMap low = {{module, {golden_values({2, width}), golden_values({6, 2}), 2}}};
    return error_of<CheckpointError>([&] { add_low_rank(base, low, "file"); });
  };
  const std::string first = refusal("down_blocks.0.attentions.0.attn1.to_q", 320);
  expect_contains(first, "got no such module: it is a LoRA of Stable Diffusion 1.x or 2.x");
  expect_contains(first, "Write 'ADAPTER@BASE', where BASE is a Stable Diffusion 1.x or 2.x");
  expect_contains(refusal("mid_block.attentions.0.transformer_blocks.1.attn1.to_q", 1280), "Stable Diffusion XL");
  // Where both have the layer, its width tells.
  expect_contains(refusal("down_blocks.1.attn2.to_k", 768), "got [6, 768]: it is a LoRA of Stable Diffusion 1.x");
  expect_contains(refusal("down_blocks.1.attn2.to_k", 2048), "it is a LoRA of Stable Diffusion XL");
  expect_contains(refusal("some.layer", 7), "got no such module. The adapter may belong to another model");
}

// Once such an adapter was passed over, and the pipeline drew as without it.
TEST_F(AdapterTest, ACaptionersIsNotOneOfAPipeline) {
  fs::create_directories(folder_ / "pipeline");
  file("{\"_class_name\": \"StableDiffusionPipeline\"}", "pipeline/model_index.json");
  const std::string spec = put_peft().string() + "@" + (folder_ / "pipeline").string();
  const std::string message = error_of<CheckpointError>([&] { Repository{spec}; });
  expect_contains(message, "expected an adapter of what " + (folder_ / "pipeline").string() + " has");
  expect_contains(message, "got one of a model that is no pipeline, such as a captioner");
  save_diffusers_adapter(folder_ / "drawn", "../base", "unet", modules());
  expect_contains(error_of<CheckpointError>([&] { Repository((folder_ / "drawn").string()); }), "got one of unet");
}

TEST_F(AdapterTest, ConvolutionsAndHalfPrecision) {
  const at::Tensor a = golden_values({2, 2, 3, 3}) / 7, b = golden_values({6, 2, 1, 1}) / 5;
  const LowRankMap low = {{"layer.conv", {a, b, 2}},
                          {"layer.self.key", {golden_values({2, 4}), golden_values({6, 2}), 2}}};
  TensorMap tensors = read(folder_ / "base");
  const at::Tensor before = tensors.at("layer.conv.weight");
  add_low_rank(tensors, low, "test");
  // A's kernels, then B's mixture of them.
  const at::Tensor picture = golden_values({1, 2, 5, 5});
  const at::Tensor expected = at::conv2d(picture, before) + at::conv2d(at::conv2d(picture, a), b);
  EXPECT_TRUE(at::allclose(at::conv2d(picture, tensors.at("layer.conv.weight")), expected, 1e-5, 1e-3));
  EXPECT_EQ(tensors.at("layer.self.key.weight").scalar_type(), at::kFloat);
}

TEST_F(AdapterTest, BothLayoutsComeBackAsTheyWereSaved) {
  const LowRankMap saved = {
      {"a", {golden_values({2, 4}).to(at::kBFloat16), golden_values({6, 2}).to(at::kBFloat16), 5}},
      {"b", {golden_values({2, 4}), golden_values({3, 2}), 5}}};
  save_peft_adapter(folder_ / "peft", "some/base", saved);
  save_diffusers_adapter(folder_ / "diffusers", "some/base", "unet", saved);
  for (const auto& [name, part] : {std::pair("peft", ""), std::pair("diffusers", "unet")}) {
    ASSERT_TRUE(is_adapter(folder_ / name));
    const Adapter adapter = load_adapter(folder_ / name);
    EXPECT_EQ(adapter.base, "some/base");
    ASSERT_EQ(adapter.parts.size(), 1u);
    const LowRankMap& modules = adapter.parts.at(part);
    ASSERT_EQ(modules.size(), 2u);
    for (const auto& [module, pair] : saved) {
      expect_same(modules.at(module).a, pair.a.to(at::kFloat), module);
      expect_same(modules.at(module).b, pair.b.to(at::kFloat), module);
      EXPECT_EQ(modules.at(module).alpha, 5);
    }
  }
  EXPECT_FALSE(is_adapter(folder_ / "base"));
  file("{}", "diffusers/model_index.json");
  EXPECT_FALSE(is_adapter(folder_ / "diffusers")) << "a pipeline beside an adapter that nobody asked for";
}

TEST_F(AdapterTest, AlphasByPatternAndRankStabilized) {
  const auto alpha = [&](const json& options) {
    return load_adapter(put_peft(options)).parts.at("").at(kModule).alpha;
  };
  EXPECT_EQ(alpha(json::object()), 3);
  EXPECT_EQ(alpha({{"lora_alpha", 7.5}}), 7.5);
  EXPECT_EQ(alpha({{"alpha_pattern", {{"query", 9}}}}), 9);
  EXPECT_EQ(alpha({{"alpha_pattern", {{"^layer\\..*query", 9}}}}), 9);
  EXPECT_EQ(alpha({{"alpha_pattern", {{"^self.query", 9}, {"uery", 9}, {"query.weight", 9}}}}), 3);
  EXPECT_DOUBLE_EQ(alpha({{"use_rslora", true}}), 3 * std::sqrt(2.0));
  // The first that fits in the file's order, as in PEFT.
  const fs::path config = put_peft() / "adapter_config.json";
  const std::string text = read_file(config);
  write_file(config, "{\"alpha_pattern\": {\"query\": 16, \".*query\": 4}," + text.substr(text.find('{') + 1));
  EXPECT_EQ(load_adapter(folder_ / "adapter").parts.at("").at(kModule).alpha, 16);
}

// As diffusers' training scripts name tensors.
TEST_F(AdapterTest, OlderSpellings) {
  const LowRank pair = modules().at(kModule);
  for (const std::string spelling : {".lora", ".lora_linear_layer"}) {
    TensorMap tensors;
    for (const std::string part : {"unet.", "text_encoder."}) {
      tensors[part + kModule + spelling + ".down.weight"] = pair.a;
      tensors[part + kModule + spelling + ".up.weight"] = pair.b;
    }
    save_safetensors(tensors, folder_ / "old/pytorch_lora_weights.safetensors", {{"format", "pt"}});
    file("---\nbase_model: some/base\n---\n", "old/README.md");
    const Adapter adapter = load_adapter(folder_ / "old");
    for (const char* part : {"unet", "text_encoder"}) {
      expect_same(adapter.parts.at(part).at(kModule).a, pair.a, spelling);
      expect_same(adapter.parts.at(part).at(kModule).b, pair.b, spelling);
      EXPECT_EQ(adapter.parts.at(part).at(kModule).alpha, 2);
    }
  }
}

TEST_F(AdapterTest, RefusesWhatIsNotPlainLora) {
  expect_contains(refused({{"peft_type", "LOHA"}}), "'peft_type': expected \"LORA\"");
  expect_contains(refused({{"use_dora", true}}), "'use_dora': expected null or false, got true");
  expect_contains(refused({{"bias", "lora_only"}}), "'bias': expected \"none\"");
  expect_contains(refused({{"init_lora_weights", "pissa"}}), "'init_lora_weights'");
  for (const char* option : {"modules_to_save", "target_parameters", "trainable_token_indices", "layer_replication",
                             "alora_invocation_tokens"})
    expect_contains(refused({{option, {1}}}), "'" + std::string(option) + "'");
  for (const char* option : {"lora_bias", "use_qalora", "ensure_weight_tying"})
    expect_contains(refused({{option, true}}), "'" + std::string(option) + "'");
  for (const char* option :
       {"arrow_config", "kasa_config", "megatron_config", "monteclora_config", "use_bdlora", "velora_config"})
    expect_contains(refused({{option, {{"a", 1}}}}), "'" + std::string(option) + "'");
  for (const char* initial : {"pissa_niter_4", "olora", "corda", "loftq", "lora_ga"})
    expect_contains(refused({{"init_lora_weights", initial}}), "'init_lora_weights'");
  expect_contains(refused({{"an_option_of_tomorrow", 3}}), "'an_option_of_tomorrow' = 3");
  expect_contains(refused({{"alpha_pattern", {{"(", 9}}}}), "regular expressions");
  expect_contains(refused({{"alpha_pattern", {9, 10}}}), "an object of patterns");
  expect_contains(refused({{"alpha_pattern", {{"query", "9"}}}}), "numbers");
  expect_contains(refused({{"rank_pattern", {{"query", 3}}}}), kModule + ": expected tensors of the stated rank 3");
  expect_contains(refused({{"r", 5}}), "rank 5, got rank 2");
  expect_contains(refused({{"target_modules", {"key"}}}), kModule + ": expected modules that target_modules");
  expect_contains(refused({{"exclude_modules", ".*query"}}), kModule + ": expected modules that target_modules");
  expect_contains(refused({{"target_modules", "("}}), "target_modules: expected regular expressions");
  expect_contains(refused({{"target_modules", {1}}}), "target_modules: expected a pattern or a list of names");
  expect_contains(refused({{"target_modules", ".*"}, {"layers_to_transform", {1}}}), "layers_to_transform");
  EXPECT_NO_THROW(
      load_adapter(put_peft({{"use_dora", false}, {"modules_to_save", nullptr}, {"loftq_config", json::object()}})));

  const auto refused_key = [&](const std::string& key, const at::Tensor& tensor) {
    const fs::path file = put_peft() / "adapter_model.safetensors";
    TensorMap tensors;
    for (const auto& [name, value] : load_safetensors(file)) tensors[name] = value.clone();
    tensors[key] = tensor;
    save_safetensors(tensors, file);
    return error_of<CheckpointError>([&] { load_adapter(folder_ / "adapter"); });
  };
  const std::string below = "base_model.model.";
  expect_contains(refused_key(below + "x.lora_magnitude_vector", golden_values({6})), "'x.lora_magnitude_vector'");
  expect_contains(refused_key(below + "x.lora_embedding_A", golden_values({2, 6})), "'x.lora_embedding_A'");
  expect_contains(refused_key(below + "x.lora_B.bias", golden_values({6})), "'x.lora_B.bias'");
  expect_contains(refused_key("x.lora_A.weight", golden_values({2, 6})), "a key below base_model.model.");
  expect_contains(refused_key(below + "x.lora_A.weight", golden_values({2, 6})), "one of them only");
  expect_contains(refused_key(below + kModule + ".lora_A.weight", golden_values({3, 4})), "two ranks");
  expect_contains(refused_key(below + kModule + ".lora_A.weight", golden_values({0, 4})), "of one rank");
  save_safetensors({}, folder_ / "adapter/adapter_model.safetensors");
  expect_contains(error_of<CheckpointError>([&] { load_adapter(folder_ / "adapter"); }), "got none");
}

TEST_F(AdapterTest, RefusesWhatIsNoAdapterOfAPipeline) {
  const auto refused = [&](const TensorMap& tensors, const std::map<std::string, std::string>& metadata = {}) {
    save_safetensors(tensors, folder_ / "adapter/pytorch_lora_weights.safetensors", metadata);
    return error_of<CheckpointError>([&] { load_adapter(folder_ / "adapter"); });
  };
  const TensorMap plain = {{"unet.a.lora_A.weight", golden_values({2, 4})},
                           {"unet.a.lora_B.weight", golden_values({4, 2})}};
  expect_contains(refused(plain, {{"lora_adapter_metadata", "{"}}), "metadata: expected an object of JSON");
  expect_contains(refused(plain, {{"lora_adapter_metadata", R"({"unet.use_dora": true})"}}), "'use_dora'");
  expect_contains(refused(plain), "base_model: REPOSITORY");
  fs::remove(folder_ / "adapter/pytorch_lora_weights.safetensors");
  fs::copy(kGoldens / "pickled/pytorch_model.bin", folder_ / "adapter/pytorch_lora_weights.bin");
  const std::string pickle = error_of<CheckpointError>([&] { Repository((folder_ / "adapter").string()); });
  expect_contains(pickle, "a key below unet.");
}

// tools/reference/lora.py: what PEFT makes of every form of its options.
TEST(PeftOptions, ChooseWhatPeftChooses) {
  const nlohmann::ordered_json golden =
      nlohmann::ordered_json::parse(read_file(kGoldens.parent_path() / "lora/peft_options.json"));
  ASSERT_GE(golden["cases"].size(), 20u);
  for (const auto& test : golden["cases"]) {
    SCOPED_TRACE(test["options"].dump());
    nlohmann::ordered_json config = test["options"];
    config["peft_type"] = "LORA";
    const PeftOptions options(config, "adapter_config.json");
    for (const std::string module : golden["modules"]) {
      SCOPED_TRACE(module);
      ASSERT_EQ(options.targets(module), test["adapted"].contains(module));
      if (!options.targets(module)) continue;
      const auto rank = test["adapted"][module]["rank"].get<int64_t>();
      EXPECT_NEAR(options.alpha(module, rank) / static_cast<double>(rank),
                  test["adapted"][module]["scale"].get<double>(), 1e-12);
      EXPECT_THROW(options.alpha(module, rank + 1), CheckpointError);
    }
  }
}

TEST_F(AdapterTest, AnOutputLayerThatSharesTheEmbeddingsGetsAMatrixOfItsOwn) {
  const at::Tensor embeddings = golden_values({6, 4});
  TensorMap tensors = {{"text.bert.embeddings.word_embeddings.weight", embeddings.clone()},
                       {"text.cls.predictions.decoder.weight", at::zeros({6, 4})}};  // a repetition, which nobody reads
  add_low_rank(tensors, modules("text.cls.predictions.decoder"), "test");
  const LowRank pair = modules().at(kModule);
  EXPECT_TRUE(at::allclose(tensors.at("text.cls.predictions.decoder.own_weight"),
                           embeddings + 1.5 * at::matmul(pair.b, pair.a)));
  expect_same(tensors.at("text.bert.embeddings.word_embeddings.weight"), embeddings, "embeddings");
}

TEST_F(AdapterTest, TheModelCardNamesTheBase) {
  save_diffusers_adapter(folder_ / "adapter", "", "unet", modules());
  const auto base = [&](const std::string& card) {
    file(card, "adapter/README.md");
    return load_adapter(folder_ / "adapter").base;
  };
  EXPECT_EQ(base("---\nlicense: mit\nbase_model: owner/name\n---\n"), "owner/name");
  EXPECT_EQ(base("---\nbase_model: 'owner/name' \n---\n"), "owner/name");
  EXPECT_EQ(base("---\nbase_model:\n- owner/name\n---\n"), "owner/name");
  EXPECT_EQ(base("\xEF\xBB\xBF---\r\nbase_model:\r\n- owner/name\r\n---\r\n"), "owner/name");
  for (const char* card :
       {"base_model: owner/name\n", "---\n---\nbase_model: owner/name\n", "---\nbase_model:\n---\n", ""})
    EXPECT_THROW(base(card), CheckpointError) << card;
}

TEST_F(AdapterTest, RefusesModulesThatTheBaseLacks) {
  const auto refused = [&](const LowRankMap& modules) {
    TensorMap tensors = read(folder_ / "base");
    return error_of<CheckpointError>([&] { add_low_rank(tensors, modules, "the adapter"); });
  };
  expect_contains(refused(modules("layer.self.value")), "the adapter: layer.self.value");
  expect_contains(refused(modules("layer.conv")), "expected an update of [6, 2, 3, 3], got [6, 4]");
  expect_contains(refused({{kModule, {golden_values({2, 6}), golden_values({4, 2}), 2}}}), "an update of [6, 4]");
  expect_contains(refused(modules("cls.predictions.decoder")), "no such module");
}

TEST_F(AdapterTest, TextModelsHaveALevelMoreOrLess) {
  TensorMap newer = {{"encoder.fc1.weight", at::zeros({6, 4})}},
            older = {{"text_model.encoder.fc1.weight", at::zeros({6, 4})}};
  add_low_rank(newer, modules("text_model.encoder.fc1"), "test");
  add_low_rank(older, modules("encoder.fc1"), "test");
  EXPECT_TRUE(at::equal(newer.begin()->second, older.begin()->second));
  EXPECT_GT(newer.begin()->second.abs().sum().item<double>(), 0);
}

TEST_F(AdapterTest, TheBaseIsLookedForInThreePlaces) {
  EXPECT_NO_THROW(read(put_peft_on((folder_ / "base").string())));
  EXPECT_NO_THROW(read(put_peft_on("../base")));                // below the adapter
  EXPECT_NO_THROW(read(put_peft_on("runs/somewhere/base")));    // beside it
  EXPECT_NO_THROW(read(put_peft_on("/moved/away/from/base")));  // the same
  EXPECT_NO_THROW(read(put_peft_on("/moved/away/from/base") / ""));
  const std::string message = error_of<CheckpointError>([&] { read(put_peft_on("runs/gone")); });
  for (const std::string part : {"base model 'runs/gone'", "the folder runs/gone", "adapter/runs/gone", "/gone"})
    expect_contains(message, part);
  expect_contains(message, "put the base model beside the adapter");
  expect_contains(error_of<CheckpointError>([&] { read(put_peft_on("runs/adapter")); }), "nothing at");  // itself
  expect_contains(error_of<CheckpointError>([&] { read(put_peft_on("")); }), "base_model_name_or_path");
}

TEST_F(AdapterTest, AnAdapterOfAnAdapterIsRefused) {
  fs::rename(put_peft(), folder_ / "first");
  expect_contains(error_of<CheckpointError>([&] { read(put_peft_on("../first")); }), "an adapter of a whole model");
}

TEST_F(AdapterTest, TheDigestCoversAdapterAndBase) {
  const auto digest = [&] { return Repository((folder_ / "adapter").string()).digest(); };
  put_peft();
  const std::string first = digest();
  EXPECT_NE(first, Repository((folder_ / "base").string()).digest());
  EXPECT_EQ(digest(), first);
  LowRankMap other = modules();
  other.at(kModule).b = other.at(kModule).b + 1;  // files of the same size
  save_peft_adapter(folder_ / "adapter", "../base", other);
  const std::string second = digest();
  EXPECT_NE(second, first);
  file("{}", "base/config.json");
  EXPECT_NE(digest(), second);
}

}  // namespace
}  // namespace readback::checkpoint
