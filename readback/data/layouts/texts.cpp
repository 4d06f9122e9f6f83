// Plain lists of prompts: a text a line, without images.
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/columns.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/record_file.h"

namespace readback::data {

namespace {

class TextLines : public RecordFormat {
 public:
  std::optional<Sample> parse(std::string_view line, int64_t number, const std::string&, Problems&) const override {
    if (is_blank(line)) return std::nullopt;
    return Sample{fmt::format("line-{:06}", number), "", {std::string(trimmed(line))}, ""};
  }
};

}  // namespace

bool is_texts(const Look& look) {
  return look.path.extension() == ".txt" && !look.head.empty() && !look.is_json_lines && look.keys.empty() &&
         !looks_like_columns(look.head) && !is_flickr(look);
}

std::unique_ptr<Dataset> open_texts(const Opening& opening) {
  RecordFile::Origin origin{"texts", opening.path, opening.images, "texts", "texts, one a line"};
  return std::make_unique<RecordFile>(std::move(origin), std::make_unique<TextLines>(), opening);
}

}  // namespace readback::data
