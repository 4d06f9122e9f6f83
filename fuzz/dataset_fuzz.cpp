// Any bytes as a COCO file, and as the captions beside a picture.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "readback/base/error.h"
#include "readback/data/dataset.h"

namespace {

namespace fs = std::filesystem;
using namespace readback;

struct Setup {
  Setup() {
    std::string name = (fs::temp_directory_path() / "readback-fuzz-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    fs::create_directory(folder / "images");
    std::ofstream(folder / "images/a.png") << "looked at by name only";
  }
  ~Setup() { fs::remove_all(folder); }
  fs::path folder;
};

void check(const std::string& spec) {
  try {
    const auto dataset = data::open_dataset(spec, {});
    std::set<std::string> ids;
    for (int64_t i = 0; i < dataset->size(); ++i) {
      if (!ids.insert(dataset->sample(i).id).second) std::abort();
    }
    if (dataset->size() == 0 || dataset->description().empty() || dataset->digest().size() != 16) std::abort();
  } catch (const DataError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Setup setup;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const fs::path file = setup.folder / "captions.json", captions = setup.folder / "images/a.txt";
  std::ofstream(file, std::ios::binary) << bytes;
  check("coco:" + file.string() + ":" + (setup.folder / "images").string());
  std::ofstream(captions, std::ios::binary) << bytes;
  check((setup.folder / "images").string());
  return 0;
}
