// Which parts of a record are what: the names that tables and JSON Lines have for pictures, ids, captions and domains.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "readback/data/dataset.h"
#include "readback/data/problems.h"

namespace readback::data {

// The names of each role, the surest first; what the user says stands in front of them.
class Columns {
 public:
  Columns() = default;
  // ROLE=NAME, with the roles image, id, caption and domain. Errors: UsageError.
  explicit Columns(std::span<const std::string> given);

  std::vector<std::string> image = {"image", "file_name", "filename", "image_name", "image_path",
                                    "file",  "path",      "filepath", "img"};
  std::vector<std::string> id = {"id", "image_id", "img_id", "imgid", "key"};
  std::vector<std::string> caption = {"caption", "captions",  "text",    "texts", "references",
                                      "prompt",  "sentences", "comment", "raw",   "description"};
  std::vector<std::string> domain = {"domain"};
};

// What `record` says of one sample: image (relative to `images`; null is none), captions (a text, a list of texts, or
// of objects with `text` or `raw`), id, domain, and the truth that readback's exports have. Without an id, the
// picture's name is it, or else `id`. Nothing where `problems` was told of an error.
std::optional<Sample> sample_of(const nlohmann::json& record, const Columns& columns,
                                const std::filesystem::path& images, const std::string& id, const std::string& where,
                                Problems& problems);

// The fields of a line between `delimiter`s. With `,` and tab a field may stand in quotes, as RFC 4180 says; around
// `|` blanks are dropped.
std::vector<std::string> split_fields(std::string_view line, char delimiter);
// Whether a quoted field goes on behind the line's end; `is_open`: it began before the line.
bool has_open_quote(std::string_view line, char delimiter, bool is_open);

// A table's first line, as far as it is one.
struct Header {
  char delimiter = ',';
  std::vector<std::string> names;  // lower case
  std::optional<size_t> image, id, caption, domain;
};
// Nothing where `line` names no caption and no picture: where it is no header of captions.
std::optional<Header> header_of(std::string_view line, const Columns& columns);

// Whether the beginning of a text has columns of picture names and captions, with a header or without: it is no list of
// captions then.
bool looks_like_columns(std::string_view head);

}  // namespace readback::data
