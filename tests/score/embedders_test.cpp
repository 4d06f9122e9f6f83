// DINO and sentence encoders against transformers and sentence-transformers
// (tools/reference/{image_metrics,sentence}.py).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "../device.h"
#include "../models/hashed.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/score/dino_embedder.h"
#include "readback/score/sentence_embedder.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;
using checkpoint::Repository;

const fs::path kGoldens = tests::source_dir() / "tests/goldens";
const fs::path kSentence = kGoldens / "score/sentence";

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).cpu().abs().max().item<double>(); }

// A copy of the golden repository that a test may change.
struct Copy {
  fs::path path = fs::temp_directory_path() / ("readback-sentence-" + std::to_string(getpid()));
  Copy() { fs::copy(kSentence, path, fs::copy_options::recursive); }
  ~Copy() { fs::remove_all(path); }
  void write(const char* file, const nlohmann::json& content) const { write_file(path / file, content.dump()); }
  SentenceEmbedder open() const { return {Repository(path.string()), test_device(), at::kFloat}; }
};

std::vector<std::string> golden_texts() { return read_json(kSentence / "texts.json"); }

TEST(SentenceEmbedder, AsSentenceTransformers) {
  at::set_num_threads(1);
  const auto golden = checkpoint::load_safetensors(kSentence / "golden.safetensors");
  SentenceEmbedder embedder(Repository(kSentence.string()), test_device(), at::kFloat);
  EXPECT_EQ(embedder.max_tokens(), 20);
  const std::vector<std::string> texts = golden_texts();
  const Embeds embeds = embedder.embed_texts(texts);
  EXPECT_LT(difference(embeds.projected, golden.at("embeddings")), 1e-5);
  EXPECT_GT(embedder.truncated(), 0);  // the long one
  EXPECT_LT(difference(embeds.projected, embeds.pooled / embeds.pooled.norm(2, {1}, true)), 1e-6);
  EXPECT_GT(difference(embeds.projected, embeds.pooled), 0.1);
  for (size_t i = 0; i < texts.size(); ++i) {
    const Embeds alone = embedder.embed_texts(std::span(&texts[i], 1));
    EXPECT_LT(difference(alone.projected[0], embeds.projected[static_cast<int64_t>(i)]), 1e-6) << texts[i];
  }
  EXPECT_EQ(embedder.embed_texts({}).projected.size(0), 0);
}

TEST(SentenceEmbedder, PaddingIsNotSeen) {
  at::set_num_threads(1);
  const auto golden = checkpoint::load_safetensors(kSentence / "golden.safetensors");
  const Repository repository(kSentence.string());
  const nn::Weights weights(repository.tensors(), test_device(), at::kFloat, "sentence");
  const models::Bert bert(models::BertConfig::read({repository.json(), "config.json"}), weights);
  weights.finish();
  at::NoGradGuard no_grad;
  const at::TensorOptions whole = at::TensorOptions(at::kLong).device(test_device());
  const at::Tensor lengths = at::tensor({5, 3}, at::kLong).to(test_device());
  const at::Tensor hidden = bert.forward(golden.at("input_ids").to(test_device()), lengths).cpu();
  EXPECT_LT(difference(hidden[0], golden.at("hidden")[0]), 1e-5);
  EXPECT_LT(difference(hidden[1].narrow(0, 0, 3), golden.at("hidden")[1].narrow(0, 0, 3)), 1e-5);
  EXPECT_THROW(bert.forward(at::zeros({1, 25}, whole)), UsageError);
}

// Measured: 3.1 roundoffs in bfloat16 and 3.4 in float16; without the bias 33 and 260.
TEST(SentenceEmbedder, AsSentenceTransformersInHalfPrecision) {
  at::set_num_threads(1);
  const auto golden = checkpoint::load_safetensors(kSentence / "golden.safetensors");
  const Copy broken;
  checkpoint::TensorMap tensors = checkpoint::load_safetensors(kSentence / "model.safetensors");
  at::Tensor& bias = tensors.at("encoder.layer.0.intermediate.dense.bias");
  bias = at::zeros_like(bias);
  checkpoint::save_safetensors(tensors, broken.path / "changed.safetensors");
  fs::rename(broken.path / "changed.safetensors", broken.path / "model.safetensors");
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const auto error = [&](const fs::path& folder) {
      SentenceEmbedder embedder(Repository(folder.string()), test_device(), dtype);
      return error_in(dtype, embedder.embed_texts(golden_texts()).projected, golden.at("embeddings"));
    };
    EXPECT_LT(error(kSentence), tolerance(dtype, 8)) << dtype;
    EXPECT_GT(error(broken.path), tolerance(dtype, 16)) << dtype;
  }
}

