// Normalizers and pre-tokenizers.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "readback/text/byte_pairs.h"
#include "readback/text/charsmap.h"
#include "readback/text/expression.h"
#include "readback/text/json_part.h"
#include "readback/text/pipeline_parts.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

using nlohmann::json;
using Split = std::function<std::vector<Stretch>(std::u32string_view)>;

constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Every place of a string that is not empty.
Split by_string(const JsonPart& part, const json& value) {
  if (!value.is_string() || value.empty() || value == "") part.fail("a string to look for", value.dump());
  return [wanted = decode_utf8(value.get<std::string>())](std::u32string_view text) {
    std::vector<Stretch> result;
    for (size_t begin = 0; begin < text.size();) {
      const size_t at = std::min(text.find(wanted, begin), text.size());
      if (begin < at) result.push_back({begin, at, false});
      if (at < text.size()) result.push_back({at, at + wanted.size(), true});
      begin = at + wanted.size();
    }
    return result;
  };
}

Split by_expression(const std::string& pattern, const std::string& where) {
  const auto expression = std::make_shared<const Expression>(pattern, where);
  return [expression](std::u32string_view text) { return expression->split(text); };
}

// "pattern" is {"String": …} or {"Regex": …}.
Split by_pattern(const JsonPart& part) {
  const json& pattern = part.at("pattern");
  if (pattern.is_object() && pattern.contains("String")) return by_string(part, pattern["String"]);
  if (pattern.is_object() && pattern.contains("Regex") && pattern["Regex"].is_string()) {
    return by_expression(pattern["Regex"], part.where());
  }
  part.fail("a pattern that is a String or a Regex", pattern.dump());
}

// Characters of a kind.
template <typename Belongs>
std::vector<Stretch> by_character(std::u32string_view text, const Belongs& belongs) {
  std::vector<Stretch> result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool matches = belongs(text[i]);
    if (matches || result.empty() || result.back().matches) {
      result.push_back({i, i + 1, matches});
    } else {
      ++result.back().end;
    }
  }
  return result;
}

// What becomes of matches; each takes all stretches of a text.
using Behavior = void (*)(std::vector<Stretch>&);

void isolate(std::vector<Stretch>&) {}
void remove(std::vector<Stretch>& stretches) {
  std::erase_if(stretches, [](const Stretch& one) { return one.matches; });
}
// Neighbours for which `joins(first, second)` become one; it is asked about what they were before.
template <typename Joins>
void join(std::vector<Stretch>& stretches, const Joins& joins) {
  std::vector<Stretch> result;
  for (size_t i = 0; i < stretches.size(); ++i) {
    if (i > 0 && joins(stretches[i - 1], stretches[i])) {
      result.back().end = stretches[i].end;
    } else {
      result.push_back(stretches[i]);
    }
  }
  stretches = std::move(result);
}
void join_equal(std::vector<Stretch>& stretches) {
  join(stretches, [](const Stretch& a, const Stretch& b) { return a.matches == b.matches; });
}
void join_with_previous(std::vector<Stretch>& stretches) {
  join(stretches, [](const Stretch& a, const Stretch& b) { return b.matches && !a.matches; });
}
void join_with_next(std::vector<Stretch>& stretches) {
  join(stretches, [](const Stretch& a, const Stretch& b) { return a.matches && !b.matches; });
}

// A pre-tokenizer that cuts each word.
PreTokenizer cutting(Split split, Behavior behavior) {
  return [split = std::move(split), behavior](std::vector<Word> words) {
    std::vector<Word> result;
    for (const Word& word : words) {
      std::vector<Stretch> stretches = split(word.text);
      behavior(stretches);
      for (const Stretch& one : stretches) {
        result.push_back({word.text.substr(one.begin, one.end - one.begin), word.at_start && one.begin == 0});
      }
    }
    return result;
  };
}

size_t length_of(const std::u32string& text) { return text.size(); }
size_t length_of(const std::vector<Word>& words) {
  size_t length = 0;
  for (const Word& word : words) length += word.text.size();
  return length;
}

template <typename Function, typename Make>
Function sequence(const JsonPart& part, const char* key, const Make& make) {
  std::vector<Function> steps;
  for (const JsonPart& one : part.list(key)) steps.push_back(make(one));
  return [steps](auto value) {
    for (const Function& step : steps) {
      value = step(std::move(value));
      require_length(length_of(value));
    }
    return value;
  };
}

Normalizer normalizer_of(const JsonPart& part);

Normalizer normalizers(const JsonPart& part) { return sequence<Normalizer>(part, "normalizers", normalizer_of); }

Normalizer precompiled(const JsonPart& part) {
  const auto map = std::make_shared<const Charsmap>(part.text("precompiled_charsmap"), part.where());
  return [map](const std::u32string& text) { return map->apply(text); };
}

Normalizer prepend(const JsonPart& part) {
  return [before = decode_utf8(part.text("prepend"))](std::u32string text) {
    return text.empty() ? std::move(text) : before + text;
  };
}

Normalizer replace(const JsonPart& part) {
  return [split = by_pattern(part), content = decode_utf8(part.text("content"))](const std::u32string& text) {
    std::u32string result;
    for (const Stretch& one : split(text)) {
      result.append(one.matches ? content : text.substr(one.begin, one.end - one.begin));
      require_length(result.size());
    }
    return result;
  };
}

Normalizer strip(const JsonPart& part) {
  return [left = part.flag("strip_left", false), right = part.flag("strip_right", false)](std::u32string text) {
    if (right) {
      while (!text.empty() && is_whitespace(text.back())) text.pop_back();
    }
    if (left) text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_whitespace));
    return text;
  };
}

