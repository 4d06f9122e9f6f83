// Token → id with look-up by string_view.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace readback::text {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using VocabularyMap = std::unordered_map<std::string, int64_t, StringHash, std::equal_to<>>;

// The id, or -1.
inline int64_t find_id(const VocabularyMap& vocabulary, std::string_view token) {
  const auto found = vocabulary.find(token);
  return found == vocabulary.end() ? -1 : found->second;
}

// The ids of "<0x00>" to "<0xFF>" as `find(token)` has them, -1 for those that are absent.
template <typename Find>
std::vector<int64_t> byte_tokens(const Find& find) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::vector<int64_t> ids(256);
  for (size_t byte = 0; byte < 256; ++byte) {
    ids[byte] = find(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
  }
  return ids;
}

}  // namespace readback::text
