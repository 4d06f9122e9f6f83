// Tables: CSV, TSV and what stands between bars, with named columns; and Flickr8k's and Flickr30k's own files.
#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/record_formats.h"

namespace readback::data {

namespace {

std::string_view first_line(const Look& look) {
  const std::vector<std::string_view> lines = lines_of(look.head);
  return lines.empty() ? std::string_view() : lines.front();
}

bool is_results_csv(std::string_view line) {
  const auto header = header_of(line, Columns());
  return header && header->names == std::vector<std::string>{"image_name", "comment_number", "comment"};
}

std::unique_ptr<Dataset> open_table_as(const std::string& kind, const Opening& opening) {
  auto format = make_table_of(opening.path, Columns(opening.options.columns), opening.images, opening.problems);
  if (format == nullptr) return nullptr;
  RecordFile::Origin origin{kind, opening.path, opening.images, "samples", "a row a sample below the header"};
  return std::make_unique<RecordFile>(std::move(origin), std::move(format), opening);
}

}  // namespace

bool is_flickr(const Look& look) { return is_flickr_token(first_line(look)) || is_results_csv(first_line(look)); }

bool is_table(const Look& look) {
  if (look.is_folder || look.is_json_lines || !look.keys.empty() || is_flickr(look)) return false;
  const auto extension = look.path.extension();
  return extension == ".csv" || extension == ".tsv" || looks_like_columns(look.head);
}

std::unique_ptr<Dataset> open_table(const Opening& opening) { return open_table_as("table", opening); }

std::unique_ptr<Dataset> open_flickr(const Opening& opening) {
  const RandomFile file(opening.path);
  LineReader lines(file);
  if (!lines.next() || !is_flickr_token(lines.line())) return open_table_as("flickr", opening);
  RecordFile::Origin origin{"flickr", opening.path, opening.images, "samples", "NAME.jpg#NUMBER, a tab and a caption"};
  return std::make_unique<RecordFile>(std::move(origin), make_flickr_tokens(opening.images), opening);
}

}  // namespace readback::data
