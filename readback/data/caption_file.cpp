#include "readback/data/caption_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/columns.h"
#include "readback/data/dataset.h"
#include "readback/data/ids.h"
#include "readback/data/registry.h"
#include "readback/text/unicode.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kFormats =
    "captions: COCO results or annotations, Karpathy's splits, an object of captions by id, JSON Lines, a table with "
    "named columns, or a caption a line";

class Collector {
 public:
  explicit Collector(std::string source) { file_.source = std::move(source); }

  void add(const std::string& id, std::string caption) {
    const auto [place, is_new] = places_.emplace(id, file_.ids.size());
    if (is_new) {
      file_.ids.push_back(id);
      file_.captions.emplace_back();
    }
    file_.captions[place->second].push_back(std::move(caption));
  }
  // Of an id that has a caption; others are passed over.
  void set_domain(const std::string& id, const std::string& domain) {
    if (!domain.empty() && places_.contains(id)) domains_[id] = domain;
  }

  CaptionFile finish() {
    if (file_.ids.empty()) throw DataError(describe(file_.source, "at least one caption", "none"));
    for (size_t i = 0; i < file_.ids.size() && !domains_.empty(); ++i) {
      file_.domains.push_back(std::move(domains_[file_.ids[i]]));
    }
    return std::move(file_);
  }

 private:
  CaptionFile file_;
  std::unordered_map<std::string, size_t> places_;
  std::unordered_map<std::string, std::string> domains_;
};

std::string caption_of(const json& value, const std::string& where) {
  const json& text = value.is_object() && value.contains("text") ? value.at("text") : value;
  if (!text.is_string()) throw DataError(describe(where, "a caption that is a string", text.dump()));
  return text.get<std::string>();
}

const json* first_of(const json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const auto found = object.find(key); found != object.end()) return &*found;
  }
  return nullptr;
}

// The value of an object of captions by id, or of a key that may hold one caption or many.
void add_all(Collector& collector, const std::string& id, const json& value, const std::string& where) {
  if (!value.is_array()) return collector.add(id, caption_of(value, where));
  if (value.empty()) throw DataError(describe(where, "at least one caption", "an empty list"));
  for (const json& caption : value) collector.add(id, caption_of(caption, where));
}

void set_domain(Collector& collector, const std::string& id, const json& record) {
  const json* domain = first_of(record, {"domain"});
  if (domain != nullptr && domain->is_string()) collector.set_domain(id, domain->get<std::string>());
}

void add_record(Collector& collector, const json& record, const std::string& where) {
  const json* id = record.is_object() ? first_of(record, {"id", "image_id", "image", "file_name"}) : nullptr;
  const json* captions = record.is_object() ? first_of(record, {"caption", "text", "captions", "references"}) : nullptr;
  if (id == nullptr || captions == nullptr) {
    throw DataError(describe(where, "an object with an id (id, image_id, image or file_name) and a caption",
                             record.dump().substr(0, 80)));
  }
  add_all(collector, id_of(*id, where), *captions, where);
  set_domain(collector, id_of(*id, where), record);
}

// COCO's records have an `id` of their own beside the image's.
void add_coco(Collector& collector, const json& records, const std::string& source) {
  for (size_t i = 0; i < records.size(); ++i) {
    const std::string where = fmt::format("{}, entry {}", source, i + 1);
    const json& record = records[i];
    const json* id = record.is_object() ? first_of(record, {"image_id"}) : nullptr;
    if (id == nullptr || !record.contains("caption")) {
      add_record(collector, record, where);
    } else {
      collector.add(id_of(*id, where), caption_of(record.at("caption"), where));
    }
  }
}

// Karpathy's: the id is COCO's where there is one, else the file's name. All splits are read.
void add_karpathy(Collector& collector, const json& images, const std::string& source) {
  for (size_t i = 0; i < images.size(); ++i) {
    const std::string where = fmt::format("{}, image {}", source, i + 1);
    const json *id = first_of(images[i], {"cocoid", "filename"}), *sentences = first_of(images[i], {"sentences"});
    if (id == nullptr || sentences == nullptr || !sentences->is_array() || sentences->empty()) {
      throw DataError(describe(where, "cocoid or filename, and sentences", images[i].dump().substr(0, 80)));
    }
    for (const json& sentence : *sentences) {
      const json* raw = sentence.is_object() ? first_of(sentence, {"raw"}) : nullptr;
      collector.add(id_of(*id, where), caption_of(raw != nullptr ? *raw : sentence, where));
    }
  }
}

