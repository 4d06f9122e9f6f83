#include "readback/text/pipeline_tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <limits>
#include <map>

#include "readback/base/error.h"
#include "readback/text/charsmap.h"
#include "readback/text/unicode.h"
#include "tests/source_dir.h"
#include "tests/text/corpus.h"
#include "tests/text/goldens.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using namespace testing;

const fs::path kPipelines = goldens() / "pipelines";

// A case of tools/reference/pipelines.py: a tokenizer.json with some keys replaced, or vocab.json and merges.txt of it.
void write_case(const Folder& folder, const Json& base, const Json& patch, const Json& config) {
  if (patch.is_null()) {
    folder.write("vocab.json", base["model"]["vocab"].dump());
    std::string merges = "#version: 0.2\n";
    for (const Json& merge : base["model"]["merges"]) {
      merges += merge.is_string() ? merge.get<std::string>()
                                  : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
      merges += "\n";
    }
    folder.write("merges.txt", merges);
  } else {
    Json unified = base;
    for (const auto& [key, value] : patch.items()) {
      if (key == "model") {
        unified[key].update(value);
      } else {
        unified[key] = value;
      }
    }
    folder.write("tokenizer.json", unified.dump());
  }
  if (!config.empty()) folder.write("tokenizer_config.json", config.dump());
}

Json base_of(const std::string& kind) { return golden("pipelines/" + kind + ".json"); }

std::unique_ptr<Tokenizer> load_case(const Json& one) {
  static std::map<std::string, Json> bases;
  const std::string kind = one["kind"];
  const Json& base = bases.try_emplace(kind, base_of(kind)).first->second;
  const Folder folder;
  write_case(folder, base, one["patch"], one["config"]);
  return load_tokenizer(folder.path());
}

// Ids and text as the golden values have them: whole for the first case of a kind, as a digest for the others.
Json encoded(const Tokenizer& tokenizer, const std::string& text, bool as_digest) {
  const std::vector<int64_t> ids = tokenizer.encode(text);
  const std::string decoded = tokenizer.decode(ids);
  if (!as_digest) return Json::array({compact(ids), shorten(decoded)});
  Digest both;
  both.add(ids);
  both.add(decoded);
  return both.hex();
}

void expect_answers(const Json& one, const std::vector<std::string>& texts, const Tokenizer& tokenizer) {
  EXPECT_EQ(tokenizer.vocabulary_size(), one["size"]);
  for (const auto& [role, id] : one["special"].items()) EXPECT_EQ(tokenizer.special_id(role), id) << role;
  const std::vector<int64_t> before = one["before"], after = one["after"];
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json& expected = one["encoded"][i];
    EXPECT_EQ(encoded(tokenizer, texts[i], expected.is_string()), expected) << texts[i].substr(0, 200);
    std::vector<int64_t> framed = before, ids = tokenizer.encode(texts[i]);
    framed.insert(framed.end(), ids.begin(), ids.end());
    framed.insert(framed.end(), after.begin(), after.end());
    EXPECT_EQ(tokenizer.encode_with_special_tokens(texts[i]), framed) << texts[i].substr(0, 200);
  }
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

TEST(PipelineTokenizers, EqualTransformersInEveryConfiguration) {
  const Json golden = testing::golden("pipelines/cases.json");
  std::vector<std::string> texts;
  for (const Json& pieces : golden["texts"]) texts.push_back(text_of(pieces));
  for (const std::string hex : golden["invalid"]) texts.push_back(from_hex(hex));
  for (const Json& one : golden["cases"]) {
    const std::string kind = one["kind"];
    SCOPED_TRACE(kind + ": " + one["name"].get<std::string>());
    const auto tokenizer = load_case(one);
    expect_answers(one, texts, *tokenizer);
    Digest all;
    for (size_t i = 0; i < golden[kind + "_ids"].size(); ++i) {
      const std::string decoded = tokenizer->decode(golden[kind + "_ids"][i].get<std::vector<int64_t>>());
      all.add(decoded);
      if (one["decoded"].is_array()) {
        EXPECT_EQ(shorten(decoded), one["decoded"][i]) << golden[kind + "_ids"][i];
      }
    }
    if (one["decoded"].is_string()) {
      EXPECT_EQ(all.hex(), one["decoded"]);
    }
  }
}

