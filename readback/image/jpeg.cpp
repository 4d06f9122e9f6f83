#include <csetjmp>
#include <cstdio>
#include <cstdlib>

// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include "readback/base/error.h"
#include "readback/image/codec.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {
namespace {

constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr int kMaxScans = 500;  // progressive files of more are attacks on time

// libjpeg reports through callbacks that must not return: they jump back to the setjmp of the calling function.
struct ErrorManager {
  jpeg_error_mgr manager;  // first, so that a pointer to it is one to ErrorManager
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = "";
};

void fail(j_common_ptr codec) {
  auto* errors = reinterpret_cast<ErrorManager*>(codec->err);
  errors->manager.format_message(codec, errors->message);
  std::longjmp(errors->jump, 1);
}

// Warnings of corrupt data are passed over, as Pillow does; only the end of the data is an error.
void pass_over(j_common_ptr codec, int level) {
  if (level < 0 && codec->err->msg_code == JWRN_JPEG_EOF) fail(codec);
}

void limit_scans(j_common_ptr codec) {
  auto* jpeg = reinterpret_cast<j_decompress_ptr>(codec);
  if (codec->is_decompressor && jpeg->input_scan_number > kMaxScans) {
    codec->err->msg_code = JERR_BAD_PROGRESSION;
    fail(codec);
  }
}

void install(ErrorManager& errors) {
  jpeg_std_error(&errors.manager);
  errors.manager.error_exit = fail;
  errors.manager.emit_message = pass_over;
}

// What reading touches lives here, outside of the function that longjmp may cut short.
struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_progress_mgr progress{};
  ErrorManager errors;
  DecodedFile file;
  std::vector<uint8_t> cmyk_row;
  std::string exif, xmp;

  Reader() {
    jpeg.err = &errors.manager;
    install(errors);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

bool read_header(Reader& reader, std::string_view bytes) {
  if (setjmp(reader.errors.jump)) return false;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  jpeg_create_decompress(&jpeg);
  reader.progress.progress_monitor = limit_scans;
  jpeg.progress = &reader.progress;
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&jpeg, kExifMarker, 0xFFFF);
  jpeg_read_header(&jpeg, TRUE);
  return true;
}

bool read_pixels(Reader& reader) {
  if (setjmp(reader.errors.jump)) return false;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const bool cmyk = jpeg.num_components == 4;
  jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  while (jpeg.output_scanline < jpeg.output_height) {
    uint8_t* target = reader.file.image.at(0, jpeg.output_scanline);
    uint8_t* row = cmyk ? reader.cmyk_row.data() : target;
    jpeg_read_scanlines(&jpeg, &row, 1);
    if (!cmyk) continue;
    // Four-channel JPEG follows Adobe's convention: inverted ink, so that 255 is none.
    for (uint8_t& ink : reader.cmyk_row) ink = static_cast<uint8_t>(255 - ink);
    cmyk_to_rgb(row, target, jpeg.output_width);
  }
  // No jpeg_finish_decompress: what comes after the last row, or does not come, leaves the picture as it is.
  return true;
}

// APP1 holds either EXIF, which may be spread over several markers, or XMP.
void read_markers(Reader& reader) {
  constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  for (auto* marker = reader.jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(kExif)) reader.exif += data.substr(reader.exif.empty() ? 0 : kExif.size());
    if (data.starts_with(kXmp)) reader.xmp = data.substr(kXmp.size());
  }
}

struct Writer {
  jpeg_compress_struct jpeg{};
  ErrorManager errors;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;

  Writer() {
    jpeg.err = &errors.manager;
    install(errors);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
};

bool write(Writer& writer, const Image& image, int quality) {
  if (setjmp(writer.errors.jump)) return false;
  jpeg_compress_struct& jpeg = writer.jpeg;
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &writer.bytes, &writer.size);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.input_components = 3;
  jpeg.in_color_space = JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<uint8_t*>(image.at(0, jpeg.next_scanline));
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.starts_with("\xFF\xD8\xFF"); }

DecodedFile decode_jpeg(std::string_view bytes, const std::string& name) {
  Reader reader;
  if (!read_header(reader, bytes)) throw DataError(describe(name, "a whole JPEG file", reader.errors.message));
  const int64_t width = reader.jpeg.image_width, height = reader.jpeg.image_height;
  check_size(width, height, name);
  reader.file.image = Image(width, height);
  if (reader.jpeg.num_components == 4) reader.cmyk_row.resize(static_cast<size_t>(width) * 4);
  if (!read_pixels(reader)) throw DataError(describe(name, "a whole JPEG file", reader.errors.message));
  read_markers(reader);
  reader.file.orientation = read_orientation(reader.exif, reader.xmp);
  return std::move(reader.file);
}

std::string encode_jpeg(const Image& image, int quality) {
  check_size(image.width, image.height, "encoding JPEG");
  Writer writer;
  if (!write(writer, image, quality)) throw DataError(describe("encoding JPEG", "", writer.errors.message));
  return std::string(reinterpret_cast<const char*>(writer.bytes), writer.size);
}

}  // namespace readback::image
