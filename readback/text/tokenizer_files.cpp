#include "readback/text/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kLargestId = 1 << 20;  // a table of this many tokens still fits; no real vocabulary comes near
constexpr std::array kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                               "pad_token", "cls_token", "mask_token"};

[[noreturn]] void fail(const fs::path& path, const std::string& expected, const std::string& got) {
  throw CheckpointError(describe(path.string(), expected, got));
}

std::string read(const fs::path& path) {
  try {
    return read_text(path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
}

std::string read_utf8(const fs::path& path) {
  std::string text = read(path);
  if (encode_utf8(decode_utf8(text)) != text) fail(path, "UTF-8", "ill-formed bytes");
  return text;
}

int64_t checked_id(const json& id, const std::string& token, const fs::path& path) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(kLargestId)) {
    fail(path, fmt::format("an id below {} for token \"{}\"", kLargestId, token), id.dump());
  }
  return id.get<int64_t>();
}

VocabularyMap vocabulary_of(const json& object, const fs::path& path) {
  if (!object.is_object()) fail(path, "a vocabulary of token: id", object.type_name());
  VocabularyMap vocabulary;
  vocabulary.reserve(object.size());
  for (const auto& [token, id] : object.items()) vocabulary[token] = checked_id(id, token, path);
  return vocabulary;
}

// A token a line; white space at its end does not count. A blank line is a token too: ids are line numbers.
VocabularyMap read_vocabulary_lines(const fs::path& path) {
  const std::string text = read_utf8(path);
  VocabularyMap vocabulary;
  int64_t id = 0;
  for (const std::string_view line : lines_of(text)) {
    std::u32string token = decode_utf8(line);
    while (!token.empty() && is_whitespace(token.back())) token.pop_back();
    vocabulary[encode_utf8(token)] = id++;
  }
  if (id > kLargestId) fail(path, fmt::format("at most {} lines", kLargestId), fmt::format("{} lines", id));
  return vocabulary;
}

std::pair<std::string, std::string> merge_of(std::string_view line, const fs::path& path) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    fail(path, "merges of two tokens with a space between", fmt::format("\"{}\"", line));
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

void read_pieces(const fs::path& path, const json& vocabulary, TokenizerFiles& files) {
  if (!vocabulary.is_array() || vocabulary.size() > static_cast<size_t>(kLargestId)) {
    fail(path, fmt::format("a vocabulary of at most {} [token, score]", kLargestId),
         vocabulary.is_array() ? fmt::format("{}", vocabulary.size()) : vocabulary.type_name());
  }
  for (const json& piece : vocabulary) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number()) {
      fail(path, "a vocabulary of [token, score]", piece.dump());
    }
    files.vocabulary[piece[0].get<std::string>()] = static_cast<int64_t>(files.pieces.size());
    files.pieces.emplace_back(piece[0], piece[1]);
  }
}

void read_unified(const fs::path& path, TokenizerModel kind, const json& unified, TokenizerFiles& files) {
  const json model = unified.value("model", json());
  if (!model.is_object()) fail(path, "a key \"model\"", model.is_null() ? "none" : model.type_name());
  constexpr const char* kTypes[] = {"WordPiece", "BPE", "Unigram"};
  const char* expected = kTypes[static_cast<size_t>(kind)];
  const json type = model.value("type", json(expected));
  if (type != expected) fail(path, fmt::format("a model of type {}", expected), type.dump());
  if (kind == TokenizerModel::kUnigram) return read_pieces(path, model.value("vocab", json()), files);
  files.vocabulary = vocabulary_of(model.value("vocab", json()), path);
  if (kind == TokenizerModel::kWordPiece) return;
  const json merges = model.value("merges", json::array());
  if (!merges.is_array()) fail(path, "\"merges\" as a list", merges.type_name());
  for (const json& merge : merges) {
    if (merge.is_string()) {
      files.merges.push_back(merge_of(merge.get_ref<const std::string&>(), path));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      files.merges.emplace_back(merge[0], merge[1]);
    } else {
      fail(path, "merges of two tokens", merge.dump());
    }
  }
}

void read_plain(const fs::path& folder, TokenizerModel kind, TokenizerFiles& files) {
  if (kind == TokenizerModel::kWordPiece) {
    files.vocabulary = read_vocabulary_lines(folder / "vocab.txt");
    return;
  }
  files.vocabulary = vocabulary_of(read_json_object(folder / "vocab.json"), folder / "vocab.json");
  const fs::path path = folder / "merges.txt";
  const std::string text = read_utf8(path);
  std::vector<std::string_view> lines = lines_of(text);
  while (!lines.empty() && lines.back().empty()) lines.pop_back();  // blank lines at the end are no merges
  for (const std::string_view line : lines) {
    if (!line.starts_with("#version")) files.merges.push_back(merge_of(line, path));
  }
}

