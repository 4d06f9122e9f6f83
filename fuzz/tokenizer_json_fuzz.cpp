// Any bytes as a tokenizer.json of any kind.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "readback/base/error.h"
#include "readback/text/tokenizer.h"
#include "readback/text/unicode.h"

namespace {

namespace fs = std::filesystem;
using namespace readback::text;

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "readback-fuzz-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  std::ofstream(folder.path / "tokenizer.json", std::ios::binary)
      << std::string_view(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = load_tokenizer(folder.path);
    for (const std::string text :
         {"", "  A red dog's 12 hearts</s>\r\n\n <s>x  ", "caf\u00e9 e\u0301\u0301 \u4e2d \U0001f980\xff ab",
          "\u00bd\u0301 \u2581 <image>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
      const std::string decoded = tokenizer->decode(tokenizer->encode_with_special_tokens(text));
      require(encode_utf8(decode_utf8(decoded)) == decoded);
    }
  } catch (const readback::CheckpointError&) {
  } catch (const readback::DataError&) {
  }
  return 0;
}
