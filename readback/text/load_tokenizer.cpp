// Which tokenizer a folder is for.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/text/pipeline_tokenizer.h"
#include "readback/text/tokenizer.h"
#include "readback/text/tokenizer_files.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Older files name no type.
std::string type_of(const json& model) {
  if (model.contains("type")) return model["type"].is_string() ? model["type"] : json(model["type"].dump());
  if (model.contains("merges")) return "BPE";
  return model.contains("vocab") && model["vocab"].is_array() ? "Unigram" : "WordPiece";
}

// Whether a part or one inside it has the type.
bool has_type(const json& part, const char* type, int depth = 0) {
  if (part.is_object() && part.value("type", json()) == type) return true;
  if (!part.is_structured() || depth > 8) return false;
  for (const json& inner : part) {
    if (has_type(inner, type, depth + 1)) return true;
  }
  return false;
}

std::unique_ptr<Tokenizer> load_unified(const fs::path& folder, const fs::path& path) {
  const json unified = read_json_object(path);
  const json model = unified.value("model", json());
  if (!model.is_object()) {
    throw CheckpointError(describe(path.string(), "a key \"model\"", model.is_null() ? "none" : model.type_name()));
  }
  // What BERT's and CLIP's loaders take for granted.
  const auto require = [&](const char* key, const char* type, const char* whose) {
    const json part = unified.value(key, json());
    if (has_type(part, type)) return;
    throw CheckpointError(describe(path.string(), fmt::format("\"{}\" with {}, as {} has it", key, type, whose),
                                   part.dump().substr(0, 200)));
  };
  const std::string type = type_of(model);
  if (type == "WordPiece") {
    require("normalizer", "BertNormalizer", "BERT");
    return load_bert_tokenizer(folder);
  }
  if (type == "BPE" && model.value("end_of_word_suffix", json()) == "</w>") {
    require("pre_tokenizer", "ByteLevel", "CLIP");
    return load_clip_tokenizer(folder);
  }
  if (type == "BPE") return load_pipeline_tokenizer(folder, TokenizerModel::kBytePairs, unified);
  if (type == "Unigram") return load_pipeline_tokenizer(folder, TokenizerModel::kUnigram, unified);
  throw CheckpointError(describe(path.string(), "a model of type BPE, Unigram or WordPiece", type));
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder) {
  const fs::path unified = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  if (fs::exists(unified)) return load_unified(folder, unified);
  for (const char* name : {"spiece.model", "tokenizer.model"}) {
    if (!fs::exists(folder / name)) continue;
    throw CheckpointError(
        describe(folder.string(), "tokenizer.json", name,
                 "transformers writes it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"));
  }
  const json name = read_json_object(config).value("tokenizer_class", json());
  std::string type = name.is_string() ? name.get<std::string>() : "none";
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  if (type == "BertTokenizer") return load_bert_tokenizer(folder);
  if (type == "CLIPTokenizer") return load_clip_tokenizer(folder);
  if (type == "GPT2Tokenizer") return load_gpt2_tokenizer(folder);
  throw CheckpointError(describe(config.string(),
                                 "tokenizer_class as BertTokenizer, CLIPTokenizer or GPT2Tokenizer, since there is no "
                                 "tokenizer.json",
                                 type));
}

}  // namespace readback::text
