#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "readback/base/error.h"
#include "readback/image/formats.h"

namespace readback::image {
namespace {

int read_bytes(GifFileType* gif, GifByteType* target, int size) {
  auto* unread = static_cast<std::string_view*>(gif->UserData);
  const size_t count = std::min(static_cast<size_t>(size), unread->size());
  std::memcpy(target, unread->data(), count);
  unread->remove_prefix(count);
  return static_cast<int>(count);
}

void close(GifFileType* gif) { DGifCloseFile(gif, nullptr); }

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name) : unread_(bytes), name_(name) {
    int error = 0;
    gif_.reset(DGifOpen(&unread_, read_bytes, &error));
    if (gif_ == nullptr) fail(error);
  }

  // Goes to the first picture; the number of the transparent colour, or -1.
  int find_picture() {
    int transparent = NO_TRANSPARENT_COLOR;
    for (;;) {
      GifRecordType kind = UNDEFINED_RECORD_TYPE;
      check(DGifGetRecordType(gif_.get(), &kind));
      if (kind == TERMINATE_RECORD_TYPE) throw DataError(describe(name_, "a GIF file with a picture", "none in it"));
      if (kind == IMAGE_DESC_RECORD_TYPE) return check(DGifGetImageDesc(gif_.get())), transparent;
      if (kind != EXTENSION_RECORD_TYPE) continue;
      int code = 0;
      GifByteType* block = nullptr;
      check(DGifGetExtension(gif_.get(), &code, &block));
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr &&
          DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK &&
          control.TransparentColor != NO_TRANSPARENT_COLOR) {
        transparent = control.TransparentColor;
      }
      while (block != nullptr) check(DGifGetExtensionNext(gif_.get(), &block));
    }
  }

  // The picture's colour numbers, at the start of its rows.
  void read_pixels(Image& canvas) {
    constexpr struct { int first, step; } kPasses[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
    const GifImageDesc& frame = gif_->Image;
    std::vector<GifByteType> line(static_cast<size_t>(frame.Width));
    const auto read = [&](int y) {
      check(DGifGetLine(gif_.get(), line.data(), frame.Width));
      uint8_t* row = canvas.at(0, frame.Top + y);
      std::copy(line.begin(), line.end(), row + frame.Left);
    };
    if (!frame.Interlace) {
      for (int y = 0; y < frame.Height; ++y) read(y);
      return;
    }
    for (const auto& pass : kPasses) {
      for (int y = pass.first; y < frame.Height; y += pass.step) read(y);
    }
  }

  Palette palette() const {
    const ColorMapObject* map = gif_->Image.ColorMap != nullptr ? gif_->Image.ColorMap : gif_->SColorMap;
    if (map == nullptr) return grey_ramp();
    Palette palette{};
    for (int i = 0; i < std::min(map->ColorCount, 256); ++i) {
      palette[static_cast<size_t>(i)] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue};
    }
    return is_grey_ramp(palette, map->ColorCount) ? grey_ramp() : palette;
  }

  const GifFileType& file() const { return *gif_; }

 private:
  void check(int status) const {
    if (status != GIF_OK) fail(gif_->Error);
  }
  [[noreturn]] void fail(int error) const {
    const char* reason = GifErrorString(error);
    throw DataError(describe(name_, "a whole GIF file", reason != nullptr ? reason : "damaged data"));
  }

  std::string_view unread_;
  const std::string& name_;
  std::unique_ptr<GifFileType, decltype(&close)> gif_{nullptr, &close};
};

}  // namespace

bool is_gif(std::string_view bytes) { return bytes.starts_with("GIF87a") || bytes.starts_with("GIF89a"); }

DecodedFile decode_gif(std::string_view bytes, const std::string& name) {
  Reader reader(bytes, name);
  const int transparent = reader.find_picture();
  const GifImageDesc& frame = reader.file().Image;
  // A picture that reaches beyond the screen makes it larger.
  const int width = std::max(reader.file().SWidth, frame.Left + frame.Width);
  const int height = std::max(reader.file().SHeight, frame.Top + frame.Height);
  check_size(width, height, name);
  check_size(frame.Width, frame.Height, name);
  DecodedFile file;
  file.image = Image(width, height);
  // What the picture leaves free is transparent, or of the first colour.
  if (transparent > 0) std::fill(file.image.pixels.begin(), file.image.pixels.end(), static_cast<uint8_t>(transparent));
  reader.read_pixels(file.image);
  if (transparent >= 0) {
    file.alpha.resize(static_cast<size_t>(width) * static_cast<size_t>(height));
    for (size_t i = 0; i < file.alpha.size(); ++i) {
      const size_t row = i / static_cast<size_t>(width), x = i % static_cast<size_t>(width);
      const uint8_t index = file.image.pixels[row * static_cast<size_t>(width) * 3 + x];
      file.alpha[i] = index == transparent ? 0 : 255;
    }
  }
  expand_palette(file.image, reader.palette());
  return file;
}

}  // namespace readback::image
