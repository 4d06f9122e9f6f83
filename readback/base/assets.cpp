#include "readback/base/assets.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "readback/base/error.h"

namespace readback {

namespace fs = std::filesystem;

fs::path assets_dir() {
  std::vector<fs::path> places;
  if (const char* chosen = std::getenv("READBACK_ASSETS"); chosen != nullptr && *chosen != '\0') {
    places = {chosen};
  } else {
    std::error_code unknown;
    const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
    if (!unknown) places = {program.parent_path() / "../share/readback", program.parent_path() / "../../../assets"};
    places.push_back(fs::path(READBACK_SOURCE_DIR) / "assets");
  }
  std::string looked;
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (fs::is_directory(place / "emoji-scenes", ignored)) return fs::weakly_canonical(place);
    looked += (looked.empty() ? "" : ", ") + place.lexically_normal().string();
  }
  throw DataError(describe("assets", "a folder that holds emoji-scenes/", "none in " + looked,
                           "Set READBACK_ASSETS to readback's assets folder"));
}

}  // namespace readback
