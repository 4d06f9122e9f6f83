#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "readback/base/error.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {
namespace {

constexpr int kMostSamples = 6;  // of a pixel

// The file in memory as libtiff reads it, and what it said last.
struct Session {
  std::string_view bytes;
  uint64_t place = 0;
  std::string message;
};

Session& session_of(thandle_t handle) { return *static_cast<Session*>(handle); }

tmsize_t read_bytes(thandle_t handle, void* target, tmsize_t size) {
  Session& session = session_of(handle);
  const uint64_t left = session.bytes.size() - std::min<uint64_t>(session.place, session.bytes.size());
  const uint64_t count = std::min<uint64_t>(left, size < 0 ? 0 : static_cast<uint64_t>(size));
  if (count > 0) std::memcpy(target, session.bytes.data() + session.place, count);
  session.place += count;
  return static_cast<tmsize_t>(count);
}

tmsize_t write_nothing(thandle_t, void*, tmsize_t) { return 0; }

toff_t seek(thandle_t handle, toff_t offset, int whence) {
  Session& session = session_of(handle);
  const uint64_t from = whence == SEEK_CUR ? session.place : whence == SEEK_END ? session.bytes.size() : 0;
  return session.place = from + offset;
}

int close(thandle_t) { return 0; }
toff_t size_of(thandle_t handle) { return session_of(handle).bytes.size(); }

int keep_message(TIFF*, void* session, const char*, const char* format, va_list arguments) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, arguments);
  static_cast<Session*>(session)->message = text;
  return 1;
}

