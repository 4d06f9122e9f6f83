// Token → id with look-up by string_view.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

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

}  // namespace readback::text