TEST(PipelineTokenizers, EqualTransformersOnEveryCaption) {
  SKIP_WITHOUT_SHARED_DATA();
  const Json corpus = golden("pipelines/corpus.json")["files"], cases = golden("pipelines/cases.json")["cases"];
  size_t compared = 0;
  for (const Json& one : cases) {
    const std::string name = one["kind"].get<std::string>() + ": " + one["name"].get<std::string>();
    if (!corpus.front().contains(name)) continue;
    SCOPED_TRACE(name);
    expect_corpus(corpus, tests::shared_data(), name, *load_case(one));
    ++compared;
  }
  EXPECT_EQ(compared, corpus.front().size() - 1);  // its other key counts the texts
}

// What the table makes of every code point, alone and in a cluster with another.
Json table_answers(const Json& unified) {
  const Charsmap table(unified["normalizer"]["precompiled_charsmap"].get<std::string>(), "table");
  Digest alone, after, before, after_byte;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const auto values = [&](const std::u32string& text) {
      const std::u32string mapped = table.apply(text);
      return std::vector<uint32_t>(mapped.begin(), mapped.end());
    };
    alone.add(values({c}));
    after.add(values({0xBD, c}));
    before.add(values({c, 0x301}));
    after_byte.add(values({'|', c}));
  }
  return {
      {"alone", alone.hex()}, {"after", after.hex()}, {"before", before.hex()}, {"after one byte", after_byte.hex()}};
}

TEST(PipelineTokenizers, ATableOfCharactersEqualsTheReferenceEverywhere) {
  EXPECT_EQ(table_answers(base_of("unigram")), golden("pipelines/corpus.json")["table"]);
}

TEST(PipelineTokenizers, EqualTransformersAtFullSize) {
  const char* folder = std::getenv("READBACK_TOKENIZERS");
  if (!folder) {
    GTEST_SKIP() << "READBACK_TOKENIZERS names no folder that `tools/reference/pipelines.py full` has filled";
  }
  std::ifstream stream(fs::path(folder) / "answers.json");
  const Json answers = Json::parse(stream);
  std::vector<std::string> texts;
  for (const Json& pieces : answers["texts"]) texts.push_back(text_of(pieces));
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (!answers.contains(name)) continue;
    SCOPED_TRACE(name);
    const auto tokenizer = load_tokenizer(entry.path());
    expect_answers(answers[name], texts, *tokenizer);
    if (tests::absence_of_shared_data().empty()) {
      expect_corpus(answers["corpus"], tests::shared_data(), name, *tokenizer);
    }
  }
  std::ifstream t5(fs::path(folder) / "t5/tokenizer.json");
  EXPECT_EQ(table_answers(Json::parse(t5)), answers["table"]);
}

// Eight times the length: linear work takes 8 times as long, quadratic 64 times.
TEST(PipelineTokenizers, TakeTimeInProportionToTheText) {
  for (const std::string kind : {"bytes", "unigram", "fallback"}) {
    const auto tokenizer = load_case({{"kind", kind}, {"patch", Json::object()}, {"config", Json::object()}});
    for (const std::string unit : {"a", "ab", "dog ", " ", "\n", "<s>", "\u0301", "'", "\u4e2d"}) {
      const auto processor_time = [&](size_t size) {
        std::string text;
        while (text.size() < size) text += unit;
        std::clock_t best = std::numeric_limits<std::clock_t>::max();
        for (int repeat = 0; repeat < 3; ++repeat) {
          const std::clock_t start = std::clock();
          const std::vector<int64_t> ids = tokenizer->encode(text);
          best = std::min(best, std::clock() - start);
          EXPECT_TRUE(!ids.empty() || kind == "unigram");
        }
        return best;
      };
      EXPECT_LT(processor_time(1 << 17), 32 * processor_time(1 << 14)) << kind << " " << unit;
    }
  }
}

