// CLIP: NFC, white space, lower case, then words, then byte-pair encoding over bytes with an end-of-word mark
// (https://arxiv.org/abs/1508.07909, https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py).
#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/text/base_tokenizer.h"
#include "readback/text/byte_pairs.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

std::string strip(std::string_view text) {
  std::u32string characters = decode_utf8(text);
  const auto is_space = [](char32_t c) { return is_whitespace(c) || (c >= 0x1C && c <= 0x1F); };  // as Python's
  const auto first = std::find_if_not(characters.begin(), characters.end(), is_space);
  const auto last = std::find_if_not(characters.rbegin(), std::make_reverse_iterator(first), is_space).base();
  return encode_utf8(std::u32string(first, last));
}

class ClipTokenizer final : public BaseTokenizer {
 public:
  ClipTokenizer(const TokenizerFiles& files, const std::string& folder)
      : BaseTokenizer(files, clip_normalize),
        clean_up_(files.clean_up_tokenization_spaces && files.clean_up_byte_pairs_too) {
    const int64_t unknown = required_unknown(folder);
    constexpr auto kAlphabet = byte_alphabet();
    for (size_t byte = 0; byte < 256; ++byte) {
      byte_of_[kAlphabet[byte]] = static_cast<char>(byte);
      std::string character;
      append_utf8(character, kAlphabet[byte]);
      const int64_t inner = find_id(vocabulary_, character), last = find_id(vocabulary_, character.append(kEndOfWord));
      pairs_.inner[byte] = inner >= 0 ? inner : unknown;
      pairs_.last[byte] = last >= 0 ? last : unknown;
    }
    const auto needed = [&](const std::string& token) {
      const int64_t id = find_id(vocabulary_, token);
      if (id < 0) throw CheckpointError(describe(folder, "merges of tokens in the vocabulary", "\"" + token + "\""));
      return id;
    };
    for (const auto& [left, right] : files.merges) pairs_.add(needed(left), needed(right), needed(left + right));
    if (const int64_t begin = special_id("bos_token"); begin >= 0) before_ = {begin};
    if (const int64_t end = special_id("eos_token"); end >= 0) after_ = {end};
  }

  std::string decode(const std::vector<int64_t>& ids) const override {
    std::string bytes;
    for (const std::string_view token : visible_tokens(ids)) append_bytes(token, bytes);
    std::string text = encode_utf8(decode_utf8(bytes)), spaced;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(kEndOfWord, begin), text.size());
      spaced.append(text, begin, end - begin);
      if (end < text.size()) spaced += ' ';
      begin = end + kEndOfWord.size();
    }
    text = strip(spaced);
    return clean_up_ ? clean_up_spaces(std::move(text), false) : text;
  }

 protected:
  std::u32string normalize(std::u32string_view text) const override { return clip_normalize(text); }

  void encode_piece(std::u32string_view text, bool, std::vector<int64_t>& ids) const override {
    while (!text.empty()) {
      const size_t size = clip_word_size(text);
      if (size > 0) encode_word(text.substr(0, size), ids);
      text.remove_prefix(std::max<size_t>(size, 1));
    }
  }

 private:
  // A special token's spelling that was not cut out as one falls apart: <| endoftext |>.
  void encode_word(std::u32string_view word, std::vector<int64_t>& ids) const {
    if (word == U"<|startoftext|>" || word == U"<|endoftext|>") {
      for (const auto part : {word.substr(0, 2), word.substr(2, word.size() - 4), word.substr(word.size() - 2)}) {
        encode_word(part, ids);
      }
      return;
    }
    const std::vector<int64_t> pieces = pairs_.apply(encode_utf8(word));
    ids.insert(ids.end(), pieces.begin(), pieces.end());
  }

  // A token outside the alphabet (an added one may be) stands for its own spelling.
  void append_bytes(std::string_view token, std::string& bytes) const {
    std::string decoded;
    for (const char32_t character : decode_utf8(token)) {
      const auto found = byte_of_.find(character);
      if (found == byte_of_.end()) {
        bytes.append(token);
        return;
      }
      decoded.push_back(found->second);
    }
    bytes += decoded;
  }

  bool clean_up_;
  std::unordered_map<char32_t, char> byte_of_;
  BytePairs pairs_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_clip_tokenizer(const std::filesystem::path& folder) {
  const TokenizerFiles files = read_tokenizer_files(folder, TokenizerModel::kBytePairs,
                                                    {{"unk_token", "<|endoftext|>"},
                                                     {"bos_token", "<|startoftext|>"},
                                                     {"eos_token", "<|endoftext|>"},
                                                     {"pad_token", "<|endoftext|>"}});
  return std::make_unique<ClipTokenizer>(files, folder.string());
}

}  // namespace readback::text