bool is_karpathy_document(const json& document) {
  const auto images = document.find("images");
  return images != document.end() && images->is_array() && !images->empty() && images->front().is_object() &&
         images->front().contains("sentences");
}

void add_document(Collector& collector, const json& document, const std::string& source) {
  if (document.is_array()) return add_coco(collector, document, source);
  if (is_karpathy_document(document)) return add_karpathy(collector, document.at("images"), source);
  if (const auto annotations = document.find("annotations"); annotations != document.end() && annotations->is_array()) {
    add_coco(collector, *annotations, source);
    const json* images = first_of(document, {"images"});
    if (images == nullptr || !images->is_array()) return;
    for (const json& image : *images) {
      if (!image.is_object() || !image.contains("id") || !image.contains("domain")) continue;
      set_domain(collector, id_of(image.at("id"), source + ", images"), image);
    }
    return;
  }
  for (const auto& [id, captions] : document.items()) {
    add_all(collector, id, captions, fmt::format("{}, \"{}\"", source, id));
  }
}

// Nothing where the text is not one JSON value; `reason` then says why.
std::optional<json> parse(std::string_view text, std::string& reason) {
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    reason = error.what();
    return std::nullopt;
  }
}

// Captions by the ids of a data set's samples. A row without a text is an empty caption, a picture without one none.
CaptionFile captions_of_dataset(const std::string& spec) {
  DatasetOptions options;
  options.split = "all";
  ThrownProblems problems;
  const OpenedDataset opened = open_dataset(spec, options, problems, {});
  const std::string layout = opened.layout->name;
  const bool has_rows = layout == "table" || layout == "flickr" || layout == "jsonl";
  Collector collector(spec);
  bool any = false;
  for (int64_t i = 0; i < opened.dataset->size(); ++i) {
    const Sample sample = opened.dataset->sample(i);
    any = any || !sample.references.empty();
    for (const std::string& reference : sample.references) collector.add(sample.id, reference);
    if (sample.references.empty() && has_rows) collector.add(sample.id, "");
    collector.set_domain(sample.id, sample.domain);
  }
  if (!any) throw DataError(describe(spec, "at least one caption", "none"));
  return collector.finish();
}

bool has_table_name(const fs::path& path) { return path.extension() == ".csv" || path.extension() == ".tsv"; }
bool has_json_name(const fs::path& path) { return path.extension() == ".json" || path.extension() == ".jsonl"; }

void require_utf8(std::string_view text, const std::string& source) {
  int64_t line = 1;
  for (const std::string_view& each : lines_of(text)) {
    const std::string decoded = text::encode_utf8(text::decode_utf8(each));
    if (decoded != each) {
      throw DataError(describe(fmt::format("{}:{}", source, line), "UTF-8", "other bytes",
                               "Convert the file, for example with iconv -f latin1 -t utf-8"));
    }
    ++line;
  }
}

}  // namespace

CaptionFile read_caption_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored) || (names_layout(path.string()) && !fs::exists(path, ignored))) {
    return captions_of_dataset(path.string());
  }
  const std::string source = path.string(), text = read_text(path);
  require_utf8(text, source);

  Collector collector(source);
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool may_be_json = begin != std::string::npos && (text[begin] == '{' || text[begin] == '[');
  std::string reason = "other text";
  std::optional<json> document = may_be_json ? parse(text, reason) : std::nullopt;
  const std::vector<std::string_view> lines = lines_of(text);
  std::string line_reason;
  if (document && document->is_structured()) {
    // One line of JSON Lines is an object too, but not one of captions by id.
    const bool is_record = document->is_object() &&
                           first_of(*document, {"id", "image_id", "image", "file_name"}) != nullptr &&
                           first_of(*document, {"caption", "text", "captions", "references"}) != nullptr;
    is_record ? add_record(collector, *document, source) : add_document(collector, *document, source);
  } else if (may_be_json && text[begin] == '{' && parse(lines.front(), line_reason)) {
    for (size_t i = 0; i < lines.size(); ++i) {
      if (is_blank(lines[i])) continue;
      const std::string where = fmt::format("{}:{}", source, i + 1);
      const std::optional<json> record = parse(lines[i], line_reason);
      if (!record) throw DataError(describe(where, "a JSON object", line_reason));
      add_record(collector, *record, where);
    }
  } else if (has_json_name(path)) {
    throw DataError(describe(source, kFormats, reason));
  } else if (has_table_name(path) || looks_like_columns(text)) {
    return captions_of_dataset(source);
  } else {
    for (size_t i = 0; i < lines.size(); ++i) collector.add(std::to_string(i + 1), std::string(lines[i]));
  }
  return collector.finish();
}

