#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <span>

#include "readback/base/error.h"
#include "readback/image/codec.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {
namespace {

// What reading and writing touch lives here, outside of the functions that longjmp may cut short.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string message;          // set by libpng's error callback
  std::string_view unread;      // input
  std::string written;          // output
  std::vector<png_bytep> rows;  // where the pixels of each row go or come from
  std::vector<uint8_t> wide;    // what does not fit the picture's rows: 16-bit grey as stored, or RGBA
  Image image;
  std::vector<uint8_t> alpha;
  int color_type = 0, bit_depth = 0;  // of the file; libpng's own become those of the rows
};

[[noreturn]] void fail(png_structp png, png_const_charp message) {
  static_cast<Session*>(png_get_error_ptr(png))->message = message;
  png_longjmp(png, 1);
}

void pass_over(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep target, size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (size > session->unread.size()) png_error(png, "the file is truncated");
  std::memcpy(target, session->unread.data(), size);
  session->unread.remove_prefix(size);
}

void write_bytes(png_structp png, png_bytep source, size_t size) {
  static_cast<Session*>(png_get_io_ptr(png))->written.append(reinterpret_cast<const char*>(source), size);
}

void flush(png_structp) {}

struct Reader : Session {
  Reader() {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<Session*>(this), fail, pass_over);
    info = png != nullptr ? png_create_info_struct(png) : nullptr;
    if (info == nullptr) throw DataError(describe("libpng", "a working library", "no memory or another version"));
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct Writer : Session {
  Writer() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<Session*>(this), fail, pass_over);
    info = png != nullptr ? png_create_info_struct(png) : nullptr;
    if (info == nullptr) throw DataError(describe("libpng", "a working library", "no memory or another version"));
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

bool read_header(Reader& reader, std::string_view bytes) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  reader.unread = bytes;
  png_set_read_fn(reader.png, static_cast<Session*>(&reader), read_bytes);
  png_set_user_limits(reader.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size limits the area instead
  png_set_benign_errors(reader.png, 1);
  png_read_info(reader.png, reader.info);
  reader.color_type = png_get_color_type(reader.png, reader.info);
  reader.bit_depth = png_get_bit_depth(reader.png, reader.info);
  return true;
}

bool is_grey16(const Reader& reader) { return reader.color_type == PNG_COLOR_TYPE_GRAY && reader.bit_depth == 16; }

bool has_alpha_channel(const Reader& reader) { return (reader.color_type & PNG_COLOR_MASK_ALPHA) != 0; }

bool is_palette(const Reader& reader) { return reader.color_type == PNG_COLOR_TYPE_PALETTE; }

// Leaves RGB or RGBA in the rows; for palettes one index a pixel at the start of each row.
bool read_pixels(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return false;
  if (is_palette(reader)) {
    png_set_packing(reader.png);
  } else if (!is_grey16(reader)) {
    png_set_strip_16(reader.png);
    png_set_expand_gray_1_2_4_to_8(reader.png);
    png_set_gray_to_rgb(reader.png);
  }
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  png_read_image(reader.png, reader.rows.data());
  return true;
}

// Chunks after the pixels may hold the orientation. Their absence or corruption does not spoil the picture.
void read_end(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png))) return;
  png_read_end(reader.png, reader.info);
}

// A palette's transparency is an alpha for each index, or 255.
void read_palette(Reader& reader) {
  png_bytep alphas = nullptr;
  int transparent = 0;
  Image& image = reader.image;
  if (png_get_tRNS(reader.png, reader.info, &alphas, &transparent, nullptr) != 0 && alphas != nullptr) {
    reader.alpha.resize(static_cast<size_t>(image.width * image.height));
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t x = 0; x < image.width; ++x) {
        const uint8_t index = image.pixels[static_cast<size_t>(y * image.width * 3 + x)];
        reader.alpha[static_cast<size_t>(y * image.width + x)] = index < transparent ? alphas[index] : 255;
      }
    }
  }
  png_colorp colours = nullptr;
  int count = 0;
  png_get_PLTE(reader.png, reader.info, &colours, &count);
  Palette palette{};
  for (int i = 0; i < std::min(count, 256); ++i) palette[i] = {colours[i].red, colours[i].green, colours[i].blue};
  expand_palette(image, palette);
}

void clip_grey16(Reader& reader) {
  for (size_t i = 0; i * 2 < reader.wide.size(); ++i) {
    const uint8_t value = reader.wide[i * 2] != 0 ? 255 : reader.wide[i * 2 + 1];
    std::memset(reader.image.pixels.data() + i * 3, value, 3);
  }
}

