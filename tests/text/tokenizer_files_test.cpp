#include "readback/text/tokenizer_files.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "readback/text/tokenizer.h"
#include "tests/text/goldens.h"

namespace readback::text {
namespace {

using namespace testing;

void expect_refused(const std::string& kind, const std::map<std::string, std::string>& files,
                    const std::string& in_message) {
  const Folder folder;
  for (const auto& [name, bytes] : files) folder.write(name, bytes);
  try {
    kind == "bert" ? load_bert_tokenizer(folder.path()) : load_clip_tokenizer(folder.path());
    ADD_FAILURE() << "accepted; expected a message with: " << in_message;
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find(in_message), std::string::npos) << error.what();
  }
}

TEST(TokenizerFiles, AFolderWithoutAVocabularyIsRefused) {
  expect_refused("bert", {}, "tokenizer.json or vocab.txt");
  expect_refused("clip", {{"tokenizer_config.json", "{}"}}, "tokenizer.json or vocab.json");
  expect_refused("clip", {{"vocab.json", R"({"<|endoftext|>": 0})"}}, "merges.txt");
}

TEST(TokenizerFiles, TheOtherModelIsRefused) {
  const std::string bert = R"({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}})";
  const std::string clip = R"({"model": {"type": "BPE", "vocab": {"<|endoftext|>": 0}, "merges": []}})";
  expect_refused("clip", {{"tokenizer.json", bert}}, "a model of type BPE");
  expect_refused("bert", {{"tokenizer.json", clip}}, "a model of type WordPiece");
}

TEST(TokenizerFiles, HostileFilesAreRefused) {
  const std::string end = R"("<|endoftext|>": 0)";
  for (const std::string text :
       {"", "{", "[]", "null", "{}", R"({"model": 3})", R"({"model": {"vocab": 3}})",
        R"({"model": {"vocab": {"a": -1}}})", R"({"model": {"vocab": {"a": 1.5}}})",
        R"({"model": {"vocab": {"a": 99999999999999}}})", R"({"model": {"vocab": {"a": "1"}}})",
        R"({"model": {"vocab": {"[UNK]": 0}}, "added_tokens": [3]})",
        R"({"model": {"vocab": {"[UNK]": 0}}, "added_tokens": [{"content": "x"}]})",
        R"({"model": {"vocab": {"[UNK]": 0}}, "added_tokens": 3})", "{\"model\": {\"vocab\": {\"\xff\": 0}}}"}) {
    SCOPED_TRACE(text);
    expect_refused("bert", {{"tokenizer.json", text}}, "tokenizer.json");
  }
  for (const std::string merges :
       {R"([["a"]])", R"([["a", 3]])", R"(["ab"])", R"(["a b c"])", R"([3])", R"({"a": 1})"}) {
    SCOPED_TRACE(merges);
    expect_refused("clip", {{"tokenizer.json", "{\"model\": {\"vocab\": {" + end + "}, \"merges\": " + merges + "}}"}},
                   "tokenizer.json");
  }
  expect_refused("clip", {{"vocab.json", "{" + end + "}"}, {"merges.txt", "a b\n"}},
                 "merges of tokens in the vocabulary");
  expect_refused("clip", {{"vocab.json", "{" + end + "}"}, {"merges.txt", "#version: 0.2\n\na b\n"}}, "two tokens");
  expect_refused("bert", {{"vocab.txt", "[UNK]\n\xff\n"}}, "UTF-8");
  expect_refused("bert", {{"vocab.txt", "a\nb\n"}}, "unknown token");
}

TEST(TokenizerFiles, WrongTypesInTheConfigurationAreRefused) {
  for (const std::string config :
       {R"({"do_lower_case": "yes"})", R"({"strip_accents": 1})", R"({"added_tokens_decoder": []})",
        R"({"added_tokens_decoder": {"x": {"content": "y"}}})", R"({"added_tokens_decoder": {"3": {}}})",
        R"({"cls_token": {"content": 3}})", R"({"padding_side": "left"})", R"({"truncation_side": "left"})", "[]"}) {
    SCOPED_TRACE(config);
    expect_refused("bert", {{"vocab.txt", "[UNK]\n"}, {"tokenizer_config.json", config}}, "tokenizer_config.json");
  }
  expect_refused("bert", {{"vocab.txt", "[UNK]\n"}, {"added_tokens.json", R"({"x": -3})"}}, "added_tokens.json");
}

TEST(TokenizerFiles, EveryTruncationOfAFileIsRefusedOrRead) {
  std::ifstream stream(goldens() / "bert/tokenizer.json", std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(stream), {}};
  for (size_t size = 0; size + 1 < whole.size(); size += 997) {
    const Folder folder;
    folder.write("tokenizer.json", whole.substr(0, size));
    EXPECT_THROW(load_bert_tokenizer(folder.path()), CheckpointError) << size;
  }
}

TEST(TokenizerFiles, LinesMayEndAsOnWindows) {
  const Folder folder;
  folder.write("vocab.txt", "[PAD]\r\n[UNK]\r\ndog \r\n");
  const auto tokenizer = load_bert_tokenizer(folder.path());
  EXPECT_EQ(tokenizer->encode("dog cat"), (std::vector<int64_t>{2, 1}));
}

// Blank lines count where a line's number is an id, and are nothing at the end of merges.
TEST(TokenizerFiles, MarksAreDroppedAndBlankLinesAreJudged) {
  const Folder bert;
  bert.write("vocab.txt",
             "\xEF\xBB\xBF"
             "[PAD]\r\n[UNK]\r\n\r\ndog");
  EXPECT_EQ(load_bert_tokenizer(bert.path())->encode("dog cat"), (std::vector<int64_t>{3, 1}));
  const Folder clip;
  clip.write("vocab.json", R"({"a": 0, "b</w>": 1, "ab</w>": 2, "<|endoftext|>": 3})");
  clip.write("merges.txt",
             "\xEF\xBB\xBF"
             "#version: 0.2\r\na b</w>\r\n\r\n");
  EXPECT_EQ(load_clip_tokenizer(clip.path())->encode("ab"), (std::vector<int64_t>{2}));
  expect_refused("bert", {{"vocab.txt", std::string("\xFF\xFE[\0", 4)}}, "got UTF-16");
}

TEST(TokenizerFiles, LengthsBeyondAnyTextAreNone) {
  const Folder folder;
  folder.write("vocab.txt", "[UNK]\n");
  folder.write("tokenizer_config.json", R"({"model_max_length": 1000000000000000019884624838656})");
  EXPECT_EQ(load_bert_tokenizer(folder.path())->max_length(), -1);
  folder.write("tokenizer_config.json", R"({"model_max_length": 77})");
  EXPECT_EQ(load_bert_tokenizer(folder.path())->max_length(), 77);
}

}  // namespace
}  // namespace readback::text
