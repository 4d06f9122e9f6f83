#include "readback/text/vocabulary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "readback/base/files.h"
#include "readback/text/tokenizer.h"
#include "tests/text/goldens.h"

namespace readback::text {
namespace {

using namespace testing;

std::vector<std::string> words() { return golden("written.json")["words"]; }

// `tools/reference/text.py written` reads the vocabularies that are kept on request.
void keep(const std::filesystem::path& folder, const char* kind) {
  if (const char* kept = std::getenv("READBACK_KEEP_VOCABULARIES")) {
    std::filesystem::copy(folder, std::filesystem::path(kept) / kind, std::filesystem::copy_options::recursive);
  }
}

// Through both ways of loading: tokenizer.json, and the plain files without it.
template <typename Load, typename Check>
void load_both_ways(const std::filesystem::path& folder, Load load, Check check) {
  check(*load(folder));
  const Folder plain;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename() != "tokenizer.json") plain.copy(entry.path());
  }
  check(*load(plain.path()));
}

// What transformers read out of the same vocabulary.
void expect_as_transformers(const Tokenizer& tokenizer, const std::string& kind) {
  const Json written = golden("written.json"), &texts = written["texts"], &expected = written[kind];
  ASSERT_FALSE(texts.empty());
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<int64_t> ids = tokenizer.encode(texts[i].get<std::string>());
    EXPECT_EQ(Json(ids), expected["ids"][i]) << texts[i];
    EXPECT_EQ(tokenizer.decode(ids), expected["decoded"][i].get<std::string>());
  }
  EXPECT_EQ(tokenizer.vocabulary_size(), expected["size"]);
  EXPECT_EQ(tokenizer.max_length(), expected["model_max_length"]);
  for (const auto& [role, id] : expected["special"].items()) EXPECT_EQ(tokenizer.special_id(role), id) << role;
}

TEST(BertVocabulary, TransformersReadsTheSameIds) {
  const Folder folder;
  write_bert_vocabulary(folder.path(), words(), 32);
  keep(folder.path(), "bert");
  load_both_ways(folder.path(), load_bert_tokenizer,
                 [](const Tokenizer& tokenizer) { expect_as_transformers(tokenizer, "bert"); });
}

TEST(BertVocabulary, WordsAreOneTokenAndTheRestHasASpelling) {
  const Folder folder;
  write_bert_vocabulary(folder.path(), words());
  const auto tokenizer = load_bert_tokenizer(folder.path());
  for (const char* word : {"red", "heart", "left", "of", "cafe", "ice", "cream", "dog", "abcd", "crab"}) {
    EXPECT_EQ(tokenizer->encode(word).size(), 1u) << word;
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("zebra 42!")), "zebra 42!");
  const int64_t unknown = tokenizer->id("[UNK]");
  for (char c = ' '; c <= '~'; ++c) {
    for (const int64_t id : tokenizer->encode(std::string("x") + c + "y")) EXPECT_NE(id, unknown) << c;
  }
}

TEST(BertVocabulary, BlipsExtraTokensAreLast) {
  const Folder folder;
  write_bert_vocabulary(folder.path(), words());
  const auto tokenizer = load_bert_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->id("[PAD]"), 0);
  EXPECT_EQ(tokenizer->id("[DEC]"), tokenizer->vocabulary_size() - 2);
  EXPECT_EQ(tokenizer->id("[ENC]"), tokenizer->vocabulary_size() - 1);
  EXPECT_EQ(tokenizer->special_id("bos_token"), tokenizer->id("[DEC]"));
  EXPECT_EQ(tokenizer->special_id("sep_token"), tokenizer->id("[SEP]"));
}

TEST(ClipVocabulary, TransformersReadsTheSameIds) {
  const Folder folder;
  write_clip_vocabulary(folder.path(), words(), 16);
  keep(folder.path(), "clip");
  load_both_ways(folder.path(), load_clip_tokenizer,
                 [](const Tokenizer& tokenizer) { expect_as_transformers(tokenizer, "clip"); });
}

TEST(ClipVocabulary, WordsAreOneTokenWhateverTheirOrder) {
  for (const bool reversed : {false, true}) {
    std::vector<std::string> ordered = words();
    if (reversed) std::reverse(ordered.begin(), ordered.end());
    const Folder folder;
    write_clip_vocabulary(folder.path(), ordered);
    const auto tokenizer = load_clip_tokenizer(folder.path());
    for (const char* word :
         {"red", "heart", "left", "of", "café", "ice", "cream", "dog", "abcd", "bcx", "'s", "\U0001F980"}) {
      EXPECT_EQ(tokenizer->encode(word).size(), 1u) << word;
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("Zebra 42 ½!")), "zebra 4 2 ½ !");
  }
}

TEST(ClipVocabulary, HasTheBytesFirstAndTheMarksLast) {
  const Folder folder;
  write_clip_vocabulary(folder.path(), words(), 16);
  const auto tokenizer = load_clip_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->id("!"), 0);
  EXPECT_EQ(tokenizer->id("!</w>"), 256);
  EXPECT_EQ(tokenizer->special_id("bos_token"), tokenizer->vocabulary_size() - 2);
  EXPECT_EQ(tokenizer->special_id("eos_token"), tokenizer->vocabulary_size() - 1);
  EXPECT_EQ(tokenizer->special_id("pad_token"), tokenizer->vocabulary_size() - 1);
  EXPECT_EQ(tokenizer->max_length(), 16);
}

TEST(Vocabulary, IsTheSameEachTime) {
  const Folder first, second;
  for (const Folder* folder : {&first, &second}) {
    write_bert_vocabulary(folder->path() / "bert", words());
    write_clip_vocabulary(folder->path() / "clip", words());
  }
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(first.path())) {
    if (!entry.is_regular_file()) continue;
    const auto relative = std::filesystem::relative(entry.path(), first.path());
    names.insert(relative.string());
    EXPECT_EQ(read_file(entry.path()), read_file(second.path() / relative)) << relative;
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"bert/special_tokens_map.json", "bert/tokenizer.json", "bert/tokenizer_config.json",
                                   "bert/vocab.txt", "clip/merges.txt", "clip/special_tokens_map.json",
                                   "clip/tokenizer.json", "clip/tokenizer_config.json", "clip/vocab.json"}));
}

}  // namespace
}  // namespace readback::text
