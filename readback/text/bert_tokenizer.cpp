// BERT: cleaning, CJK, accents and case (https://arxiv.org/abs/1810.04805), then words and punctuation, then WordPiece
// (https://arxiv.org/abs/1609.08144): the longest piece of the vocabulary first.
#include <algorithm>

#include "readback/text/base_tokenizer.h"
#include "readback/text/bert_words.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

constexpr size_t kLongestWord = 100;  // characters; a longer word is unknown
constexpr std::string_view kContinues = "##";

class BertTokenizer final : public BaseTokenizer {
 public:
  BertTokenizer(const TokenizerFiles& files, const std::string& folder, BertNormalization options)
      : BaseTokenizer(files, [options](std::u32string_view text) { return bert_normalize(text, options); }),
        options_(options),
        clean_up_(files.clean_up_tokenization_spaces),
        unknown_(required_unknown(folder)) {
    for (const auto& [token, id] : vocabulary_) longest_ = std::max(longest_, token.size());
    if (const int64_t begin = special_id("cls_token"); begin >= 0) before_ = {begin};
    if (const int64_t end = special_id("sep_token"); end >= 0) after_ = {end};
  }

  std::string decode(const std::vector<int64_t>& ids) const override {
    std::string text;
    bool first = true;
    for (const std::string_view token : visible_tokens(ids)) {
      if (first) {
        text += clean_up_spaces(std::string(token), true);
      } else if (token.starts_with(kContinues)) {
        text += clean_up_spaces(std::string(token.substr(kContinues.size())), true);
      } else {
        text += clean_up_spaces(" " + std::string(token), true);
      }
      first = false;
    }
    return clean_up_ ? clean_up_spaces(std::move(text), false) : text;
  }

 protected:
  std::u32string normalize(std::u32string_view text) const override { return bert_normalize(text, options_); }

  void encode_piece(std::u32string_view text, bool, std::vector<int64_t>& ids) const override {
    for_each_bert_word(text, [&](std::u32string_view word) { encode_word(word, ids); });
  }

 private:
  void encode_word(std::u32string_view characters, std::vector<int64_t>& ids) const {
    if (characters.size() > kLongestWord) {
      ids.push_back(unknown_);
      return;
    }
    const std::string word = encode_utf8(characters);
    const size_t before = ids.size();
    std::string candidate;
    for (size_t start = 0; start < word.size();) {
      const std::string_view prefix = start == 0 ? std::string_view() : kContinues;
      size_t size = std::min(word.size() - start, longest_ - std::min(longest_, prefix.size()));
      candidate.assign(prefix).append(word, start, size);
      int64_t id = -1;
      while (size > 0 && (id = find_id(vocabulary_, candidate)) < 0) {
        candidate.pop_back();  // half a character is in no vocabulary
        --size;
      }
      if (id < 0) {
        ids.resize(before);
        ids.push_back(unknown_);
        return;
      }
      ids.push_back(id);
      start += size;
    }
  }

  BertNormalization options_;
  bool clean_up_;
  int64_t unknown_;
  size_t longest_ = 0;  // bytes of the longest token
};

}  // namespace

std::unique_ptr<Tokenizer> load_bert_tokenizer(const std::filesystem::path& folder) {
  const TokenizerFiles files = read_tokenizer_files(folder, TokenizerModel::kWordPiece,
                                                    {{"unk_token", "[UNK]"},
                                                     {"sep_token", "[SEP]"},
                                                     {"pad_token", "[PAD]"},
                                                     {"cls_token", "[CLS]"},
                                                     {"mask_token", "[MASK]"}});
  const BertNormalization options{files.do_lower_case, files.strip_accents.value_or(files.do_lower_case),
                                  files.tokenize_chinese_chars};
  return std::make_unique<BertTokenizer>(files, folder.string(), options);
}

}  // namespace readback::text