CaptionFile read_caption_files(std::span<const std::string> paths) {
  if (paths.size() == 1) return read_caption_file(paths.front());
  Collector collector(fmt::format("{}", fmt::join(paths, ", ")));
  for (const std::string& path : paths) {
    CaptionFile file = read_caption_file(path);
    for (size_t i = 0; i < file.ids.size(); ++i) {
      for (std::string& caption : file.captions[i]) collector.add(file.ids[i], std::move(caption));
      if (!file.domains.empty()) collector.set_domain(file.ids[i], file.domains[i]);
    }
  }
  return collector.finish();
}

namespace {

// `file` with the names of pictures for ids (image_key), where they tell its ids apart.
std::optional<CaptionFile> by_image(const CaptionFile& file) {
  CaptionFile renamed = file;
  std::unordered_set<std::string> keys;
  for (std::string& id : renamed.ids) {
    id = image_key(id);
    if (!keys.insert(id).second) return std::nullopt;
  }
  return renamed;
}

bool have_common_ids(const CaptionFile& first, const CaptionFile& second) {
  const std::unordered_set<std::string> ids(first.ids.begin(), first.ids.end());
  return std::ranges::any_of(second.ids, [&](const std::string& id) { return ids.contains(id); });
}

}  // namespace

MatchedCaptions match_captions(const CaptionFile& candidates, const CaptionFile& references, bool allow_missing) {
  if (!have_common_ids(candidates, references)) {
    // One says 391895, the other val2014/COCO_val2014_000000391895.jpg.
    const auto ours = by_image(candidates), theirs = by_image(references);
    if (ours && theirs && have_common_ids(*ours, *theirs)) return match_captions(*ours, *theirs, allow_missing);
  }
  std::unordered_map<std::string, size_t> places;
  std::vector<std::string> doubled;
  for (size_t i = 0; i < candidates.ids.size(); ++i) {
    places.emplace(candidates.ids[i], i);
    if (candidates.captions[i].size() > 1) doubled.push_back(candidates.ids[i]);
  }
  if (!doubled.empty())
    throw DataError(describe(candidates.source, "one caption an id", "more for " + listed(doubled)));

  MatchedCaptions matched;
  std::vector<std::string> without_candidate;
  for (size_t i = 0; i < references.ids.size(); ++i) {
    const auto place = places.find(references.ids[i]);
    if (place == places.end()) {
      without_candidate.push_back(references.ids[i]);
      continue;
    }
    matched.ids.push_back(references.ids[i]);
    matched.candidates.push_back(candidates.captions[place->second].front());
    matched.references.push_back(references.captions[i]);
    if (!references.domains.empty()) matched.domains.push_back(references.domains[i]);
    places.erase(place);
  }
  std::vector<std::string> without_references;
  for (const std::string& id : candidates.ids) {
    if (places.contains(id)) without_references.push_back(id);
  }
  const std::string next = "Set allow_missing to leave them out";
  if (matched.ids.empty()) {
    throw DataError(describe(candidates.source, "ids of " + references.source + " such as " + references.ids.front(),
                             "none of them, but " + listed(candidates.ids)));
  }
  if (!allow_missing && !without_references.empty()) {
    throw DataError(describe(references.source, "references for every id of " + candidates.source,
                             "none for " + listed(without_references), next));
  }
  if (!allow_missing && !without_candidate.empty()) {
    throw DataError(describe(candidates.source, "a caption for every id of " + references.source,
                             "none for " + listed(without_candidate), next));
  }
  matched.left_out = std::move(without_candidate);
  matched.left_out.insert(matched.left_out.end(), without_references.begin(), without_references.end());
  return matched;
}

std::string listed(const std::vector<std::string>& ids) {
  constexpr size_t kShown = 5;
  const size_t shown = std::min(ids.size(), kShown);
  std::string text = fmt::format("{}", fmt::join(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (ids.size() > shown) text += fmt::format(" and {} more", ids.size() - shown);
  return text;
}

}  // namespace readback::data
