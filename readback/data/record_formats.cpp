#include "readback/data/record_formats.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/json_files.h"
#include "readback/data/layouts/layout.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string id_of_line(int64_t line) { return fmt::format("line-{:06}", line); }

std::string in_quotes(std::string_view line) { return "\"" + std::string(line.substr(0, 80)) + "\""; }

// A sample of a picture's name and a caption. Nothing where the name leads out of the folder.
std::optional<Sample> pair_of(const fs::path& images, const std::string& name, std::string_view caption,
                              const std::string& where, Problems& problems) {
  const auto inside = checked_name(images, name, where, problems);
  if (!inside) return std::nullopt;
  Sample sample{*inside, *inside, {}, ""};
  if (is_blank(caption)) {
    problems.remark(Damage::kEmptyCaption, describe(where, "a caption", "nothing but blanks"));
  } else {
    sample.references.emplace_back(trimmed(caption));
  }
  return sample;
}

class JsonLines : public RecordFormat {
 public:
  JsonLines(Columns columns, fs::path images) : columns_(std::move(columns)), images_(std::move(images)) {}

  std::optional<Sample> parse(std::string_view record, int64_t line, const std::string& where,
                              Problems& problems) const override {
    if (is_blank(record)) return std::nullopt;
    try {
      return sample_of(parse_json(record), columns_, images_, id_of_line(line), where, problems);
    } catch (const json::exception& error) {
      problems.error(damage_of(error), describe(where, "a JSON object", error.what()));
      return std::nullopt;
    }
  }

 private:
  Columns columns_;
  fs::path images_;
};

class Table : public RecordFormat {
 public:
  Table(Header header, fs::path images) : header_(std::move(header)), images_(std::move(images)) {}

  bool is_open(std::string_view line, bool open) const override {
    return has_open_quote(line, header_.delimiter, open);
  }
  int64_t lines_before() const override { return 1; }
  std::optional<Sample> parse(std::string_view record, int64_t line, const std::string& where,
                              Problems& problems) const override {
    if (is_blank(record)) return std::nullopt;
    std::vector<std::string> fields = split_fields(record, header_.delimiter);
    if (is_flickr30k_slip(fields)) {
      problems.remark(Damage::kWrongColumns, describe(where, columns(), "a missing | behind the comment's number"));
      const size_t blank = fields.back().find(' ');
      const std::string caption = fields.back().substr(blank);
      fields.back().resize(blank);
      fields.push_back(caption);
    }
    if (fields.size() != header_.names.size()) {
      problems.error(Damage::kWrongColumns,
                     describe(where, columns(), fmt::format("{}: {}", fields.size(), in_quotes(record))));
      return std::nullopt;
    }
    const auto field = [&](const std::optional<size_t>& place) -> std::string {
      return place ? std::string(trimmed(fields[*place])) : "";
    };
    Sample sample;
    if (const std::string image = field(header_.image); !image.empty()) {
      const auto name = checked_name(images_, image, where, problems);
      if (!name) return std::nullopt;
      sample.image_name = *name;
    } else if (header_.image) {
      problems.error(Damage::kWrongColumns, describe(where, "a picture's file name", "an empty field"));
      return std::nullopt;
    }
    const std::string id = field(header_.id), caption = field(header_.caption);
    sample.id = !id.empty() ? id : sample.has_image() ? sample.image_name : id_of_line(line);
    sample.domain = field(header_.domain);
    if (!caption.empty()) {
      sample.references.push_back(caption);
    } else if (header_.caption) {
      problems.remark(Damage::kEmptyCaption, describe(where, "a caption", "an empty field"));
    }
    return sample;
  }

 private:
  std::string columns() const {
    return fmt::format("the {} columns {}", header_.names.size(), fmt::join(header_.names, ", "));
  }
  // The published results.csv of Flickr30k has one line "2199200615.jpg| 4   A dog runs across the grass .".
  bool is_flickr30k_slip(const std::vector<std::string>& fields) const {
    return header_.delimiter == '|' && header_.names.size() == 3 && fields.size() == 2 &&
           header_.names[1] == "comment_number" && fields[1].find(' ') == 1 && std::isdigit(fields[1].front());
  }

