// Any bytes as the file of every layout that has one: opened, read forwards and backwards, and checked.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/data/check.h"
#include "readback/data/dataset.h"
#include "readback/data/registry.h"

namespace {

namespace fs = std::filesystem;
using namespace readback;

struct Setup {
  Setup() {
    std::string name = (fs::temp_directory_path() / "readback-fuzz-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    for (const char* sub : {"images", "jsonl", "csv"}) fs::create_directory(folder / sub);
    std::ofstream(folder / "images/a.png") << "no picture";
  }
  ~Setup() { fs::remove_all(folder); }
  fs::path folder;
};

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const std::string& spec, const data::DatasetOptions& options) {
  int64_t size = -1;
  try {
    const auto dataset = data::open_dataset(spec, options);
    size = dataset->size();
    require(size > 0 && !dataset->description().empty() && dataset->digest().size() == 16);
    std::vector<std::string> ids;
    for (int64_t i = 0; i < size; ++i) ids.push_back(dataset->sample(i).id);
    for (int64_t i = size - 1; i >= 0; --i) {
      const data::Sample sample = dataset->sample(i);
      require(sample.id == ids[static_cast<size_t>(i)]);
      const fs::path name = fs::path(sample.image_name).lexically_normal();
      require(!name.is_absolute() && (name.empty() || *name.begin() != ".."));
      try {
        dataset->load_image(i);
      } catch (const DataError&) {
      }
    }
  } catch (const DataError&) {
  } catch (const UsageError&) {  // a split that the file lacks, a layout that nothing recognises
  }
  try {
    const data::CheckReport report = data::check_dataset(spec, options);
    require(size < 0 || report.samples == size);
    require(size >= 0 || !report.errors.empty());
  } catch (const UsageError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Setup setup;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const fs::path file = setup.folder / "file";
  for (const fs::path& path : {file, setup.folder / "jsonl/metadata.jsonl", setup.folder / "csv/metadata.csv"}) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  data::DatasetOptions options;
  options.split = "all";
  for (const char* layout : {"nocaps", "karpathy", "lavis", "flickr", "jsonl", "table", "texts"}) {
    check(std::string(layout) + ":" + file.string() + ":" + (setup.folder / "images").string(), options);
  }
  check("webdataset:" + file.string(), options);
  check("imagefolder:" + (setup.folder / "jsonl").string(), options);
  check("imagefolder:" + (setup.folder / "csv").string(), options);
  check(file.string(), options);
  return 0;
}