// BERT's and CLIP's loaders are chosen by the file, and frame a text as their models want it.
TEST(LoadTokenizer, KnowsBertAndClip) {
  for (const std::string kind : {"bert", "clip"}) {
    const auto direct = kind == "bert" ? load_bert_tokenizer(goldens() / kind) : load_clip_tokenizer(goldens() / kind);
    Folder unified, plain;
    unified.copy(goldens() / kind / "tokenizer.json");
    for (const char* file : {"vocab.txt", "vocab.json", "merges.txt"}) {
      if (fs::exists(goldens() / kind / file)) plain.copy(goldens() / kind / file);
    }
    plain.write("tokenizer_config.json", kind == "bert" ? R"({"tokenizer_class": "BertTokenizerFast"})"
                                                        : R"({"tokenizer_class": "CLIPTokenizer"})");
    for (const fs::path& folder : {unified.path(), plain.path()}) {
      const auto tokenizer = load_tokenizer(folder);
      const std::vector<int64_t> ids = tokenizer->encode("a red dog");
      EXPECT_EQ(ids, direct->encode("a red dog"));
      std::vector<int64_t> framed = ids;
      framed.insert(framed.begin(), tokenizer->id(kind == "bert" ? "[CLS]" : "<|startoftext|>"));
      framed.push_back(tokenizer->id(kind == "bert" ? "[SEP]" : "<|endoftext|>"));
      EXPECT_EQ(tokenizer->encode_with_special_tokens("a red dog"), framed);
    }
  }
}

void expect_refused(const std::map<std::string, std::string>& files, const std::vector<std::string>& in_message) {
  const Folder folder;
  for (const auto& [name, bytes] : files) folder.write(name, bytes);
  try {
    load_tokenizer(folder.path());
    ADD_FAILURE() << "accepted; expected a message with: " << in_message[0];
  } catch (const CheckpointError& error) {
    for (const std::string& part : in_message) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in: " << error.what();
    }
  }
}

TEST(LoadTokenizer, FoldersThatSayTooLittleAreRefused) {
  expect_refused({}, {"tokenizer_config.json", "GPT2Tokenizer", "none"});
  expect_refused({{"vocab.json", "{}"}, {"merges.txt", ""}}, {"tokenizer_class"});
  expect_refused({{"tokenizer_config.json", R"({"tokenizer_class": "XLMTokenizer"})"}}, {"XLMTokenizer"});
  expect_refused({{"spiece.model", ""}}, {"spiece.model", "save_pretrained"});
  expect_refused({{"tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true})"},
                  {"vocab.json", R"({"a": 0})"},
                  {"merges.txt", ""}},
                 {"bos_token"});
}