int pass_over(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct CloseFile {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
struct FreeOptions {
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};

struct Layout {
  uint32_t width = 0, height = 0;
  uint16_t compression = COMPRESSION_NONE, photometric = PHOTOMETRIC_MINISWHITE, bits = 1, samples = 1;
  uint16_t format = SAMPLEFORMAT_UINT, planar = PLANARCONFIG_CONTIG, orientation = 1;
  uint16_t extra_count = 0;  // samples behind the colours
  uint16_t extra = 0;        // what the first of them is
};

// Colours without the samples that follow them.
int color_samples(const Layout& layout) {
  switch (layout.photometric) {
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 1;
  }
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name) : session_{bytes, 0, ""}, name_(name) {
    const std::unique_ptr<TIFFOpenOptions, FreeOptions> options(TIFFOpenOptionsAlloc());
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_message, &session_);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), pass_over, nullptr);
    // The largest piece of a picture of kMaxPixels: 4 samples of 16 bits.
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMaxPixels * 8);
    tiff_.reset(TIFFClientOpenExt(name.c_str(), "rm", &session_, read_bytes, write_nothing, seek, close, size_of,
                                  nullptr, nullptr, options.get()));
    if (tiff_ == nullptr) fail();
  }

  Layout read_layout() {
    Layout layout;
    if (TIFFGetField(tiff_.get(), TIFFTAG_IMAGEWIDTH, &layout.width) == 0 ||
        TIFFGetField(tiff_.get(), TIFFTAG_IMAGELENGTH, &layout.height) == 0) {
      fail();
    }
    check_size(layout.width, layout.height, name_);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_COMPRESSION, &layout.compression);
    TIFFGetField(tiff_.get(), TIFFTAG_PHOTOMETRIC, &layout.photometric);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_BITSPERSAMPLE, &layout.bits);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_SAMPLESPERPIXEL, &layout.samples);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_SAMPLEFORMAT, &layout.format);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_PLANARCONFIG, &layout.planar);
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ORIENTATION, &layout.orientation);
    uint16_t* extra = nullptr;
    if (TIFFGetField(tiff_.get(), TIFFTAG_EXTRASAMPLES, &layout.extra_count, &extra) == 0) layout.extra_count = 0;
    if (layout.extra_count > 0 && extra != nullptr) layout.extra = extra[0];
    if (TIFFIsCODECConfigured(layout.compression) == 0) {
      refuse("a TIFF file compressed by something that libtiff reads here",
             "compression " + std::to_string(layout.compression));
    }
    return layout;
  }

  // Every sample as 8 bits, height × width × samples.
  std::vector<uint8_t> read_samples(const Layout& layout) {
    const bool tiled = TIFFIsTiled(tiff_.get()) != 0;
    uint32_t piece_width = layout.width, piece_height = layout.height;
    if (tiled) {
      TIFFGetField(tiff_.get(), TIFFTAG_TILEWIDTH, &piece_width);
      TIFFGetField(tiff_.get(), TIFFTAG_TILELENGTH, &piece_height);
    } else {
      TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ROWSPERSTRIP, &piece_height);
    }
    piece_height = std::min(piece_height, tiled ? piece_height : layout.height);
    if (piece_width == 0 || piece_height == 0) refuse("a whole TIFF file", "pieces of no size");
    const tmsize_t size = tiled ? TIFFTileSize(tiff_.get()) : TIFFStripSize(tiff_.get());
    const tmsize_t row_size = tiled ? TIFFTileRowSize(tiff_.get()) : TIFFScanlineSize(tiff_.get());
    const int in_piece = layout.planar == PLANARCONFIG_SEPARATE ? 1 : layout.samples;
    const uint64_t needed = (uint64_t{piece_width} * in_piece * layout.bits + 7) / 8;
    if (size <= 0 || row_size <= 0 || static_cast<uint64_t>(row_size) < needed ||
        static_cast<uint64_t>(size) / static_cast<uint64_t>(row_size) < piece_height ||
        static_cast<uint64_t>(size) > kMaxPixels * 8) {
      refuse("a whole TIFF file", "pieces of an impossible size");
    }
    std::vector<uint8_t> piece(static_cast<size_t>(size)), samples;
    for (int plane = 0; plane < (in_piece == 1 ? layout.samples : 1); ++plane) {
      for (uint32_t top = 0; top < layout.height; top += std::min(piece_height, layout.height - top)) {
        for (uint32_t left = 0; left < layout.width; left += std::min(piece_width, layout.width - left)) {
          read_piece(tiled, left, top, plane, piece);
          // Not before a piece was read: damaged files claim any size.
          samples.resize(uint64_t{layout.width} * layout.height * layout.samples);
          const uint32_t rows = std::min(piece_height, layout.height - top);
          const uint32_t columns = std::min(piece_width, layout.width - left);
          for (uint32_t y = 0; y < rows; ++y) {
            uint8_t* target = samples.data() + (uint64_t{top + y} * layout.width + left) * layout.samples + plane;
            unpack(layout, piece.data() + y * static_cast<size_t>(row_size), columns, in_piece, target);
          }
        }
      }
    }
    return samples;
  }

  // libtiff's own conversion, for YCbCr that no JPEG decoder converts.
  Image read_rgba(const Layout& layout) {
    TIFFRGBAImage state;
    char reason[1024] = "";
    if (TIFFRGBAImageBegin(&state, tiff_.get(), /*stop=*/1, reason) == 0)
      refuse("a TIFF picture that can be read", reason);
    const std::unique_ptr<TIFFRGBAImage, decltype(&TIFFRGBAImageEnd)> end(&state, &TIFFRGBAImageEnd);
    state.orientation = state.req_orientation = ORIENTATION_TOPLEFT;  // turned later, like every picture
    std::vector<uint32_t> raster(uint64_t{layout.width} * layout.height);
    if (TIFFRGBAImageGet(&state, raster.data(), layout.width, layout.height) == 0) fail();
    Image image(layout.width, layout.height);
    for (size_t i = 0; i < raster.size(); ++i) {
      image.pixels[i * 3] = static_cast<uint8_t>(TIFFGetR(raster[i]));
      image.pixels[i * 3 + 1] = static_cast<uint8_t>(TIFFGetG(raster[i]));
      image.pixels[i * 3 + 2] = static_cast<uint8_t>(TIFFGetB(raster[i]));
    }
    return image;
  }

  Palette palette(const Layout& layout) {
    uint16_t *red = nullptr, *green = nullptr, *blue = nullptr;
    if (TIFFGetField(tiff_.get(), TIFFTAG_COLORMAP, &red, &green, &blue) == 0) refuse("a colour map", "none");
    Palette palette{};
    for (size_t i = 0; i < size_t{1} << layout.bits; ++i) {
      palette[i] = {static_cast<uint8_t>(red[i] >> 8), static_cast<uint8_t>(green[i] >> 8),
                    static_cast<uint8_t>(blue[i] >> 8)};
    }
    return palette;
  }

  std::string_view xmp() {
    uint32_t size = 0;
    const char* text = nullptr;
    return TIFFGetField(tiff_.get(), TIFFTAG_XMLPACKET, &size, &text) != 0 ? std::string_view(text, size) : "";
  }

  void convert_jpeg_to_rgb() { TIFFSetField(tiff_.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); }

  [[noreturn]] void refuse(const std::string& expected, const std::string& got) const {
    throw DataError(describe(name_, expected, got, "Save it as PNG if other programs can read it"));
  }

 private:
  void read_piece(bool tiled, uint32_t left, uint32_t top, int plane, std::vector<uint8_t>& piece) {
    TIFF* tiff = tiff_.get();
    const auto sample = static_cast<uint16_t>(plane);
    const auto size = static_cast<tmsize_t>(piece.size());
    std::fill(piece.begin(), piece.end(), uint8_t{0});
    const tmsize_t count =
        tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, left, top, 0, sample), piece.data(), size)
              : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, top, sample), piece.data(), size);
    if (count < 0) fail();
  }

  // `columns` pixels of `in_piece` samples each; those of a plane by itself are written a pixel apart.
  static void unpack(const Layout& layout, const uint8_t* source, uint32_t columns, int in_piece, uint8_t* target) {
    const bool grey = color_samples(layout) == 1;
    const int step = in_piece == 1 ? layout.samples : 1, bits = layout.bits;
    const uint64_t count = uint64_t{columns} * static_cast<uint64_t>(in_piece);
    for (uint64_t i = 0; i < count; ++i, target += step) {
      if (bits == 32) {
        *target = clipped(source + i * 4, layout.format);
      } else if (bits == 16) {
        uint16_t value = 0;
        std::memcpy(&value, source + i * 2, 2);
        if (layout.format == SAMPLEFORMAT_INT) {
          *target = static_cast<uint8_t>(std::clamp<int>(static_cast<int16_t>(value), 0, 255));
        } else {
          *target = static_cast<uint8_t>(grey ? std::min<int>(value, 255) : value >> 8);
        }
      } else if (bits == 8) {
        *target = source[i];
      } else {
        const uint64_t at = i * static_cast<uint64_t>(bits);
        const int most = (1 << bits) - 1, value = source[at / 8] >> (8 - bits - static_cast<int>(at % 8)) & most;
        *target = static_cast<uint8_t>(layout.photometric == PHOTOMETRIC_PALETTE ? value : value * 255 / most);
      }
    }
  }

  static uint8_t clipped(const uint8_t* source, uint16_t format) {
    if (format == SAMPLEFORMAT_IEEEFP) {
      float value = 0;
      std::memcpy(&value, source, 4);
      return static_cast<uint8_t>(value > 0 ? std::min(value, 255.0F) : 0);
    }
    int32_t value = 0;
    std::memcpy(&value, source, 4);
    return static_cast<uint8_t>(std::clamp(value, 0, 255));
  }

  [[noreturn]] void fail() const {
    throw DataError(describe(name_, "a whole TIFF file", session_.message.empty() ? "damaged data" : session_.message));
  }

  Session session_;
  const std::string& name_;
  std::unique_ptr<TIFF, CloseFile> tiff_;
};

