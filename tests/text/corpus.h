// The captions of the shared data, and what transformers made of all of them.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "readback/text/tokenizer.h"
#include "tests/text/goldens.h"

namespace readback::text::testing {

inline void strings(const Json& value, std::vector<std::string>& result) {
  if (value.is_string()) result.push_back(value);
  if (value.is_structured()) {
    for (const Json& part : value) strings(part, result);
  }
}

inline std::vector<std::string> texts_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::vector<std::string> result;
  if (path.extension() == ".json") {
    strings(Json::parse(stream), result);
    return result;
  }
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    result.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

// `corpus` has for each file how many texts it has, and the digests of `kind`.
inline void expect_corpus(const Json& corpus, const std::filesystem::path& data, const std::string& kind,
                          const Tokenizer& tokenizer) {
  for (const auto& [name, expected] : corpus.items()) {
    SCOPED_TRACE(name);
    const std::vector<std::string> texts = texts_of(data / name);
    ASSERT_EQ(texts.size(), expected["texts"]) << "the data changed: run tools/reference/text.py and pipelines.py";
    Digest ids, decoded;
    for (const std::string& text : texts) {
      const std::vector<int64_t> one = tokenizer.encode(text);
      ids.add(one);
      decoded.add(tokenizer.decode(one));
    }
    EXPECT_EQ(Json::array({ids.hex(), decoded.hex()}), expected[kind]);
  }
}

}  // namespace readback::text::testing
