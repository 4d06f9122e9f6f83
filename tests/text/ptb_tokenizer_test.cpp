// Against the tokens of Stanford CoreNLP 3.4.1 (tools/reference/ptb.py).
#include "readback/text/ptb_tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "readback/base/files.h"
#include "readback/base/random.h"
#include "tests/source_dir.h"
#include "tests/text/goldens.h"

namespace readback::text {
namespace {

using testing::Json;
using Captions = std::vector<std::string>;

std::string joined(const std::vector<std::string>& tokens) {
  std::string result;
  for (const std::string& token : tokens) result += (result.empty() ? "" : " ") + token;
  return result;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

TEST(PtbTokenizer, EqualsCoreNlpOnHardCases) {
  const Json cases = testing::golden("ptb.json")["cases"];
  ASSERT_GT(cases.size(), 400u);
  for (const Json& entry : cases) EXPECT_EQ(joined(ptb_tokens(entry[0].get<std::string>())), entry[1]) << entry[0];
}

TEST(PtbTokenizer, ReadsIllFormedUtf8AsJavaDoes) {
  const Json cases = testing::golden("ptb.json")["bytes"];
  ASSERT_FALSE(cases.empty());
  for (const Json& entry : cases) {
    EXPECT_EQ(joined(ptb_tokens(from_hex(entry[0]))), entry[1]) << entry[0];
  }
}

TEST(PtbTokenizer, TheNextCaptionIsContext) {
  const Json cases = testing::golden("ptb.json")["contexts"];
  ASSERT_FALSE(cases.empty());
  for (const Json& entry : cases) {
    Captions tokens;
    for (const auto& caption : ptb_tokens(entry["captions"].get<Captions>())) tokens.push_back(joined(caption));
    EXPECT_EQ(Json(tokens), entry["tokens"]) << entry["captions"];
  }
  EXPECT_TRUE(ptb_tokens(Captions{}).empty());
}

TEST(PtbTokenizer, LineFeedsAreBlanks) {
  EXPECT_EQ(ptb_tokens("plan B.\nThe\ndog"), ptb_tokens("plan B. The dog"));
  EXPECT_TRUE(ptb_tokens("").empty());
  EXPECT_TRUE(ptb_tokens(" \n. ").empty());
}

Captions load(const std::filesystem::path& data, const std::string& name) {
  Captions captions;
  const auto annotations = [&](const char* file, bool only_list) {
    const Json all = Json::parse(read_file(data / file));
    for (const Json& entry : only_list ? all : all["annotations"]) captions.push_back(entry["caption"]);
  };
  if (name == "coco-mini") annotations("coco-mini/captions.json", false);
  if (name == "karpathy-references") annotations("caption-metrics/karpathy_test_gt.json", false);
  if (name == "karpathy-predictions") annotations("caption-metrics/karpathy_test_predictions.json", true);
  if (name == "flickr8k") {
    std::istringstream lines(read_file(data / "flickr8k-judgements/Flickr8k.token.txt"));
    for (std::string line; std::getline(lines, line);) captions.push_back(line.substr(line.find('\t') + 1));
  }
  if (name == "paper-coco") {
    const Json images = Json::parse(read_file(data / "paper-protocol/coco_karpathy_test.json"));
    for (const Json& entry : images) {
      for (const Json& caption : entry["caption"]) captions.push_back(caption);
    }
  }
  if (name.starts_with("sd_")) captions = Json::parse(read_file(data / "paper-protocol" / (name + ".json")))[0];
  return captions;
}

TEST(PtbTokenizer, EqualsCoreNlpOnEveryCaption) {
  SKIP_WITHOUT_SHARED_DATA();
  const std::filesystem::path data = tests::shared_data();
  const Json corpora = testing::golden("ptb.json")["corpora"];
  ASSERT_EQ(corpora.size(), 7u);
  for (const auto& [name, golden] : corpora.items()) {
    const Captions captions = load(data, name);
    ASSERT_EQ(captions.size(), golden["captions"].get<size_t>()) << name;
    const auto tokens = ptb_tokens(captions);
    for (size_t thousand = 0; thousand * 1000 < tokens.size(); ++thousand) {
      std::string text;
      for (size_t i = thousand * 1000; i < std::min(tokens.size(), thousand * 1000 + 1000); ++i) {
        text += (i % 1000 ? "\n" : "") + joined(tokens[i]);
      }
      EXPECT_EQ(fmt::format("{:016x}", fnv1a(text)), golden["digests"][thousand]) << name << ", thousand " << thousand;
    }
  }
}

}  // namespace
}  // namespace readback::text
