// Any text through tokenizers of every kind and back, and any bytes as a tokenizer's files.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/text/byte_pairs.h"
#include "readback/text/tokenizer.h"
#include "readback/text/unicode.h"
#include "readback/text/vocabulary.h"

namespace {

namespace fs = std::filesystem;
using namespace readback::text;
using nlohmann::json;

// Tokens of the 256 bytes as GPT-2 and LLaMA spell them.
std::string byte_token(size_t byte, bool as_character) {
  std::string token;
  if (as_character) {
    append_utf8(token, byte_alphabet()[byte]);
    return token;
  }
  char spelling[8];
  std::snprintf(spelling, sizeof spelling, "<0x%02X>", static_cast<unsigned>(byte));
  return spelling;
}

// Pipelines whose vocabulary has every byte.
json bytes_pipeline() {
  json vocabulary;
  for (size_t byte = 0; byte < 256; ++byte) vocabulary[byte_token(byte, true)] = byte;
  vocabulary["re"] = 256;
  const json split = {
      {"type", "Split"},
      {"pattern", {{"Regex", R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"}}},
      {"behavior", "Isolated"}};
  return {{"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"r e"}}}},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers", {split, {{"type", "Digits"}}, {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}
json fallback_pipeline(bool unigram) {
  json pieces = json::array();
  const auto add = [&](const std::string& token, double score) { pieces.push_back(json::array({token, score})); };
  add("<unk>", 0);
  add("\u2581", -3);
  add("\u2581a", -1);
  add("red", -2);
  for (size_t byte = 0; byte < 256; ++byte) add(byte_token(byte, false), -9);
  const json mark = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "never"}};
  json model = {{"type", "Unigram"}, {"vocab", pieces}, {"unk_id", 0}, {"byte_fallback", true}};
  if (!unigram) {
    json vocabulary;
    for (size_t id = 0; id < pieces.size(); ++id) vocabulary[pieces[id][0].get<std::string>()] = id;
    model = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}, {"byte_fallback", true}};
  }
  return {{"model", model},
          {"pre_tokenizer", mark},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}}}}}}};
}

struct Setup {
  Setup() {
    std::string name = (fs::temp_directory_path() / "readback-fuzz-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    write_bert_vocabulary(folder / "bert", {"a red dog", "left of the heart"});
    write_clip_vocabulary(folder / "clip", {"a red dog", "left of the heart"});
    bert = load_bert_tokenizer(folder / "bert");
    clip = load_clip_tokenizer(folder / "clip");
    for (const json& pipeline : {bytes_pipeline(), fallback_pipeline(true), fallback_pipeline(false)}) {
      fs::create_directories(folder / "pipeline");
      std::ofstream(folder / "pipeline/tokenizer.json") << pipeline.dump();
      pipelines.push_back(load_tokenizer(folder / "pipeline"));
    }
    fs::create_directory(folder / "files");
  }
  ~Setup() { fs::remove_all(folder); }
  fs::path folder;
  std::unique_ptr<Tokenizer> bert, clip;
  std::vector<std::unique_ptr<Tokenizer>> pipelines;
};

void require(bool condition) {
  if (!condition) std::abort();
}

void check_text(const Setup& setup, const std::string& text) {
  for (const Tokenizer* tokenizer : {setup.bert.get(), setup.clip.get()}) {
    const auto ids = tokenizer->encode(text);
    for (const int64_t id : ids) require(id >= 0 && id < tokenizer->vocabulary_size());
    const std::string decoded = tokenizer->decode(ids);
    require(encode_utf8(decode_utf8(decoded)) == decoded);
  }
  const std::string whole = encode_utf8(decode_utf8(text));
  if (whole.find("\u2581") != std::string::npos || whole.find("<0x") != std::string::npos) return;
  for (const auto& tokenizer : setup.pipelines) require(tokenizer->decode(tokenizer->encode(text)) == whole);
}

void check_files(const Setup& setup, const char* name, const std::string& bytes) {
  const fs::path folder = setup.folder / "files";
  for (const auto& entry : fs::directory_iterator(folder)) fs::remove(entry.path());
  const std::string file = name;
  if (file == "merges.txt") fs::copy_file(setup.folder / "clip/vocab.json", folder / "vocab.json");
  if (file != "vocab.txt" && file != "tokenizer.json")
    fs::copy_file(setup.folder / "bert/vocab.txt", folder / "vocab.txt");
  std::ofstream(folder / name, std::ios::binary) << bytes;
  for (const bool bert : {true, false}) {
    try {
      const auto tokenizer = bert ? load_bert_tokenizer(folder) : load_clip_tokenizer(folder);
      tokenizer->decode(tokenizer->encode("a red dog [SEP] <|endoftext|>"));
    } catch (const readback::CheckpointError&) {
    }
  }
}

}  // namespace

// The first byte says what the rest is.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Setup setup;
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data + 1), size - 1);
  constexpr const char* kFiles[] = {"tokenizer.json",          "tokenizer_config.json", "vocab.txt",
                                    "special_tokens_map.json", "added_tokens.json",     "merges.txt"};
  const size_t kind = data[0] % 16;
  if (kind < std::size(kFiles)) {
    check_files(setup, kFiles[kind], rest);
  } else {
    check_text(setup, rest);
  }
  return 0;
}