void check_layout(const Reader& reader, const Layout& layout) {
  const bool whole = layout.bits == 8 || layout.bits == 16;
  const bool numbers = layout.format == SAMPLEFORMAT_UINT || layout.format == SAMPLEFORMAT_VOID;
  bool known = layout.samples >= color_samples(layout) && layout.samples <= kMostSamples;
  switch (layout.photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
      known &= layout.bits == 1 || layout.bits == 2 || layout.bits == 4 || whole || layout.bits == 32;
      known &=
          numbers || layout.format == SAMPLEFORMAT_INT || (layout.format == SAMPLEFORMAT_IEEEFP && layout.bits == 32);
      break;
    case PHOTOMETRIC_PALETTE:
      known &= layout.bits == 1 || layout.bits == 2 || layout.bits == 4 || layout.bits == 8;
      break;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_SEPARATED:
      known &= whole && numbers;
      break;
    case PHOTOMETRIC_YCBCR:
      known &= layout.bits == 8;
      break;
    default:
      known = false;
  }
  if (!known) {
    reader.refuse("a TIFF picture of grey, RGB, palette, CMYK or YCbCr samples",
                  "photometric interpretation " + std::to_string(layout.photometric) + ", " +
                      std::to_string(layout.samples) + " samples of " + std::to_string(layout.bits) +
                      " bits, sample format " + std::to_string(layout.format));
  }
}

