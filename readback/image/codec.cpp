#include "readback/image/codec.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr int64_t kLimit = 1'000'000;  // a fuzzer's time goes into the decoders' branches, not into large pictures
#else
constexpr int64_t kLimit = kMaxPixels;
#endif

void check_size(int64_t width, int64_t height, const std::string& name) {
  const std::string got = std::to_string(width) + " × " + std::to_string(height);
  if (width < 1 || height < 1) throw DataError(describe(name, "a picture of at least one pixel", got));
  if (width > kLimit / height) {
    throw DataError(describe(name, "at most " + std::to_string(kLimit) + " pixels", got,
                             "The file may be a decompression bomb; make it smaller if it is not"));
  }
}

void expand_palette(Image& image, const Palette& palette) {
  for (int64_t y = 0; y < image.height; ++y) {
    uint8_t* row = image.at(0, y);
    for (int64_t x = image.width - 1; x >= 0; --x) std::memcpy(row + x * 3, palette[row[x]].data(), 3);
  }
}

Palette grey_ramp() {
  Palette palette;
  for (size_t i = 0; i < palette.size(); ++i) palette[i].fill(static_cast<uint8_t>(i));
  return palette;
}

bool is_grey_ramp(const Palette& palette, int64_t entries) {
  const Palette ramp = grey_ramp();
  return std::equal(palette.begin(), palette.begin() + entries, ramp.begin());
}

void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t width) {
  for (int64_t x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int light = 255 - cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = cmyk[c] * light + 128;  // divided by 255 and rounded, as Pillow does
      rgb[c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
    }
  }
}

namespace {

struct Format {
  bool (*matches)(std::string_view bytes);
  DecodedFile (*decode)(std::string_view bytes, const std::string& name);
};

constexpr Format kFormats[] = {{is_jpeg, decode_jpeg}, {is_png, decode_png}, {is_webp, decode_webp},
                               {is_bmp, decode_bmp},   {is_gif, decode_gif}, {is_tiff, decode_tiff}};

// Null when there is none.
const Format* format_of(std::string_view bytes) {
  const auto* format = std::find_if(std::begin(kFormats), std::end(kFormats),
                                    [bytes](const Format& each) { return each.matches(bytes); });
  return format == std::end(kFormats) ? nullptr : format;
}

// Pictures that people have and that are not read. Magic bytes stand `offset` bytes behind the beginning.
struct ForeignKind {
  const char* name;
  size_t offset;
  std::string_view magic;
  std::vector<std::string> extensions;
};

const ForeignKind kForeignKinds[] = {
    {"an AVIF picture", 4, "ftypavif", {".avif"}},  {"a HEIF picture", 4, "ftypheic", {".heic", ".heif"}},
    {"a HEIF picture", 4, "ftypmif1", {}},          {"a JPEG 2000 picture", 4, "jP  \r\n\x87\n", {".jp2", ".j2k"}},
    {"a JPEG XL picture", 0, "\xFF\x0A", {".jxl"}}, {"a JPEG XL picture", 4, "JXL \r\n\x87\n", {}},
    {"a Photoshop file", 0, "8BPS", {".psd"}},      {"an SVG drawing", 0, "<svg", {".svg"}},
};

constexpr const char* kConvert = "Convert it, for example to PNG";

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

// Null when the bytes begin like nothing that is known.
const char* foreign_kind(std::string_view bytes) {
  for (const ForeignKind& kind : kForeignKinds) {
    if (bytes.size() > kind.offset && bytes.substr(kind.offset).starts_with(kind.magic)) return kind.name;
  }
  return nullptr;
}

// Pillow's alpha_composite on opaque white: 7 bits behind the point.
void lay_on_white(Image& image, const std::vector<uint8_t>& alpha) {
  for (size_t i = 0; i < alpha.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& value = image.pixels[i * 3 + c];
      const uint32_t mixed = (value * alpha[i] + 255U * (255U - alpha[i])) * 128U + (0x80U << 7);
      value = static_cast<uint8_t>((((mixed >> 8) + mixed) >> 8) >> 7);
    }
  }
}

}  // namespace

Image decode(std::string_view bytes, const std::string& name, Alpha alpha) {
  const Format* format = format_of(bytes);
  if (format == nullptr) {
    const char* foreign = foreign_kind(bytes);
    throw DataError(describe(name, std::string("a picture: ") + kReadableKinds,
                             bytes.empty()        ? "an empty file"
                             : foreign != nullptr ? foreign
                                                  : "another kind of file",
                             foreign != nullptr ? kConvert : ""));
  }
  DecodedFile file = format->decode(bytes, name);
  if (alpha == Alpha::kOnWhite) lay_on_white(file.image, file.alpha);
  return apply_orientation(std::move(file.image), file.orientation);
}

Image load(const std::filesystem::path& path, Alpha alpha) { return decode(read_file(path), path.string(), alpha); }

bool has_image_name(const std::filesystem::path& path) {
  static const std::set<std::string> kExtensions = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"};
  return kExtensions.contains(lower_extension(path)) && !path.filename().string().starts_with('.');
}

void refuse_unreadable_kind(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  const auto* named = std::find_if(std::begin(kForeignKinds), std::end(kForeignKinds), [&](const ForeignKind& kind) {
    return std::ranges::find(kind.extensions, extension) != kind.extensions.end();
  });
  const bool foreign_name = named != std::end(kForeignKinds) && !path.filename().string().starts_with('.');
  if (!foreign_name && !has_image_name(path)) return;
  std::array<char, 16> start{};
  std::ifstream file(path, std::ios::binary);
  if (!file) return;
  file.read(start.data(), start.size());
  const std::string_view bytes(start.data(), static_cast<size_t>(file.gcount()));
  if (format_of(bytes) != nullptr) return;
  const char* kind = foreign_kind(bytes);
  if (kind == nullptr && foreign_name) kind = named->name;
  if (kind != nullptr) {
    throw DataError(describe(path.string(), std::string("a picture: ") + kReadableKinds, kind, kConvert));
  }
}

void save(const Image& image, const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".png") {
    write_file(path, encode_png(image));
  } else if (extension == ".jpg" || extension == ".jpeg") {
    write_file(path, encode_jpeg(image));
  } else {
    throw UsageError(describe(path.string(), "a name that ends in .png, .jpg or .jpeg", extension));
  }
}

}  // namespace readback::image
