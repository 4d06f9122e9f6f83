// Tokenizers whose ids equal transformers': by what a repository's tokenizer.json says, and BERT's and CLIP's.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace readback::text {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids of the text alone, without special tokens around it. Invalid UTF-8 becomes U+FFFD.
  virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  // The same with what the repository's post-processor puts around a text (BERT's [CLS] … [SEP], OPT's leading </s>,
  // T5's trailing </s>, LLaMA's leading <s>), as transformers' tokenizer(text). By default nothing.
  virtual std::vector<int64_t> encode_with_special_tokens(std::string_view text) const { return encode(text); }
  // skip_special_tokens and clean_up_tokenization_spaces as transformers' batch_decode(skip_special_tokens=True).
  // Ids that the tokenizer does not know (BLIP's 30522 and 30523 in most repositories) are left out, as there.
  virtual std::string decode(const std::vector<int64_t>& ids) const = 0;
  virtual int64_t vocabulary_size() const = 0;
  virtual int64_t id(std::string_view token) const = 0;    // -1 when absent
  virtual const std::string& token(int64_t id) const = 0;  // Errors: DataError when out of range
  // The id of a role's token ("bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token",
  // "mask_token"), -1 when the repository names none.
  virtual int64_t special_id(std::string_view /*role*/) const { return -1; }
  // model_max_length of tokenizer_config.json in tokens, -1 when it has none.
  virtual int64_t max_length() const { return -1; }
};

// What the folder's tokenizer.json says, as transformers' TokenizersBackend reads it (its LlamaTokenizer, GPT2Tokenizer
// and T5Tokenizer put parts of their own in the place of the file's, which differ from it in some older repositories):
//   WordPiece as BERT's, byte pairs with "</w>" as CLIP's: by the loaders below;
//   byte pairs (GPT-2, OPT, SmolLM: of bytes; LLaMA, IDEFICS: of characters with byte fallback) and Unigram (T5), with
//   the normalizers, pre-tokenizers, post-processors and decoders of text/pipeline_parts.h.
// Where there is no tokenizer.json, what tokenizer_class of tokenizer_config.json says: BertTokenizer, CLIPTokenizer or
// GPT2Tokenizer (vocab.json and merges.txt).
// Errors: CheckpointError, also for a part that is not known: it names the part and those that are.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

// BERT (BasicTokenizer + WordPiece), from vocab.txt or tokenizer.json, with tokenizer_config.json's do_lower_case,
// strip_accents and tokenize_chinese_chars. Special tokens: [CLS] … [SEP].
// Errors: CheckpointError.
std::unique_ptr<Tokenizer> load_bert_tokenizer(const std::filesystem::path& folder);

// CLIP byte-pair encoding from vocab.json + merges.txt or tokenizer.json.
// Special tokens: <|startoftext|> … <|endoftext|>, padding as tokenizer_config.json says.
std::unique_ptr<Tokenizer> load_clip_tokenizer(const std::filesystem::path& folder);

// [begin] ids [end] + padding to `length`; longer texts are cut so that the end token stays.
struct Padded {
  std::vector<int64_t> ids;  // `length` of them
  int64_t tokens = 0;        // begin and end included, padding not
  int64_t truncated = 0;     // how many tokens were cut
};
Padded pad(const std::vector<int64_t>& ids, int64_t begin, int64_t end, int64_t padding, int64_t length);

}  // namespace readback::text
