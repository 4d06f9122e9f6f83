#include "readback/train/vocabulary_bridge.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "readback/base/assets.h"
#include "readback/base/error.h"
#include "readback/data/emoji_scenes.h"
#include "readback/train/soft_tokens.h"
#include "readback/train/trained_parameters.h"
#include "tests/source_dir.h"

namespace readback::train {
namespace {

namespace fs = std::filesystem;

class SmallWorldBridge : public testing::Test {
 protected:
  const fs::path folder = assets_dir() / "emoji-scenes";
  std::unique_ptr<text::Tokenizer> captioner = text::load_bert_tokenizer(folder / "captioner");
  std::unique_ptr<text::Tokenizer> generator = text::load_clip_tokenizer(folder / "generator/tokenizer");
  Vocabularies vocabularies{*captioner, *generator, 156, 154, 3};
};

TEST_F(SmallWorldBridge, FollowsTheRule) {
  const VocabularyBridge bridge = build_bridge(vocabularies);
  ASSERT_EQ(bridge.map.numel(), generator->vocabulary_size());
  const auto mapped = [&](const std::string& token) {
    return captioner->token(bridge.map[generator->id(token)].item<int64_t>());
  };
  for (const std::string& word : data::vocabulary()) EXPECT_EQ(mapped(word + "</w>"), word);
  EXPECT_EQ(mapped("a"), "##a");
  EXPECT_EQ(mapped("a</w>"), "a");
  EXPECT_EQ(mapped("!</w>"), "!");
  EXPECT_EQ(mapped("rock"), "[UNK]");   // a piece of rocket that BERT has not
  EXPECT_EQ(mapped("Ã</w>"), "[UNK]");  // half a character
  EXPECT_EQ(mapped("<|startoftext|>"), "[DEC]");
  EXPECT_EQ(mapped("<|endoftext|>"), "[SEP]");
}

TEST_F(SmallWorldBridge, SaysWhatItCoversAndRefusesTooLittle) {
  const VocabularyBridge bridge = build_bridge(vocabularies);
  // Everything but the four special tokens without a counterpart ([PAD] [CLS] [MASK] [ENC]), [UNK] itself, and the
  // digits' continuations that are there, too.
  EXPECT_EQ(bridge.reached(), 156 - 5);
  EXPECT_NEAR(bridge.coverage(), 151.0 / 156, 1e-12);
  EXPECT_NO_THROW(expect_coverage(bridge, 0.5));
  VocabularyBridge empty = bridge;
  empty.map = at::full_like(bridge.map, bridge.unknown);
  empty.map[0] = 20;
  try {
    expect_coverage(empty, 0.1);
    FAIL() << "a bridge of one token was accepted";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("1 of the generator's 700 tokens, 0.6 %"), std::string::npos)
        << error.what();
  }
}

TEST_F(SmallWorldBridge, AMapOfAnotherVocabularyIsRefused) {
  SKIP_WITHOUT_SHARED_DATA("paper-protocol/reindex.pth");
  const fs::path path = tests::shared_data("paper-protocol/reindex.pth");
  EXPECT_THROW(load_bridge(path, vocabularies), CheckpointError);
}

// Looks like Stable Diffusion's vocabulary from outside.
class SizedTokenizer : public text::Tokenizer {
 public:
  explicit SizedTokenizer(int64_t size) : size_(size) {}
  std::vector<int64_t> encode(std::string_view) const override { return {}; }
  std::string decode(const std::vector<int64_t>&) const override { return ""; }
  int64_t vocabulary_size() const override { return size_; }
  int64_t id(std::string_view token) const override { return token == "[UNK]" ? 100 : -1; }
  const std::string& token(int64_t) const override { return none_; }

 private:
  int64_t size_;
  std::string none_;
};

TEST(VocabularyBridge, ReadsTheAuthorsMap) {
  SKIP_WITHOUT_SHARED_DATA("paper-protocol/reindex.pth");
  const fs::path path = tests::shared_data("paper-protocol/reindex.pth");
  const SizedTokenizer captioner(30524), generator(49408);
  const VocabularyBridge bridge = load_bridge(path, {captioner, generator, 30524, 30522, 102});
  EXPECT_EQ(bridge.map.numel(), 49408);
  EXPECT_EQ(bridge.counterparts(), 20525);
  EXPECT_EQ(bridge.reached(), 20525);
  EXPECT_EQ(bridge.map[49406].item<int64_t>(), 30522);
  EXPECT_EQ(bridge.map[49407].item<int64_t>(), 102);
  EXPECT_EQ(bridge.map[320].item<int64_t>(), 1037);  // "a</w>" is "a"
  EXPECT_THROW(load_bridge(path, {captioner, generator, 30000, 29999, 102}), CheckpointError);
}

// Both variants against the long way round: gathering into the generator's vocabulary first.
TEST(SoftTokens, AreTheGatheredOnes) {
  const at::Tensor map = at::tensor({3, 1, 1, 0, 4, 1, 3}, at::kLong);
  const at::Tensor embedding = at::sin(at::arange(7 * 3)).view({7, 3}),
                   logits = at::cos(at::arange(10)).view({1, 2, 5});
  const VocabularyBridge bridge{map, 1, 5};
  const at::Tensor scaled = logits / 0.7;
  const at::Tensor probabilities = at::matmul(at::softmax(scaled, -1).index_select(2, map), embedding);
  const at::Tensor by_logits = at::matmul(at::softmax(scaled.index_select(2, map), -1), embedding);
  EXPECT_TRUE(
      at::allclose(SoftTokens(bridge, embedding, SoftTokenVariant::kProbabilities)(logits, 0.7), probabilities));
  EXPECT_TRUE(at::allclose(SoftTokens(bridge, embedding, SoftTokenVariant::kLogits)(logits, 0.7), by_logits));
}

TEST(TrainedParameters, ByNameOrAnError) {
  const std::map<std::string, at::Tensor> captioner = {
      {"text_decoder.bert.encoder.layer.0.attention.self.query.weight", {}},
      {"text_decoder.bert.encoder.layer.0.crossattention.self.query.weight", {}},
      {"text_decoder.bert.encoder.layer.0.crossattention.self.key.bias", {}},
      {"text_decoder.bert.encoder.layer.0.crossattention.self.value.bias", {}},
      {"text_decoder.bert.encoder.layer.0.crossattention.output.dense.bias", {}}};
  const auto count = [&](const char* name) {
    return select_parameters(captioner, tunable("BlipForConditionalGeneration"),
                             parse_enum<Selection>("train_captioner", name))
        .size();
  };
  EXPECT_EQ(count("xattn_q"), 1u);
  EXPECT_EQ(count("xattn_kv"), 2u);
  EXPECT_EQ(count("xattn_qkv"), 3u);
  EXPECT_EQ(count("all"), 5u);
  EXPECT_EQ(count("none"), 0u);
  EXPECT_EQ(count("bridge"), 4u);
  EXPECT_THROW(count("xattn"), UsageError);
  EXPECT_THROW(select_parameters({{"vision_model.layer.0.query.weight", {}}}, tunable("BlipForConditionalGeneration"),
                                 Selection::kXattnQ),
               CheckpointError);
  EXPECT_THROW(select_parameters(captioner, tunable("UNet2DConditionModel"), Selection::kXattnQ), CheckpointError);
}

}  // namespace
}  // namespace readback::train