// A special token is a string or an object; a string is special and looked for in the text as given.
std::optional<AddedToken> added_token(const json& value, const fs::path& path, bool special_default) {
  AddedToken token;
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) {
    token.content = value;
    token.special = true;
    token.normalized = false;
    return token;
  }
  try {
    token.content = value.at("content").get<std::string>();
    token.special = value.value("special", special_default);
    token.single_word = value.value("single_word", false);
    token.lstrip = value.value("lstrip", false);
    token.rstrip = value.value("rstrip", false);
    token.normalized = value.value("normalized", !token.special);
  } catch (const json::exception& error) {
    fail(path, "a token as text or as an object with \"content\"", error.what());
  }
  return token;
}

struct Named {
  std::string role;
  AddedToken token;
};

// The order of being added is transformers': declared tokens by id, then the roles, then the extra special tokens.
// A role whose token is already declared adds nothing; among roles the later one's options replace the earlier's.
class Collector {
 public:
  Collector(const fs::path& folder, const json& config, const json& unified,
            const std::map<std::string, std::string>& defaults, bool keep_unified)
      : folder_(folder), options_(config) {
    if (keep_unified) {
      for (const auto& [id, token] : unified_tokens(unified)) unified_.push_back(token);
    }
    const json extra_tokens = options_.value("extra_special_tokens", json());
    if (options_.contains("additional_special_tokens") && (extra_tokens.is_null() || extra_tokens.empty())) {
      options_["extra_special_tokens"] = options_["additional_special_tokens"];
      options_.erase("additional_special_tokens");
    }
    for (const auto& [role, token] : defaults) {
      if (!options_.contains(role)) options_[role] = token;
    }
    const fs::path path = folder / "tokenizer_config.json";
    if (const auto found = config.find("added_tokens_decoder"); found != config.end()) {
      if (!found->is_object()) fail(path, "\"added_tokens_decoder\" as an object", found->type_name());
      for (const auto& [id, token] : found->items()) declare(declared(id, token, path));
    } else {
      read_special_tokens_map();
      read_added_tokens();
      for (const auto& entry : unified_tokens(unified)) declare(entry);
    }
  }

  void collect(TokenizerFiles& files) const {
    files.added_tokens = unified_;
    for (const auto& [id, token] : declared_) files.added_tokens.push_back(token);
    const auto is_declared = [declared = files.added_tokens](const std::string& content) {
      return std::any_of(declared.begin(), declared.end(),
                         [&](const AddedToken& token) { return token.content == content; });
    };
    const fs::path path = folder_ / "tokenizer_config.json";
    for (const Named& named : roles(path)) {
      files.special_tokens[named.role] = named.token.content;
      if (!is_declared(named.token.content)) files.added_tokens.push_back(named.token);
    }
    const bool newer = options_.contains("extra_special_tokens");
    for (const json& value : extra(newer ? "extra_special_tokens" : "additional_special_tokens")) {
      const auto token = added_token(value, path, true);
      if (token && !is_declared(token->content)) files.added_tokens.push_back(*token);
    }
    for (AddedToken& token : files.added_tokens) {
      const auto named = [&](const auto& entry) { return entry.second == token.content; };
      if (std::any_of(files.special_tokens.begin(), files.special_tokens.end(), named)) token.special = true;
    }
  }

 private:
  using Declared = std::pair<int64_t, AddedToken>;

  static Declared declared(const std::string& id, const json& token, const fs::path& path) {
    const bool is_number =
        !id.empty() && id.size() < 9 && std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number || !token.is_object()) fail(path, "added tokens with an id and options", id + ": " + token.dump());
    return {std::stoll(id), *added_token(token, path, false)};
  }

  void declare(const Declared& entry) { declared_[entry.first] = entry.second; }

  std::vector<Declared> unified_tokens(const json& unified) const {
    const fs::path path = folder_ / "tokenizer.json";
    const json tokens = unified.value("added_tokens", json::array());
    if (!tokens.is_array()) fail(path, "\"added_tokens\" as a list", tokens.type_name());
    std::vector<Declared> result;
    for (const json& token : tokens) {
      const json id = token.is_object() ? token.value("id", json()) : json();
      result.push_back(declared(id.dump(), token, path));
    }
    return result;
  }

  void read_special_tokens_map() {
    const fs::path path = folder_ / "special_tokens_map.json";
    const json special_tokens = read_json_object(path);
    for (const auto& [role, value] : special_tokens.items()) {
      if (role == "extra_special_tokens" && value.is_array()) {
        json merged = extra("extra_special_tokens");
        for (const json& token : value) merged.push_back(token);
        options_[role] = merged;
        continue;
      }
      options_[role] = value;
      if (value.is_object() && role != "extra_special_tokens") options_[role]["special"] = true;
    }
  }

  // additional_special_tokens, the older name, counts here only when tokenizer_config.json has it: transformers 5
  // asks for the newer name alone.
  void read_added_tokens() {
    const fs::path path = folder_ / "added_tokens.json";
    const json added_tokens = read_json_object(path);
    for (const auto& [content, id] : added_tokens.items()) {
      AddedToken token{content};
      const auto is_role = [&, &text = content](const char* role) {
        const auto value = options_.find(role);
        if (value == options_.end() || value->is_null()) return false;
        const auto named = added_token(*value, path, true);
        return named && named->content == text;
      };
      token.special = std::any_of(kRoles.begin(), kRoles.end(), is_role);
      for (const json& value : extra("extra_special_tokens")) token.special |= value == content;
      token.normalized = !token.special;
      declared_[checked_id(id, content, path)] = token;
    }
  }

  // The seven roles in transformers' order, then those of the model ("image_token", …).
  std::vector<Named> roles(const fs::path& path) const {
    std::vector<Named> result;
    const auto add = [&](const std::string& role, const json& value) {
      if (!value.is_string() && !value.is_object()) return;
      if (const auto token = added_token(value, path, false); !token->content.empty()) result.push_back({role, *token});
    };
    for (const char* role : kRoles) add(role, options_.value(role, json()));
    for (const auto& [role, value] : options_.items()) {
      if (role.ends_with("_token") && std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) add(role, value);
    }
    const json named = options_.value("extra_special_tokens", json());
    if (named.is_object()) {
      for (const auto& [role, value] : named.items()) add(role, value);
    }
    return result;
  }

  // A list, or an empty one.
  json extra(const char* key) const {
    const auto found = options_.find(key);
    return found != options_.end() && found->is_array() ? *found : json::array();
  }

  fs::path folder_;
  json options_;  // tokenizer_config.json with special_tokens_map.json and the defaults
  std::map<int64_t, AddedToken> declared_;
  std::vector<AddedToken> unified_;  // tokenizer.json's, where the class keeps them besides those declared
};

