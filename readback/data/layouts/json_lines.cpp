// JSON Lines: readback's own exports (captions.jsonl in a folder of pictures), and those of others.
#include "readback/base/error.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/record_formats.h"

namespace readback::data {

namespace fs = std::filesystem;

bool is_json_lines(const Look& look) {
  return look.is_json_lines || (look.is_folder && look.names.contains("captions.jsonl"));
}

std::unique_ptr<Dataset> open_json_lines(const Opening& opening) {
  std::error_code ignored;
  const bool folder = fs::is_directory(opening.path, ignored);
  const fs::path file = folder ? opening.path / "captions.jsonl" : opening.path;
  const fs::path images = folder && !opening.names_images ? opening.path : opening.images;
  RecordFile::Origin origin{"jsonl", file, images, "samples", "samples, a JSON object a line"};
  return std::make_unique<RecordFile>(std::move(origin), make_json_lines(Columns(opening.options.columns), images),
                                      opening);
}

}  // namespace readback::data