void split_alpha(Reader& reader) {
  reader.alpha.resize(reader.wide.size() / 4);
  for (size_t i = 0; i < reader.alpha.size(); ++i) {
    std::memcpy(reader.image.pixels.data() + i * 3, reader.wide.data() + i * 4, 3);
    reader.alpha[i] = reader.wide[i * 4 + 3];
  }
}

// One colour of a grey or RGB picture is transparent. Pillow compares the low byte of its values with 8-bit pixels,
// also where the file's values have 2, 4 or 16 bits; only of 1 bit it means what the file means.
void find_transparent_color(Reader& reader) {
  png_color_16p color = nullptr;
  if (png_get_tRNS(reader.png, reader.info, nullptr, nullptr, &color) == 0 || color == nullptr) return;
  std::array<uint8_t, 3> wanted = {static_cast<uint8_t>(color->red), static_cast<uint8_t>(color->green),
                                   static_cast<uint8_t>(color->blue)};
  if (reader.color_type == PNG_COLOR_TYPE_GRAY) {
    wanted.fill(static_cast<uint8_t>(reader.bit_depth == 1 && color->gray != 0 ? 255 : color->gray));
  }
  reader.alpha.resize(reader.image.pixels.size() / 3);
  for (size_t i = 0; i < reader.alpha.size(); ++i) {
    reader.alpha[i] = std::memcmp(reader.image.pixels.data() + i * 3, wanted.data(), 3) == 0 ? 0 : 255;
  }
}

int orientation(Reader& reader) {
  std::string_view exif, xmp;
  png_uint_32 size = 0;
  png_bytep bytes = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &bytes) != 0) exif = {reinterpret_cast<char*>(bytes), size};
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reader.png, reader.info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    if (std::string_view(texts[i].key) != "XML:com.adobe.xmp") continue;
    xmp = {texts[i].text, texts[i].itxt_length != 0 ? texts[i].itxt_length : texts[i].text_length};
  }
  return read_orientation(exif, xmp);
}

bool write(Writer& writer, const Image& image, std::span<png_text> texts) {
  if (setjmp(png_jmpbuf(writer.png))) return false;
  png_set_write_fn(writer.png, static_cast<Session*>(&writer), write_bytes, flush);
  png_set_user_limits(writer.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height),
               8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!texts.empty()) png_set_text(writer.png, writer.info, texts.data(), static_cast<int>(texts.size()));
  png_write_info(writer.png, writer.info);
  png_write_image(writer.png, writer.rows.data());
  png_write_end(writer.png, writer.info);
  return true;
}

}  // namespace

bool is_png(std::string_view bytes) { return bytes.starts_with("\x89PNG\r\n\x1A\n"); }

DecodedFile decode_png(std::string_view bytes, const std::string& name) {
  Reader reader;
  if (!read_header(reader, bytes)) throw DataError(describe(name, "a whole PNG file", reader.message));
  const int64_t width = png_get_image_width(reader.png, reader.info);
  const int64_t height = png_get_image_height(reader.png, reader.info);
  check_size(width, height, name);
  reader.image = Image(width, height);
  const int64_t size = is_grey16(reader) ? 2 : has_alpha_channel(reader) ? 4 : 0;  // bytes of a pixel in `wide`
  reader.wide.resize(static_cast<size_t>(width * height * size));
  for (int64_t y = 0; y < height; ++y) {
    reader.rows.push_back(size > 0 ? reader.wide.data() + y * width * size : reader.image.at(0, y));
  }
  if (!read_pixels(reader)) throw DataError(describe(name, "a whole PNG file", reader.message));
  if (is_palette(reader)) {
    read_palette(reader);
  } else if (has_alpha_channel(reader)) {
    split_alpha(reader);
  } else {
    if (is_grey16(reader)) clip_grey16(reader);
    find_transparent_color(reader);
  }
  read_end(reader);
  return {std::move(reader.image), orientation(reader), std::move(reader.alpha)};
}

std::string encode_png(const Image& image, const std::vector<std::pair<std::string, std::string>>& texts) {
  check_size(image.width, image.height, "encoding PNG");
  Writer writer;
  for (int64_t y = 0; y < image.height; ++y) writer.rows.push_back(const_cast<png_bytep>(image.at(0, y)));
  std::vector<png_text> chunks;
  for (const auto& [keyword, text] : texts) {
    png_text chunk{};
    const bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 128; });
    chunk.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<png_charp>(keyword.c_str());
    chunk.text = const_cast<png_charp>(text.c_str());
    (ascii ? chunk.text_length : chunk.itxt_length) = text.size();
    chunks.push_back(chunk);
  }
  if (!write(writer, image, chunks)) throw DataError(describe("encoding PNG", "", writer.message));
  return std::move(writer.written);
}

}  // namespace readback::image