bool flag(const json& config, const char* key, bool fallback, const fs::path& path) {
  const json value = config.value(key, json());
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) fail(path, fmt::format("\"{}\" as true or false", key), value.dump());
  return value;
}

TokenizerFiles read_files(const fs::path& folder, TokenizerModel model, const json& unified, const json& config,
                          const std::map<std::string, std::string>& defaults, bool keep_unified) {
  const fs::path unified_path = folder / "tokenizer.json", config_path = folder / "tokenizer_config.json";
  const char* plain = model == TokenizerModel::kWordPiece ? "vocab.txt" : "vocab.json";
  if (!fs::exists(unified_path) && !fs::exists(folder / plain)) {
    fail(folder, fmt::format("tokenizer.json or {}", plain), "neither");
  }
  TokenizerFiles files;
  if (fs::exists(unified_path)) {
    read_unified(unified_path, model, unified, files);
  } else {
    read_plain(folder, model, files);
  }
  Collector(folder, config, unified, defaults, keep_unified).collect(files);

  files.do_lower_case = flag(config, "do_lower_case", true, config_path);
  files.tokenize_chinese_chars = flag(config, "tokenize_chinese_chars", true, config_path);
  if (!config.value("strip_accents", json()).is_null()) {
    files.strip_accents = flag(config, "strip_accents", true, config_path);
  }
  files.clean_up_tokenization_spaces = flag(config, "clean_up_tokenization_spaces", false, config_path);
  files.clean_up_byte_pairs_too =
      flag(config, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false, config_path);
  files.split_special_tokens = flag(config, "split_special_tokens", false, config_path);
  files.add_prefix_space = flag(config, "add_prefix_space", false, config_path);
  files.add_bos_token = flag(config, "add_bos_token", false, config_path);
  files.add_eos_token = flag(config, "add_eos_token", false, config_path);
  // Absent lengths are written as 1e30.
  const json length = config.value("model_max_length", json());
  if (length.is_number_integer() && length.get<int64_t>() > 0) files.model_max_length = length.get<int64_t>();
  return files;
}

}  // namespace

json read_json_object(const fs::path& path) {
  if (!fs::exists(path)) return json::object();
  json object;
  try {
    object = json::parse(read(path));
  } catch (const json::exception& error) {
    fail(path, "JSON", error.what());
  }
  if (!object.is_object()) fail(path, "a JSON object", object.type_name());
  return object;
}

TokenizerFiles read_tokenizer_files(const fs::path& folder, TokenizerModel model,
                                    const std::map<std::string, std::string>& defaults) {
  const fs::path config_path = folder / "tokenizer_config.json";
  const json config = read_json_object(config_path);
  for (const char* side : {"padding_side", "truncation_side"}) {
    const json value = config.value(side, json("right"));
    if (value != "right") fail(config_path, fmt::format("\"{}\": \"right\"", side), value.dump());
  }
  return read_files(folder, model, read_json_object(folder / "tokenizer.json"), config, defaults, false);
}

TokenizerFiles read_pipeline_files(const fs::path& folder, TokenizerModel model, const json& unified,
                                   const std::map<std::string, std::string>& defaults) {
  return read_files(folder, model, unified, read_json_object(folder / "tokenizer_config.json"), defaults, true);
}

}  // namespace readback::text
