// Any captions through the Penn Treebank tokenizer, one by one and all together.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "readback/text/ptb_tokenizer.h"
#include "readback/text/unicode.h"

// Captions lie between line feeds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> captions(1);
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      captions.emplace_back();
    } else {
      captions.back() += static_cast<char>(data[i]);
    }
  }
  const auto tokens = readback::text::ptb_tokens(captions);
  if (tokens.size() != captions.size()) std::abort();
  for (size_t i = 0; i < captions.size(); ++i) {
    for (const std::string& token : tokens[i]) {
      if (token.empty()) std::abort();
      if (readback::text::encode_utf8(readback::text::decode_utf8(token)) != token) std::abort();
    }
    readback::text::ptb_tokens(captions[i]);
  }
  return 0;
}
