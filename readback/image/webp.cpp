#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "readback/base/error.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {
namespace {

std::string chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator iterator;
  if (WebPDemuxGetChunk(demuxer, name, 1, &iterator) == 0) return "";
  std::string bytes(reinterpret_cast<const char*>(iterator.chunk.bytes), iterator.chunk.size);
  WebPDemuxReleaseChunkIterator(&iterator);
  return bytes;
}

}  // namespace

bool is_webp(std::string_view bytes) {
  return bytes.size() >= 16 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP";
}

DecodedFile decode_webp(std::string_view bytes, const std::string& name) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data.bytes, data.size, &features) != VP8_STATUS_OK) {
    throw DataError(describe(name, "a whole WebP file", "a damaged header"));
  }
  check_size(features.width, features.height, name);

  // The decoder of animations also reads still pictures, and gives the first frame on its canvas as Pillow does.
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(WebPAnimDecoderNew(&data, nullptr),
                                                                                   &WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp) == 0) {
    throw DataError(describe(name, "a whole WebP file", "truncated or corrupt data"));
  }
  WebPAnimInfo canvas;
  WebPAnimDecoderGetInfo(decoder.get(), &canvas);
  check_size(canvas.canvas_width, canvas.canvas_height, name);
  DecodedFile file;
  file.image = Image(canvas.canvas_width, canvas.canvas_height);
  const size_t pixels = file.image.pixels.size() / 3;
  if (features.has_alpha != 0) file.alpha.resize(pixels);
  for (size_t i = 0; i < pixels; ++i) {
    std::memcpy(file.image.pixels.data() + i * 3, rgba + i * 4, 3);
    if (features.has_alpha != 0) file.alpha[i] = rgba[i * 4 + 3];
  }
  const WebPDemuxer* demuxer = WebPAnimDecoderGetDemuxer(decoder.get());
  file.orientation = read_orientation(chunk(demuxer, "EXIF"), chunk(demuxer, "XMP "));
  return file;
}

}  // namespace readback::image
