#include "readback/train/vocabulary_bridge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "readback/base/error.h"
#include "readback/checkpoint/pickle.h"
#include "readback/text/byte_pairs.h"

namespace readback::train {

namespace {

int64_t unknown_id(const Vocabularies& vocabularies) {
  const text::Tokenizer& captioner = vocabularies.captioner;
  for (const int64_t id : {captioner.special_id("unk_token"), captioner.id("[UNK]")}) {
    if (id >= 0) return id;
  }
  return vocabularies.captioner_end;
}

// What the captioner's tokens say, by whether they begin a word or go on with one.
class Pieces {
 public:
  explicit Pieces(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (int64_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
      const std::string& token = tokenizer.token(id);
      const bool begins = begins_word(token);
      marks_words_ = marks_words_ || begins;
      if (token.starts_with("<0x")) continue;  // a byte, for what no piece says
      std::string text = tokenizer.decode({id});
      text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
      if (text.empty() || text.find("\uFFFD") != std::string::npos) continue;
      (begins ? words_ : continuations_).emplace(std::move(text), id);
    }
  }
  int64_t find(const std::string& text, bool word) const {
    if (!marks_words_) return tokenizer_.id(word ? text : "##" + text);  // WordPiece
    const auto& pieces = word ? words_ : continuations_;
    const auto found = pieces.find(text);
    return found == pieces.end() ? -1 : found->second;
  }

 private:
  // By the mark of bytes or of characters, with something behind it.
  static bool begins_word(const std::string& token) {
    for (const std::string_view mark : {"\u0120", "\u2581"}) {
      if (token.starts_with(mark) && token.size() > mark.size()) return true;
    }
    return false;
  }

  const text::Tokenizer& tokenizer_;
  bool marks_words_ = false;
  std::unordered_map<std::string, int64_t> words_, continuations_;
};

int64_t counterpart(const Vocabularies& vocabularies, const Pieces& pieces, int64_t id) {
  const text::Tokenizer& generator = vocabularies.generator;
  if (id == generator.id("<|startoftext|>")) return vocabularies.captioner_begin;
  if (id == generator.id("<|endoftext|>")) return vocabularies.captioner_end;
  const std::string text = generator.decode({id});
  if (text.empty()) return -1;
  return pieces.find(text, generator.token(id).ends_with(text::kEndOfWord));
}

}  // namespace

int64_t VocabularyBridge::counterparts() const { return map.ne(unknown).sum().item<int64_t>(); }

int64_t VocabularyBridge::reached() const {
  const int64_t* ids = map.const_data_ptr<int64_t>();
  std::unordered_set<int64_t> distinct(ids, ids + map.numel());
  distinct.erase(unknown);
  return static_cast<int64_t>(distinct.size());
}

double VocabularyBridge::coverage() const {
  return static_cast<double>(reached()) / static_cast<double>(captioner_size);
}

std::string VocabularyBridge::summary() const {
  return fmt::format("{} of the generator's {} tokens, {:.1f} % of the captioner's", counterparts(), map.numel(),
                     100 * coverage());
}

VocabularyBridge build_bridge(const Vocabularies& vocabularies) {
  VocabularyBridge bridge;
  bridge.unknown = unknown_id(vocabularies);
  bridge.captioner_size = vocabularies.captioner_size;
  bridge.map = at::full({vocabularies.generator.vocabulary_size()}, bridge.unknown, at::kLong);
  int64_t* ids = bridge.map.data_ptr<int64_t>();
  const Pieces pieces(vocabularies.captioner);
  for (int64_t id = 0; id < bridge.map.numel(); ++id) {
    const int64_t found = counterpart(vocabularies, pieces, id);
    if (found >= 0) ids[id] = found;
  }
  return bridge;
}

VocabularyBridge load_bridge(const std::filesystem::path& path, const Vocabularies& vocabularies) {
  const checkpoint::TensorMap tensors = checkpoint::load_pickle(path);
  const int64_t expected = vocabularies.generator.vocabulary_size();
  const auto found = tensors.find("");
  if (found == tensors.end() || found->second.scalar_type() != at::kLong || found->second.dim() != 1 ||
      found->second.numel() != expected) {
    throw CheckpointError(
        describe(path.string(), fmt::format("one int64 tensor of {} ids", expected),
                 found == tensors.end()
                     ? fmt::format("{} tensors by name", tensors.size())
                     : fmt::format("{}, {} values", toString(found->second.scalar_type()), found->second.numel())));
  }
  VocabularyBridge bridge{found->second.clone(), unknown_id(vocabularies), vocabularies.captioner_size};
  const int64_t least = bridge.map.min().item<int64_t>(), most = bridge.map.max().item<int64_t>();
  if (least < 0 || most >= bridge.captioner_size) {
    throw CheckpointError(describe(path.string(), fmt::format("the captioner's ids 0 to {}", bridge.captioner_size - 1),
                                   fmt::format("{} to {}", least, most)));
  }
  return bridge;
}

void expect_coverage(const VocabularyBridge& bridge, double minimum) {
  if (bridge.coverage() >= minimum) return;
  throw CheckpointError(describe(
      "vocabulary bridge", fmt::format("counterparts for {:.1f} % of the captioner's tokens at least", 100 * minimum),
      bridge.summary(), "The captioner's soft tokens could not tell the generator much; give a map of your own"));
}

}  // namespace readback::train
