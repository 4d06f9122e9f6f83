#include "readback/base/cache.h"

#include <cstdlib>

namespace readback {

namespace fs = std::filesystem;

fs::path cache_folder() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  if (const fs::path own = variable("READBACK_CACHE"); !own.empty()) return own;
  if (const fs::path caches = variable("XDG_CACHE_HOME"); !caches.empty()) return caches / "readback";
  const fs::path home = variable("HOME");
  return (home.empty() ? "." : home) / ".cache" / "readback";
}

}  // namespace readback