TEST(SentenceEmbedder, ReadsTheLayoutOfRelease6) {
  at::set_num_threads(1);
  const auto golden = checkpoint::load_safetensors(kSentence / "golden.safetensors");
  const Copy copy;
  fs::copy(kSentence / "v6", copy.path, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  SentenceEmbedder embedder = copy.open();
  EXPECT_EQ(embedder.max_tokens(), 20);  // model_max_length of the tokenizer
  EXPECT_LT(difference(embedder.embed_texts(golden_texts()).projected, golden.at("embeddings")), 1e-5);
}

TEST(SentenceEmbedder, PoolsTheClassTokenAndLowersCaseWhenTold) {
  at::set_num_threads(1);
  const auto golden = checkpoint::load_safetensors(kSentence / "golden.safetensors");
  const Copy copy;
  copy.write("1_Pooling/config.json", {{"embedding_dimension", 16}, {"pooling_mode", "cls"}});
  EXPECT_LT(difference(copy.open().embed_texts(golden_texts()).projected, golden.at("embeddings-cls")), 1e-5);
  copy.write("tokenizer_config.json", {{"do_lower_case", false}});
  fs::remove(copy.path / "tokenizer.json");
  const std::vector<std::string> same = {"A MAN RIDING", "a man riding"};
  const at::Tensor cased = copy.open().embed_texts(same).projected;
  EXPECT_GT(difference(cased[0], cased[1]), 0.01);
  copy.write("sentence_bert_config.json", {{"max_seq_length", 20}, {"do_lower_case", true}});
  const at::Tensor lowered = copy.open().embed_texts(same).projected;
  EXPECT_LT(difference(lowered[0], lowered[1]), 1e-6);
}

TEST(SentenceEmbedder, RefusesWhatItDoesNotKnow) {
  const Copy copy;
  const nlohmann::json modules = read_json(copy.path / "modules.json");
  nlohmann::json dense = modules;
  dense.push_back({{"path", "3_Dense"}, {"type", "sentence_transformers.models.Dense"}});
  copy.write("modules.json", dense);
  EXPECT_THROW(copy.open(), CheckpointError);
  copy.write("modules.json", modules);
  copy.write("1_Pooling/config.json", {{"pooling_mode", "max"}});
  EXPECT_THROW(copy.open(), CheckpointError);
  copy.write("1_Pooling/config.json", {{"pooling_mode_mean_tokens", true}, {"pooling_mode_max_tokens", true}});
  EXPECT_THROW(copy.open(), CheckpointError);
  copy.write("1_Pooling/config.json", {{"pooling_mode", "mean"}});
  copy.write("config_sentence_transformers.json", {{"default_prompt_name", "query"}});
  EXPECT_THROW(copy.open(), CheckpointError);
  copy.write("config_sentence_transformers.json", {{"default_prompt_name", nullptr}});
  EXPECT_THROW(copy.open().embed_images({}), UsageError);
  EXPECT_THROW(SentenceEmbedder(Repository((kGoldens / "models/clip").string()), test_device(), at::kFloat),
               CheckpointError);
}

// On a real repository; `tools/reference/sentence.py measure` makes the files.
TEST(SentenceEmbedder, RealWeightsAsSentenceTransformers) {
  const char *repository = std::getenv("READBACK_SENTENCE_REPOSITORY"), *out = std::getenv("READBACK_SENTENCE_VECTORS");
  if (repository == nullptr || out == nullptr) GTEST_SKIP() << "READBACK_SENTENCE_REPOSITORY and _VECTORS are not set";
  const at::Tensor expected = checkpoint::load_safetensors(std::string(out) + ".safetensors").at("embeddings");
  std::vector<std::string> texts;
  std::ifstream file(std::string(out) + ".txt");
  for (std::string line; std::getline(file, line);) texts.push_back(line);
  SentenceEmbedder embedder(Repository(repository), test_device(), at::kFloat);
  const at::Tensor vectors = embedder.embed_texts(texts).projected;
  ASSERT_EQ(vectors.sizes(), expected.sizes());
  const auto cosines = [](const at::Tensor& x) { return at::mm(x.to(at::kDouble), x.to(at::kDouble).t()); };
  const double error = difference(cosines(vectors), cosines(expected));
  RecordProperty("largest_difference_of_cosines", fmt::format("{:.2e}", error));
  EXPECT_LT(error, 1e-6);
}

TEST(DinoEmbedder, ClassTokensOfAnyNumberOfPictures) {
  at::set_num_threads(1);
  const Repository repository((kGoldens / "models/dino").string());
  DinoEmbedder embedder(repository, test_device(), at::kFloat);
  const image::Image a = models::picture(40, 30, 1), b = models::picture(24, 24, 2);
  std::vector<const image::Image*> images(130, &a);  // several batches
  images.back() = &b;
  const Embeds embeds = embedder.embed_images(images);
  ASSERT_EQ(embeds.pooled.sizes(), at::IntArrayRef({130, 32}));
  const nn::Weights weights(repository.tensors(), test_device(), at::kFloat, "dino");
  const models::Dino dino(models::DinoConfig::read({repository.json(), "config.json"}), weights);
  at::NoGradGuard no_grad;
  const auto pixels = image::preprocess(b, image::read_preprocess_options(repository)).unsqueeze(0);
  EXPECT_LT(difference(embeds.pooled[129], dino.forward(pixels.to(test_device())).cpu()[0][0]), 1e-5);
  EXPECT_LT(difference(embeds.pooled[0], embeds.pooled[128]), 1e-5);
  EXPECT_GT(difference(embeds.pooled[0], embeds.pooled[129]), 1e-2);
  EXPECT_EQ(embedder.embed_images({}).pooled.size(0), 0);
  EXPECT_THROW(embedder.embed_texts({}), UsageError);
}

TEST(DinoEmbedder, SqueezesToAnotherSizeWhenTold) {
  at::set_num_threads(1);
  const Repository repository((kGoldens / "models/dino").string());
  DinoEmbedder native(repository, test_device(), at::kFloat), same(repository, test_device(), at::kFloat, {.side = 24});
  DinoEmbedder larger(repository, test_device(), at::kFloat, {.side = 36});
  const image::Image picture = models::picture(40, 30, 1);
  const image::Image* images[] = {&picture};
  const at::Tensor expected = native.embed_images(images).pooled;
  EXPECT_LT(difference(same.embed_images(images).pooled, expected), 1e-6);
  EXPECT_GT(difference(larger.embed_images(images).pooled, expected), 1e-3);
  EXPECT_THROW(DinoEmbedder(repository, test_device(), at::kFloat, {.side = 3}), UsageError);
  EXPECT_THROW(DinoEmbedder(Repository((kGoldens / "models/blip").string()), test_device(), at::kFloat),
               CheckpointError);
}

}  // namespace
}  // namespace readback::score