// Pillow takes a fourth sample of RGB for alpha also where the file does not say what it is.
bool has_alpha(const Layout& layout) {
  if (layout.samples == color_samples(layout) || layout.photometric == PHOTOMETRIC_SEPARATED) return false;
  if (layout.extra_count == 0) return layout.photometric == PHOTOMETRIC_RGB && layout.samples == 4;
  return layout.extra != EXTRASAMPLE_UNSPECIFIED;
}

// Colours that were multiplied by alpha, as Pillow divides them.
void divide_by_alpha(uint8_t* rgb, uint8_t alpha) {
  for (int c = 0; c < 3; ++c) {
    rgb[c] = alpha == 0 ? 0 : static_cast<uint8_t>(std::min(255, 255 * rgb[c] / alpha));
  }
}

void to_colors(const Layout& layout, const std::vector<uint8_t>& samples, DecodedFile& file) {
  const size_t pixels = file.image.pixels.size() / 3, step = layout.samples;
  const int colors = color_samples(layout);
  if (has_alpha(layout)) file.alpha.resize(pixels);
  // Pillow does not turn 16-bit grey around.
  const bool inverted = layout.photometric == PHOTOMETRIC_MINISWHITE && layout.bits <= 8;
  for (size_t i = 0; i < pixels; ++i) {
    const uint8_t* source = samples.data() + i * step;
    uint8_t* rgb = file.image.pixels.data() + i * 3;
    if (colors == 4) {
      cmyk_to_rgb(source, rgb, 1);
    } else if (colors == 3) {
      std::memcpy(rgb, source, 3);
    } else {
      std::memset(rgb, inverted ? 255 - source[0] : source[0], 3);
    }
    if (file.alpha.empty()) continue;
    file.alpha[i] = source[colors];
    if (layout.extra == EXTRASAMPLE_ASSOCALPHA) divide_by_alpha(rgb, source[colors]);
  }
}

}  // namespace

bool is_tiff(std::string_view bytes) {
  for (const std::string_view start : {std::string_view("II*\0", 4), std::string_view("MM\0*", 4),
                                       std::string_view("II+\0", 4), std::string_view("MM\0+", 4)}) {
    if (bytes.starts_with(start)) return true;
  }
  return false;
}

DecodedFile decode_tiff(std::string_view bytes, const std::string& name) {
  Reader reader(bytes, name);
  Layout layout = reader.read_layout();
  if (layout.photometric == PHOTOMETRIC_YCBCR && layout.samples == 1) layout.photometric = PHOTOMETRIC_MINISBLACK;
  if (layout.compression == COMPRESSION_OJPEG && layout.samples == 3) layout.photometric = PHOTOMETRIC_YCBCR;
  check_layout(reader, layout);
  DecodedFile file;
  file.orientation = layout.orientation >= 1 && layout.orientation <= 8 ? layout.orientation : 1;
  if (layout.orientation == 1) file.orientation = read_orientation("", reader.xmp());
  const bool jpeg = layout.compression == COMPRESSION_JPEG && layout.planar == PLANARCONFIG_CONTIG;
  if (layout.photometric == PHOTOMETRIC_YCBCR && !jpeg) {
    file.image = reader.read_rgba(layout);
    return file;
  }
  if (layout.photometric == PHOTOMETRIC_YCBCR) reader.convert_jpeg_to_rgb();
  const std::vector<uint8_t> samples = reader.read_samples(layout);
  file.image = Image(layout.width, layout.height);
  to_colors(layout, samples, file);
  if (layout.photometric == PHOTOMETRIC_PALETTE) {
    Image& image = file.image;  // indices stand three times a pixel; expand_palette wants them at the start of a row
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < image.width; ++x) image.at(0, y)[x] = image.at(x, y)[0];
    }
    expand_palette(image, reader.palette(layout));
  }
  return file;
}

}  // namespace readback::image
