// Decoders, and what post-processors put around a text.
#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "readback/text/byte_pairs.h"
#include "readback/text/json_part.h"
#include "readback/text/pipeline_parts.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::string>;

std::string joined(const Tokens& tokens, std::string_view between = "") {
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) text.append(i > 0 ? between : "").append(tokens[i]);
  return text;
}

// A decoder that treats each token alone; `change` takes the characters and the token's place.
template <typename Change>
Decoder each(const Change& change) {
  return [change](Tokens tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = encode_utf8(change(decode_utf8(tokens[i]), i));
    return tokens;
  };
}

Decoder decoder_of(const JsonPart& part);

Decoder decoders(const JsonPart& part) {
  std::vector<Decoder> steps;
  for (const JsonPart& one : part.list("decoders")) steps.push_back(decoder_of(one));
  return [steps](Tokens tokens) {
    for (const Decoder& step : steps) tokens = step(std::move(tokens));
    return tokens;
  };
}

// All tokens are bytes of one text; one outside the alphabet (an added one may be) stands for its own spelling.
Decoder byte_level(const JsonPart&) {
  std::unordered_map<char32_t, char> byte_of;
  constexpr auto kAlphabet = byte_alphabet();
  for (size_t byte = 0; byte < 256; ++byte) byte_of[kAlphabet[byte]] = static_cast<char>(byte);
  return [byte_of](const Tokens& tokens) {
    std::string bytes;
    for (const std::string& token : tokens) {
      const size_t before = bytes.size();
      for (const char32_t character : decode_utf8(token)) {
        const auto found = byte_of.find(character);
        if (found == byte_of.end()) {
          bytes.replace(before, std::string::npos, token);
          break;
        }
        bytes.push_back(found->second);
      }
    }
    return Tokens{encode_utf8(decode_utf8(bytes))};
  };
}

// "<0x61>" is a byte. Bytes that follow each other are one text, or as many U+FFFD when they are not UTF-8.
Decoder byte_fallback(const JsonPart&) {
  return [](const Tokens& tokens) {
    Tokens result;
    std::string bytes;
    const auto end_bytes = [&] {
      if (bytes.empty()) return;
      if (encode_utf8(decode_utf8(bytes)) == bytes) {
        result.push_back(bytes);
      } else {
        result.insert(result.end(), bytes.size(), "\uFFFD");
      }
      bytes.clear();
    };
    for (const std::string& token : tokens) {
      uint8_t byte = 0;
      const char* digits = token.data() + 3;
      if (token.size() == 6 && token.starts_with("<0x") && token.ends_with('>') &&
          std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
        bytes.push_back(static_cast<char>(byte));
      } else {
        end_bytes();
        result.push_back(token);
      }
    }
    end_bytes();
    return result;
  };
}

Decoder fuse(const JsonPart&) {
  return [](const Tokens& tokens) { return Tokens{joined(tokens)}; };
}

Decoder metaspace(const JsonPart& part) {
  const bool at_start = part.text("prepend_scheme", "always") == "never";
  return each([mark = part.character("replacement"), at_start](std::u32string token, size_t place) {
    if (place == 0 && !at_start) std::erase(token, mark);
    std::replace(token.begin(), token.end(), mark, U' ');
    return token;
  });
}

Decoder replace(const JsonPart& part) {
  const json& pattern = part.at("pattern");
  const bool known = pattern.is_object() && pattern.contains("String") && pattern["String"].is_string();
  if (!known || pattern["String"] == "") part.fail("a pattern that is a String", pattern.dump());
  return [from = pattern["String"].get<std::string>(), to = part.text("content")](Tokens tokens) {
    for (std::string& token : tokens) {
      std::string replaced;
      size_t begin = 0;
      for (size_t at; (at = token.find(from, begin)) != std::string::npos; begin = at + from.size()) {
        replaced.append(token, begin, at - begin).append(to);
        require_length(replaced.size());
      }
      token = replaced.append(token, begin);
    }
    return tokens;
  };
}

