#include "readback/text/pipeline_tokenizer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "readback/base/error.h"
#include "readback/text/base_tokenizer.h"
#include "readback/text/character_pairs.h"
#include "readback/text/json_part.h"
#include "readback/text/pipeline_parts.h"
#include "readback/text/unicode.h"
#include "readback/text/unigram.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Model = std::function<void(std::u32string_view, std::vector<int64_t>&)>;

struct Pipeline {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Model model;
  Decoder decoder;
  Frame frame;
  bool clean_up = false;
};

class PipelineTokenizer final : public BaseTokenizer {
 public:
  PipelineTokenizer(const TokenizerFiles& files, Pipeline pipeline)
      : BaseTokenizer(files, [&](std::u32string_view text) { return pipeline.normalizer(std::u32string(text)); }),
        pipeline_(std::move(pipeline)) {
    before_ = pipeline_.frame.before;
    after_ = pipeline_.frame.after;
  }

  std::string decode(const std::vector<int64_t>& ids) const override {
    const std::vector<std::string_view> visible = visible_tokens(ids);
    std::string text;
    for (const std::string& part : pipeline_.decoder({visible.begin(), visible.end()})) text += part;
    return pipeline_.clean_up ? clean_up_spaces(std::move(text), false) : text;
  }

 protected:
  std::u32string normalize(std::u32string_view text) const override {
    return pipeline_.normalizer(std::u32string(text));
  }

  void encode_piece(std::u32string_view text, bool at_start, std::vector<int64_t>& ids) const override {
    for (const Word& word : pipeline_.pre_tokenizer({{std::u32string(text), at_start}}))
      pipeline_.model(word.text, ids);
  }

 private:
  Pipeline pipeline_;
};

Model unigram(const JsonPart& part, const TokenizerFiles& files) {
  const int64_t unknown = part.number("unk_id");
  if (unknown >= static_cast<int64_t>(files.pieces.size())) {
    part.fail(fmt::format("\"unk_id\" below {}", files.pieces.size()), fmt::format("{}", unknown));
  }
  const auto model = std::make_shared<const Unigram>(files.pieces, unknown, part.flag("byte_fallback", false));
  return [model](std::u32string_view word, std::vector<int64_t>& ids) { model->encode(encode_utf8(word), ids); };
}

Model character_pairs(const JsonPart& part, const TokenizerFiles& files) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!part.text(key, "").empty()) part.fail(fmt::format("no \"{}\"", key), part.at(key).dump());
  }
  if (part.has("dropout") && part.at("dropout") != 0) part.fail("no \"dropout\"", part.at("dropout").dump());
  CharacterPairsOptions options{.unknown = part.text("unk_token", ""),
                                .fuse_unknown = part.flag("fuse_unk", false),
                                .byte_fallback = part.flag("byte_fallback", false),
                                .ignore_merges = part.flag("ignore_merges", false)};
  const auto model =
      std::make_shared<const CharacterPairs>(files.vocabulary, files.merges, std::move(options), part.where());
  return [model](std::u32string_view word, std::vector<int64_t>& ids) { model->encode(word, ids); };
}

// The key's value, null where there is none.
json part_of(const json& unified, const char* key) { return unified.value(key, json()); }

Pipeline pipeline_of(const json& unified, const TokenizerFiles& files, TokenizerModel kind, const std::string& where) {
  const json model = part_of(unified, "model");
  const JsonPart part(model, where + ", model");
  const bool is_unigram = kind == TokenizerModel::kUnigram;
  return {.normalizer = make_normalizer(part_of(unified, "normalizer"), where),
          .pre_tokenizer = make_pre_tokenizer(part_of(unified, "pre_tokenizer"), where),
          .model = is_unigram ? unigram(part, files) : character_pairs(part, files),
          .decoder = make_decoder(part_of(unified, "decoder"), where),
          .frame = make_frame(part_of(unified, "post_processor"), where),
          .clean_up = files.clean_up_tokenization_spaces && (is_unigram || files.clean_up_byte_pairs_too)};
}

}  // namespace

std::unique_ptr<Tokenizer> load_pipeline_tokenizer(const fs::path& folder, TokenizerModel model, const json& unified) {
  const TokenizerFiles files = read_pipeline_files(folder, model, unified, {});
  return std::make_unique<PipelineTokenizer>(files,
                                             pipeline_of(unified, files, model, (folder / "tokenizer.json").string()));
}

std::unique_ptr<Tokenizer> load_gpt2_tokenizer(const fs::path& folder) {
  constexpr const char* kEnd = "<|endoftext|>";
  const TokenizerFiles files = read_pipeline_files(folder, TokenizerModel::kBytePairs, json::object(),
                                                   {{"unk_token", kEnd}, {"bos_token", kEnd}, {"eos_token", kEnd}});
  const json parts = {{"model", json::object()},
                      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", files.add_prefix_space}}},
                      {"decoder", {{"type", "ByteLevel"}}}};
  Pipeline pipeline = pipeline_of(parts, files, TokenizerModel::kBytePairs, folder.string());
  const auto id = [&](const char* role) {
    const auto token = files.special_tokens.find(role);
    const int64_t found = token == files.special_tokens.end() ? -1 : find_id(files.vocabulary, token->second);
    if (found < 0) throw CheckpointError(describe(folder.string(), fmt::format("{} in the vocabulary", role), "none"));
    return found;
  };
  if (files.add_bos_token) pipeline.frame.before = {id("bos_token")};
  if (files.add_eos_token) pipeline.frame.after = {id("eos_token")};
  return std::make_unique<PipelineTokenizer>(files, std::move(pipeline));
}

}  // namespace readback::text
