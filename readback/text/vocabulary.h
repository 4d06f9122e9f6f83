// Building the small vocabularies of the small world, as repositories that transformers and diffusers load.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace readback::text {

// vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json of a BERT tokenizer as BLIP uses it.
// Ids: [PAD] [UNK] [CLS] [SEP] [MASK], a to z, 0 to 9, the same behind "##", ASCII punctuation, the words in order of
// first appearance (each cut at spaces and punctuation, lower-case, accents off), [DEC] (bos_token) and [ENC] last.
// Every text of ASCII letters, digits and punctuation has a spelling without [UNK].
// Errors: StoreError.
void write_bert_vocabulary(const std::filesystem::path& folder, const std::vector<std::string>& words,
                           int64_t model_max_length = 512);

// vocab.json, merges.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json of a CLIP tokenizer.
// Ids: the 256 bytes, the 256 bytes at the end of a word, one a merge result, <|startoftext|>, <|endoftext|> (also
// the padding). Each word that CLIP's pre-tokenisation finds in `words` becomes one token.
// Errors: StoreError.
void write_clip_vocabulary(const std::filesystem::path& folder, const std::vector<std::string>& words,
                           int64_t model_max_length = 77);

}  // namespace readback::text