// At most so many of a character at either end.
Decoder strip(const JsonPart& part) {
  const auto limit = [&](const char* key) { return static_cast<size_t>(part.number(key)); };
  return each([content = part.character("content"), start = limit("start"), stop = limit("stop")](std::u32string token,
                                                                                                  size_t) {
    const auto count = [&](auto first, size_t most) {
      const auto last = first + static_cast<std::ptrdiff_t>(std::min(most, token.size()));
      return static_cast<size_t>(std::find_if(first, last, [&](char32_t c) { return c != content; }) - first);
    };
    token.erase(token.size() - count(token.rbegin(), stop));
    return token.erase(0, count(token.begin(), start));
  });
}

Decoder decoder_of(const JsonPart& part) {
  static constexpr std::array<std::pair<const char*, Decoder (*)(const JsonPart&)>, 7> kKnown = {
      {{"Sequence", decoders},
       {"ByteFallback", byte_fallback},
       {"ByteLevel", byte_level},
       {"Fuse", fuse},
       {"Metaspace", metaspace},
       {"Replace", replace},
       {"Strip", strip}}};
  return part.choose(kKnown)(part);
}

int64_t id_of(const JsonPart& part, const json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX) part.fail("ids of tokens", value.dump());
  return value;
}

Frame frame_of(const JsonPart& part);

Frame frames(const JsonPart& part) {
  Frame frame;
  for (const JsonPart& one : part.list("processors")) {
    const Frame next = frame_of(one);
    frame.before.insert(frame.before.begin(), next.before.begin(), next.before.end());
    frame.after.insert(frame.after.end(), next.after.begin(), next.after.end());
  }
  return frame;
}

Frame nothing(const JsonPart&) { return {}; }

// [CLS] text [SEP]: "cls" and "sep" are [token, id].
Frame bert(const JsonPart& part) {
  const auto id = [&](const char* key) {
    const json& pair = part.at(key);
    if (!pair.is_array() || pair.size() != 2) part.fail(fmt::format("\"{}\" as [token, id]", key), pair.dump());
    return id_of(part, pair[1]);
  };
  return {{id("cls")}, {id("sep")}};
}

// "single" lists special tokens and, once, the sequence; "special_tokens" has their ids.
Frame frame_of_template(const JsonPart& part) {
  Frame frame;
  bool is_after = false;
  const json& single = part.at("single");
  if (!single.is_array()) part.fail("\"single\" as a list", single.dump());
  for (const json& piece : single) {
    if (piece.is_object() && piece.contains("Sequence")) {
      if (is_after) part.fail("a template with the sequence once", single.dump());
      is_after = true;
      continue;
    }
    const json special = piece.is_object() ? piece.value("SpecialToken", json()) : json();
    const json name = special.is_object() ? special.value("id", json()) : json();
    if (!name.is_string()) part.fail("a template of Sequence and SpecialToken", piece.dump());
    const json& tokens = part.at("special_tokens");
    const json entry = tokens.is_object() ? tokens.value(name.get<std::string>(), json()) : json();
    const json ids = entry.is_object() ? entry.value("ids", json()) : json();
    if (!ids.is_array()) part.fail("\"special_tokens\" with the ids of " + name.dump(), tokens.dump());
    for (const json& id : ids) (is_after ? frame.after : frame.before).push_back(id_of(part, id));
  }
  if (!is_after) part.fail("a template with the sequence", single.dump());
  return frame;
}

Frame frame_of(const JsonPart& part) {
  static constexpr std::array<std::pair<const char*, Frame (*)(const JsonPart&)>, 5> kKnown = {
      {{"Sequence", frames},
       {"ByteLevel", nothing},
       {"BertProcessing", bert},
       {"RobertaProcessing", bert},
       {"TemplateProcessing", frame_of_template}}};
  return part.choose(kKnown)(part);
}

}  // namespace

Decoder make_decoder(const json& value, const std::string& where) {
  if (value.is_null()) return [](const Tokens& tokens) { return Tokens{joined(tokens, " ")}; };
  return decoder_of(JsonPart(value, where + ", decoder"));
}

Frame make_frame(const json& value, const std::string& where) {
  return value.is_null() ? Frame{} : frame_of(JsonPart(value, where + ", post_processor"));
}

}  // namespace readback::text