// The message names the part, and those that are known.
TEST(LoadTokenizer, UnknownPartsAreNamed) {
  const auto refused = [](const std::string& kind, const Json& patch, const std::vector<std::string>& in_message) {
    Json unified = base_of(kind);
    unified.merge_patch(patch);
    expect_refused({{"tokenizer.json", unified.dump()}}, in_message);
  };
  refused("bytes", {{"normalizer", {{"type", "NFKC"}}}}, {"normalizer", "NFKC", "Precompiled", "Lowercase"});
  refused("bytes", {{"pre_tokenizer", {{"type", "UnicodeScripts"}}}}, {"pre_tokenizer", "UnicodeScripts", "ByteLevel"});
  refused("bytes", {{"decoder", {{"type", "CTC"}}}}, {"decoder", "CTC", "ByteFallback"});
  refused("bytes", {{"post_processor", {{"type", "Other"}}}}, {"post_processor", "Other", "TemplateProcessing"});
  refused("bytes", {{"model", {{"type", "WordLevel"}}}}, {"WordLevel", "BPE, Unigram or WordPiece"});
  refused("bytes", {{"model", {{"dropout", 0.1}}}}, {"dropout"});
  refused("bytes", {{"model", {{"end_of_word_suffix", "@@"}}}}, {"end_of_word_suffix"});
  refused("bytes", {{"model", {{"continuing_subword_prefix", "##"}}}}, {"continuing_subword_prefix"});
  refused("bytes", {{"model", {{"end_of_word_suffix", "</w>"}}}, {"pre_tokenizer", {{"type", "BertPreTokenizer"}}}},
          {"pre_tokenizer", "CLIP", "BertPreTokenizer"});
  refused("bytes", {{"model", {{"merges", {"a zz"}}}}}, {"merges", "zz"});
  refused("unigram", {{"model", {{"unk_id", nullptr}}}}, {"unk_id"});
  refused("unigram", {{"model", {{"unk_id", 100000}}}}, {"unk_id"});
  refused("unigram", {{"model", {{"vocab", {{"a", 1}, {"b"}}}}}}, {"[token, score]"});
  refused("unigram", {{"normalizer", {{"precompiled_charsmap", "?"}}}}, {"base64"});
  refused("unigram", {{"normalizer", {{"precompiled_charsmap", "AAAA"}}}}, {"trie"});
  refused("unigram", {{"normalizer", {{"precompiled_charsmap", "//////8="}}}}, {"trie"});
  refused("unigram", {{"post_processor", {{"special_tokens", {{"</s>", {{"ids", nullptr}}}}}}}},
          {"post_processor", "</s>"});
  refused("unigram", {{"post_processor", {{"single", Json::array()}}}}, {"with the sequence"});
  refused("unigram", {{"decoder", {{"prepend_scheme", "last"}, {"replacement", "ab"}}}}, {"decoder", "one character"});
  refused("unigram", {{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}}}},
          {"prepend_scheme", "last"});
}

TEST(LoadTokenizer, SplitsThatMeanAnotherThingElsewhereAreRefused) {
  const auto refused = [](const Json& pattern, const std::string& behavior, const std::string& in_message) {
    Json unified = base_of("bytes");
    unified["pre_tokenizer"] = {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", false}};
    expect_refused({{"tokenizer.json", unified.dump()}}, {"pre_tokenizer", in_message});
  };
  refused({{"Regex", "\\p{Lu}+"}}, "Isolated", "p{Lu}");
  refused({{"Regex", "\\w+"}}, "Isolated", "\\w");
  refused({{"Regex", "(a"}}, "Isolated", "regular expression");
  refused({{"Regex", "a\\"}}, "Isolated", "\\");
  refused({{"String", ""}}, "Isolated", "a string to look for");
  refused("a", "Isolated", "a String or a Regex");
  refused({{"String", "a"}}, "Halved", "Halved");
  Json deep = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
  for (int i = 0; i < 20; ++i) deep = {{"type", "Sequence"}, {"pretokenizers", {deep}}};
  Json unified = base_of("bytes");
  unified["pre_tokenizer"] = deep;
  expect_refused({{"tokenizer.json", unified.dump()}}, {"deep"});
}

// The library the goldens come from dies of this one.
TEST(PipelineTokenizers, StripAtTheEndTakesAtMostWhatIsThere) {
  Json unified = base_of("fallback");
  unified["decoder"] = {{"type", "Strip"}, {"content", "a"}, {"start", 1}, {"stop", 2}};
  const Folder folder;
  folder.write("tokenizer.json", unified.dump());
  const auto tokenizer = load_tokenizer(folder.path());
  const int64_t a = tokenizer->id("a");
  EXPECT_EQ(tokenizer->decode({a}), "");
  EXPECT_EQ(tokenizer->decode({tokenizer->id("b"), a}), "b");
}

TEST(PipelineTokenizers, AnUnknownTokenThatIsNotThereIsMissedWhereItIsNeeded) {
  const Folder folder;
  folder.write("tokenizer.json",
               R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "<none>"}})");
  const auto tokenizer = load_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->encode("aa"), (std::vector<int64_t>{0, 0}));
  EXPECT_THROW(tokenizer->encode("ab"), DataError);
}

}  // namespace
}  // namespace readback::text
