#include "readback/train/vocabulary_bridge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <unordered_set>

#include "readback/base/error.h"
#include "readback/checkpoint/pickle.h"
#include "readback/text/byte_pairs.h"

namespace readback::train {

namespace {

int64_t unknown_id(const text::Tokenizer& captioner) {
  const int64_t id = captioner.special_id("unk_token");
  return id >= 0 ? id : captioner.id("[UNK]");
}

int64_t counterpart(const Vocabularies& vocabularies, int64_t id) {
  const text::Tokenizer& generator = vocabularies.generator;
  if (id == generator.id("<|startoftext|>")) return vocabularies.captioner_begin;
  if (id == generator.id("<|endoftext|>")) return vocabularies.captioner_end;
  const std::string text = generator.decode({id});
  if (text.empty()) return -1;
  const bool ends_word = generator.token(id).ends_with(text::kEndOfWord);
  return vocabularies.captioner.id(ends_word ? text : "##" + text);
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
  bridge.unknown = unknown_id(vocabularies.captioner);
  bridge.captioner_size = vocabularies.captioner_size;
  bridge.map = at::full({vocabularies.generator.vocabulary_size()}, bridge.unknown, at::kLong);
  int64_t* ids = bridge.map.data_ptr<int64_t>();
  for (int64_t id = 0; id < bridge.map.numel(); ++id) {
    const int64_t found = counterpart(vocabularies, id);
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
  VocabularyBridge bridge{found->second.clone(), unknown_id(vocabularies.captioner), vocabularies.captioner_size};
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
