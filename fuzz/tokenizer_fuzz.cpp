// Any text through both tokenizers and back, and any bytes as a tokenizer's files.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "readback/base/error.h"
#include "readback/text/tokenizer.h"
#include "readback/text/unicode.h"
#include "readback/text/vocabulary.h"

namespace {

namespace fs = std::filesystem;
using namespace readback::text;

struct Setup {
  Setup() {
    std::string name = (fs::temp_directory_path() / "readback-fuzz-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    write_bert_vocabulary(folder / "bert", {"a red dog", "left of the heart"});
    write_clip_vocabulary(folder / "clip", {"a red dog", "left of the heart"});
    bert = load_bert_tokenizer(folder / "bert");
    clip = load_clip_tokenizer(folder / "clip");
    fs::create_directory(folder / "files");
  }
  ~Setup() { fs::remove_all(folder); }
  fs::path folder;
  std::unique_ptr<Tokenizer> bert, clip;
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