Normalizer compose(const JsonPart&) { return to_nfc; }
Normalizer decompose(const JsonPart&) { return to_nfd; }
Normalizer lower_case(const JsonPart&) {
  return [](const std::u32string& text) { return lower(text); };
}

Normalizer normalizer_of(const JsonPart& part) {
  static constexpr std::array<std::pair<const char*, Normalizer (*)(const JsonPart&)>, 8> kKnown = {
      {{"Sequence", normalizers},
       {"Precompiled", precompiled},
       {"Prepend", prepend},
       {"Replace", replace},
       {"Strip", strip},
       {"NFC", compose},
       {"NFD", decompose},
       {"Lowercase", lower_case}}};
  return part.choose(kKnown)(part);
}

PreTokenizer pre_tokenizer_of(const JsonPart& part);

PreTokenizer pre_tokenizers(const JsonPart& part) {
  return sequence<PreTokenizer>(part, "pretokenizers", pre_tokenizer_of);
}

// Cuts words as GPT-2 does, then writes their bytes in its alphabet.
PreTokenizer byte_level(const JsonPart& part) {
  PreTokenizer cut = [](std::vector<Word> words) { return words; };
  if (part.flag("use_regex", true)) cut = cutting(by_expression(kGpt2, part.where()), isolate);
  return [cut, prefix = part.flag("add_prefix_space", true)](std::vector<Word> words) {
    static constexpr auto kAlphabet = byte_alphabet();
    for (Word& word : words) {
      if (prefix && !word.text.starts_with(U' ')) word.text.insert(word.text.begin(), U' ');
    }
    words = cut(std::move(words));
    for (Word& word : words) {
      const std::string bytes = encode_utf8(word.text);
      word.text.resize(bytes.size());
      std::transform(bytes.begin(), bytes.end(), word.text.begin(),
                     [](char byte) { return kAlphabet[static_cast<uint8_t>(byte)]; });
    }
    return words;
  };
}

PreTokenizer digits(const JsonPart& part) {
  const auto split = [](std::u32string_view text) { return by_character(text, is_numeric); };
  return cutting(split, part.flag("individual_digits", false) ? isolate : join_equal);
}

PreTokenizer white_space(const JsonPart&) {
  return cutting([](std::u32string_view text) { return by_character(text, is_whitespace); }, remove);
}

PreTokenizer split(const JsonPart& part) {
  static constexpr std::array<std::pair<const char*, Behavior>, 5> kBehaviors = {
      {{"Isolated", isolate},
       {"Removed", remove},
       {"Contiguous", join_equal},
       {"MergedWithPrevious", join_with_previous},
       {"MergedWithNext", join_with_next}}};
  const std::string name = part.text("behavior");
  const auto* behavior =
      std::find_if(kBehaviors.begin(), kBehaviors.end(), [&](const auto& known) { return name == known.first; });
  if (behavior == kBehaviors.end()) part.fail("a behavior that is known", name);
  Split matches = by_pattern(part);
  if (!part.flag("invert", false)) return cutting(matches, behavior->second);
  const auto inverted = [matches](std::u32string_view text) {
    std::vector<Stretch> stretches = matches(text);
    for (Stretch& one : stretches) one.matches = !one.matches;
    return stretches;
  };
  return cutting(inverted, behavior->second);
}

// Spaces become the mark, which stands also before a word that has none ("always"), or before the text ("first").
PreTokenizer metaspace(const JsonPart& part) {
  const char32_t mark = part.character("replacement");
  const std::string scheme = part.text("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    part.fail("\"prepend_scheme\" as always, first or never", scheme);
  }
  if (!part.flag("add_prefix_space", true) && scheme != "never") {
    part.fail("\"prepend_scheme\" as never, since add_prefix_space is false", scheme);
  }
  const auto marked = [mark, scheme](std::vector<Word> words) {
    for (Word& word : words) {
      std::replace(word.text.begin(), word.text.end(), U' ', mark);
      const bool wanted = scheme == "always" || (scheme == "first" && word.at_start);
      if (wanted && !word.text.starts_with(mark)) word.text.insert(word.text.begin(), mark);
    }
    return words;
  };
  if (!part.flag("split", true)) return marked;
  const auto is_mark = [mark](std::u32string_view text) {
    return by_character(text, [mark](char32_t c) { return c == mark; });
  };
  return [marked, cut = cutting(is_mark, join_with_next)](std::vector<Word> words) {
    return cut(marked(std::move(words)));
  };
}

PreTokenizer pre_tokenizer_of(const JsonPart& part) {
  static constexpr std::array<std::pair<const char*, PreTokenizer (*)(const JsonPart&)>, 6> kKnown = {
      {{"Sequence", pre_tokenizers},
       {"ByteLevel", byte_level},
       {"Digits", digits},
       {"Metaspace", metaspace},
       {"Split", split},
       {"WhitespaceSplit", white_space}}};
  return part.choose(kKnown)(part);
}

}  // namespace

void require_length(size_t characters) {
  if (characters <= kLongestText) return;
  throw DataError(
      describe("text", fmt::format("at most {} characters, also after normalisation", kLongestText), "more"));
}

Normalizer make_normalizer(const json& value, const std::string& where) {
  if (value.is_null()) return [](std::u32string text) { return text; };
  return normalizer_of(JsonPart(value, where + ", normalizer"));
}

PreTokenizer make_pre_tokenizer(const json& value, const std::string& where) {
  if (value.is_null()) return [](std::vector<Word> words) { return words; };
  return pre_tokenizer_of(JsonPart(value, where + ", pre_tokenizer"));
}

}  // namespace readback::text
