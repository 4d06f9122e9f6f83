// Any bytes as a picture: the codecs of every kind with their orientation, and both rules for transparency.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "readback/base/error.h"
#include "readback/image/codec.h"

using namespace readback;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const image::Image dropped = image::decode(bytes, "fuzz", image::Alpha::kDropped);
    if (dropped.width < 1 || dropped.height < 1) std::abort();
    if (dropped.pixels.size() != static_cast<size_t>(dropped.width * dropped.height * 3)) std::abort();
    const image::Image laid = image::decode(bytes, "fuzz", image::Alpha::kOnWhite);
    if (laid.width != dropped.width || laid.height != dropped.height) std::abort();
    // What was read can be written and read again.
    if (dropped.pixels.size() < 30'000 &&
        image::decode(image::encode_png(dropped), "png", image::Alpha::kOnWhite) != dropped) {
      std::abort();
    }
  } catch (const DataError&) {
  }
  return 0;
}