  Header header_;
  fs::path images_;
};

class Pairs : public RecordFormat {
 public:
  Pairs(char delimiter, fs::path images) : delimiter_(delimiter), images_(std::move(images)) {}

  bool is_open(std::string_view line, bool open) const override { return has_open_quote(line, delimiter_, open); }
  std::optional<Sample> parse(std::string_view record, int64_t, const std::string& where,
                              Problems& problems) const override {
    if (is_blank(record)) return std::nullopt;
    const std::vector<std::string> fields = split_fields(record, delimiter_);
    if (fields.size() == 2) return pair_of(images_, std::string(trimmed(fields[0])), fields[1], where, problems);
    problems.error(Damage::kWrongColumns,
                   describe(where, "two columns, a picture's name and a caption",
                            fmt::format("{}: {}", fields.size(), in_quotes(record)),
                            "Put texts that hold the delimiter in quotes, or name the columns in a first line"));
    return std::nullopt;
  }

 private:
  char delimiter_;
  fs::path images_;
};

class FlickrTokens : public RecordFormat {
 public:
  explicit FlickrTokens(fs::path images) : images_(std::move(images)) {}

  std::optional<Sample> parse(std::string_view record, int64_t, const std::string& where,
                              Problems& problems) const override {
    if (is_blank(record)) return std::nullopt;
    if (!is_flickr_token(record)) {
      problems.error(Damage::kWrongColumns, describe(where, "NAME.jpg#NUMBER, a tab and a caption", in_quotes(record)));
      return std::nullopt;
    }
    const size_t mark = record.find('#'), tab = record.find('\t');
    return pair_of(images_, std::string(record.substr(0, mark)), record.substr(tab + 1), where, problems);
  }

 private:
  fs::path images_;
};

}  // namespace

bool is_flickr_token(std::string_view line) {
  const size_t mark = line.find('#'), tab = line.find('\t');
  if (mark == 0 || mark == std::string_view::npos || tab == std::string_view::npos || tab < mark + 2) return false;
  return std::ranges::all_of(line.substr(mark + 1, tab - mark - 1), [](unsigned char c) { return std::isdigit(c); });
}

std::unique_ptr<RecordFormat> make_json_lines(Columns columns, fs::path images) {
  return std::make_unique<JsonLines>(std::move(columns), std::move(images));
}

std::unique_ptr<RecordFormat> make_table(Header header, fs::path images) {
  return std::make_unique<Table>(std::move(header), std::move(images));
}

std::unique_ptr<RecordFormat> make_pairs(char delimiter, fs::path images) {
  return std::make_unique<Pairs>(delimiter, std::move(images));
}

std::unique_ptr<RecordFormat> make_flickr_tokens(fs::path images) {
  return std::make_unique<FlickrTokens>(std::move(images));
}

std::unique_ptr<RecordFormat> make_table_of(const fs::path& path, const Columns& columns, const fs::path& images,
                                            Problems& problems) {
  const RandomFile file(path);
  LineReader lines(file);
  std::string first;
  try {
    (void)without_mark(file.read(0, 4), path.string());
  } catch (const DataError& error) {
    problems.error(Damage::kEncoding, error.what());
    return nullptr;
  }
  if (lines.next()) first = lines.line();
  if (auto header = header_of(first, columns)) return make_table(std::move(*header), images);
  for (const char delimiter : {'\t', ',', '|'}) {
    const std::vector<std::string> fields = split_fields(first, delimiter);
    if (fields.size() > 1 && image::has_image_name(trimmed(fields.front()))) return make_pairs(delimiter, images);
  }
  problems.error(
      Damage::kWrongColumns,
      describe(path.string() + ":1",
               fmt::format("a header with a picture ({}) or a caption ({}), between tabs, commas or |",
                           fmt::join(columns.image, ", "), fmt::join(columns.caption, ", ")),
               first.empty() ? "an empty line" : in_quotes(first), "Name its columns with the option columns"));
  return nullptr;
}

}  // namespace readback::data
