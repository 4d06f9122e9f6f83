#include <fmt/format.h>

#include "readback/roundtrip/manifest.h"

namespace readback::roundtrip {

nlohmann::json this_build() {
#if defined(__clang__)
  const std::string compiler = "Clang " __clang_version__;
#else
  const std::string compiler = "GCC " __VERSION__;
#endif
  return {{"readback", READBACK_VERSION}, {"libtorch", READBACK_LIBTORCH_VERSION}, {"compiler", compiler}};
}

}  // namespace readback::roundtrip
