#include "readback/text/framing.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "tests/source_dir.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;

const fs::path kTokenizer = tests::source_dir() / "tests/goldens/generate/pipeline/tokenizer";

TEST(Framing, IsTheTokenizersOwn) {
  const auto tokenizer = load_clip_tokenizer(kTokenizer);
  const Framing framing = clip_framing(*tokenizer, 12, "tokenizer");
  EXPECT_EQ(framing.begin, 194);
  EXPECT_EQ(framing.end, 195);
  EXPECT_EQ(framing.padding, 195);
  EXPECT_EQ(framing.length, 12);
  EXPECT_EQ(clip_framing(*tokenizer, 1000, "tokenizer").length, tokenizer->max_length());
  const Padded framed = framing({7, 8});
  EXPECT_EQ(framed.ids, (std::vector<int64_t>{194, 7, 8, 195, 195, 195, 195, 195, 195, 195, 195, 195}));
}

// Stable Diffusion 2's tokenizer pads with "!".
TEST(Framing, PadsWithThePaddingTokenThatIsNamed) {
  const fs::path folder = fs::temp_directory_path() / "readback_framing_test";
  fs::remove_all(folder);
  fs::copy(kTokenizer, folder, fs::copy_options::recursive);
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    if (!fs::exists(folder / file)) continue;
    nlohmann::json json = read_json(folder / file);
    json["pad_token"] = "!";
    write_file(folder / file, json.dump());
  }
  const auto tokenizer = load_clip_tokenizer(folder);
  const Framing framing = clip_framing(*tokenizer, 12, "tokenizer");
  EXPECT_EQ(framing.padding, tokenizer->id("!"));
  EXPECT_NE(framing.padding, framing.end);
  fs::remove_all(folder);
}

TEST(Framing, OfATokenizerWithoutItsTokensIsRefused) {
  const auto bert = load_bert_tokenizer(tests::source_dir() / "assets/emoji-scenes/captioner");
  try {
    clip_framing(*bert, 12, "somewhere/tokenizer");
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("somewhere/tokenizer"), std::string::npos);
  }
}

}  // namespace
}  // namespace readback::text
