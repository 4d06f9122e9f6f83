#include "readback/data/columns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/ids.h"
#include "readback/data/layouts/layout.h"
#include "readback/image/codec.h"

namespace readback::data {

using nlohmann::json;

namespace {

constexpr char kDelimiters[] = {'\t', ',', '|'};

const json* first_of(const json& record, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    if (const auto found = record.find(key); found != record.end() && !found->is_null()) return &*found;
  }
  return nullptr;
}

std::string shown(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80);
}

// Nothing where the value is no caption.
const std::string* caption_of(const json& value) {
  const json* text = &value;
  if (value.is_object()) text = first_of(value, {"text", "raw", "caption"});
  return text != nullptr ? text->get_ptr<const std::string*>() : nullptr;
}

bool add_captions(Sample& sample, const json& value, const std::string& where, Problems& problems) {
  const auto add = [&](const json& each) {
    const std::string* caption = caption_of(each);
    if (caption == nullptr) {
      problems.error(Damage::kWrongStructure, describe(where, "a caption that is a string", shown(each)));
      return false;
    }
    if (is_blank(*caption)) {
      problems.remark(Damage::kEmptyCaption, describe(where, "a caption", "nothing but blanks"));
    } else {
      sample.references.emplace_back(*caption);
    }
    return true;
  };
  if (!value.is_array()) return add(value);
  return std::ranges::all_of(value, add);
}

std::string lower_ascii(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return c < 128 ? std::tolower(c) : c; });
  return text;
}

// A line without header whose first field is a picture's file, perhaps with Flickr's "#0" behind it.
bool begins_with_picture(std::string_view line, char delimiter) {
  const std::vector<std::string> fields = split_fields(line, delimiter);
  if (fields.size() < 2) return false;
  std::string name = fields.front();
  if (const size_t mark = name.rfind('#'); mark != std::string::npos) name.resize(mark);
  return image::has_image_name(name) && name.find(' ') == std::string::npos;
}

}  // namespace

Columns::Columns(std::span<const std::string> given) {
  for (const std::string& each : given) {
    const size_t equals = each.find('=');
    const std::string role = each.substr(0, equals);
    std::vector<std::string>* names = role == "image"     ? &image
                                      : role == "id"      ? &id
                                      : role == "caption" ? &caption
                                      : role == "domain"  ? &domain
                                                          : nullptr;
    if (names == nullptr || equals == std::string::npos || equals + 1 == each.size()) {
      throw UsageError(
          describe("columns", "ROLE=COLUMN with a role of image, id, caption or domain", "\"" + each + "\""));
    }
    *names = {each.substr(equals + 1)};
  }
}

std::optional<Sample> sample_of(const json& record, const Columns& columns, const std::filesystem::path& images,
                                const std::string& id, const std::string& where, Problems& problems) {
  if (!record.is_object()) {
    problems.error(Damage::kWrongStructure, describe(where, "an object", shown(record)));
    return std::nullopt;
  }
  const json *image = first_of(record, columns.image), *given = first_of(record, columns.id),
             *captions = first_of(record, columns.caption), *domain = first_of(record, columns.domain);
  if (image == nullptr && captions == nullptr) {
    problems.error(Damage::kWrongStructure,
                   describe(where,
                            fmt::format("a picture ({}) or a caption ({})", fmt::join(columns.image, ", "),
                                        fmt::join(columns.caption, ", ")),
                            shown(record), "Name its columns with the option columns"));
    return std::nullopt;
  }
  Sample sample;
  if (image != nullptr) {
    if (!image->is_string() || image->get_ref<const std::string&>().empty()) {
      problems.error(Damage::kWrongStructure, describe(where, "a picture's file name", shown(*image)));
      return std::nullopt;
    }
    const auto name = checked_name(images, image->get_ref<const std::string&>(), where, problems);
    if (!name) return std::nullopt;
    sample.image_name = *name;
  }
  if (captions != nullptr && !add_captions(sample, *captions, where, problems)) return std::nullopt;
  if (given != nullptr) {
    try {
      sample.id = id_of(*given, where);
    } catch (const DataError& error) {
      problems.error(Damage::kWrongStructure, error.what());
      return std::nullopt;
    }
  } else {
    sample.id = sample.has_image() ? sample.image_name : id;
  }
  if (domain != nullptr && domain->is_string()) sample.domain = domain->get<std::string>();
  if (const auto truth = record.find("truth"); truth != record.end() && truth->is_string()) {
    sample.truth = truth->get<std::string>();
  }
  return sample;
}

std::vector<std::string> split_fields(std::string_view line, char delimiter) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[++i];
    } else if (delimiter != '|' && c == '"' && (quoted || fields.back().empty())) {
      quoted = !quoted;
    } else if (!quoted && c == delimiter) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  if (delimiter == '|') {
    for (std::string& field : fields) field = std::string(trimmed(field));
  }
  return fields;
}

bool has_open_quote(std::string_view line, char delimiter, bool is_open) {
  if (delimiter == '|') return false;
  bool quoted = is_open, at_begin = !is_open;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && (quoted || at_begin)) {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
        ++i;
      } else {
        quoted = !quoted;
      }
    }
    at_begin = !quoted && c == delimiter;
  }
  return quoted;
}

std::optional<Header> header_of(std::string_view line, const Columns& columns) {
  for (const char delimiter : kDelimiters) {
    Header header{delimiter, split_fields(line, delimiter), {}, {}, {}, {}};
    for (std::string& name : header.names) name = lower_ascii(std::string(trimmed(name)));
    const auto find = [&](const std::vector<std::string>& names) -> std::optional<size_t> {
      for (const std::string& name : names) {
        const auto found = std::ranges::find(header.names, lower_ascii(name));
        if (found != header.names.end()) return static_cast<size_t>(found - header.names.begin());
      }
      return std::nullopt;
    };
    header.image = find(columns.image);
    header.id = find(columns.id);
    header.caption = find(columns.caption);
    header.domain = find(columns.domain);
    // A single column of one of these words may be a caption's.
    if (header.names.size() > 1 && (header.caption || header.image)) return header;
  }
  return std::nullopt;
}

bool looks_like_columns(std::string_view head) {
  std::vector<std::string_view> lines = lines_of(head);
  std::erase_if(lines, [](std::string_view line) { return is_blank(line); });
  if (lines.empty()) return false;
  const auto header = header_of(lines.front(), Columns());
  if (header && (header->image || header->id) && header->caption) return true;
  constexpr size_t kLooked = 20;
  if (lines.size() > kLooked) lines.resize(kLooked);
  return std::ranges::any_of(kDelimiters, [&](char delimiter) {
    const auto count =
        std::ranges::count_if(lines, [&](std::string_view line) { return begins_with_picture(line, delimiter); });
    return 2 * count > std::ssize(lines);
  });
}

}  // namespace readback::data
