#include "tests/source_dir.h"

namespace tests {

std::filesystem::path source_dir() { return READBACK_SOURCE_DIR; }

std::filesystem::path shared_data(const std::string& name) { return source_dir() / "../shared/data" / name; }

std::string absence_of_shared_data(const std::string& name) {
  return std::filesystem::exists(shared_data(name)) ? "" : "../shared/data/" + name + " is absent";
}

}  // namespace tests
