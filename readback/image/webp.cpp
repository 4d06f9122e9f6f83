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
  int width = 0, height = 0;
  if (WebPGetInfo(data.bytes, data.size, &width, &height) == 0) {
    throw DataError(describe(name, "a whole WebP file", "a damaged header"));
  }
  check_size(width, height, name);

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
  DecodedFile file{Image(canvas.canvas_width, canvas.canvas_height), 1};
  uint8_t* rgb = file.image.pixels.data();
  for (int64_t i = 0; i < file.image.width * file.image.height; ++i) std::memcpy(rgb + i * 3, rgba + i * 4, 3);
  const WebPDemuxer* demuxer = WebPAnimDecoderGetDemuxer(decoder.get());
  file.orientation = read_orientation(chunk(demuxer, "EXIF"), chunk(demuxer, "XMP "));
  return file;
}

}  // namespace readback::image
