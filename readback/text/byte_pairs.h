// Byte-pair merging over byte-level symbols (https://arxiv.org/abs/1508.07909).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace readback::text {

class BytePairs {
 public:
  // Ids of each byte inside a word and at its end.
  std::array<int64_t, 256> inner{};
  std::array<int64_t, 256> last{};

  // left right → id. Merges added earlier come first; of the same pair added twice the later counts.
  void add(int64_t left, int64_t right, int64_t id);
  // The ids of one word, in time proportional to n log n; of its bytes, or of symbols that have ids already.
  std::vector<int64_t> apply(std::string_view word) const;
  std::vector<int64_t> merge(const std::vector<int64_t>& ids) const;

 private:
  struct Merge {
    int64_t rank;
    int64_t id;
  };
  static uint64_t key(int64_t left, int64_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
  }
  std::unordered_map<uint64_t, Merge> merges_;
  int64_t next_rank_ = 0;
};

// How many characters CLIP's next word takes from the start of `text`, which is not empty; 0 for white space.
size_t clip_word_size(std::u32string_view text);
std::u32string clip_normalize(std::u32string_view text);

constexpr std::string_view kEndOfWord = "</w>";

// GPT-2's printable alphabet for bytes: each of the 256 bytes has a character that is neither space nor control.
// Printable Latin-1 stays, the other bytes follow from U+0100 on.
constexpr std::array<char32_t, 256> byte_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

}  // namespace readback::text
