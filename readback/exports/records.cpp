// Layouts of one file of records.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "readback/base/files.h"
#include "readback/exports/material.h"

namespace readback::exports {

using nlohmann::ordered_json;
using roundtrip::CandidateRow;
using roundtrip::SampleRow;

namespace {

std::string dump(const ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

// As RFC 4180 wants it.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv_row(const std::vector<std::string>& fields) {
  std::string row;
  for (const std::string& field : fields)
    row += (row.empty() && &field == &fields.front() ? "" : ",") + csv_field(field);
  return row + "\r\n";
}

}  // namespace

int64_t write_json_lines(const Material& material, const std::filesystem::path& path) {
  AtomicFile file(path);
  int64_t records = 0;
  material.for_each_sample([&](const SampleRow& sample, const std::vector<CandidateRow>& rows) {
    ordered_json line = {{"id", sample.id}, {"image", nullptr}, {"captions", sample.references}};
    if (!sample.image.empty()) line["image"] = sample.image;
    if (!sample.truth.empty()) line["truth"] = sample.truth;
    if (!sample.domain.empty()) line["domain"] = sample.domain;
    line["direction"] = name(material.direction);
    for (const CandidateRow& row : rows) line["candidates"].push_back(material.told(row));
    file.append(dump(line) + "\n");
    ++records;
  });
  file.commit();
  return records;
}

int64_t write_csv(const Material& material, const std::filesystem::path& path) {
  const std::vector<score::MetricInfo> metrics = material.store.metrics();
  std::vector<std::string> header = {"sample", "original", "reference", "candidate", "text",
                                     "image",  "seed",     "flagged",   "tokens",    "log_probability"};
  for (const score::MetricInfo& metric : metrics) header.push_back(metric.name);
  AtomicFile file(path);
  file.append(csv_row(header));
  int64_t records = 0;
  material.for_each_sample([&](const SampleRow& sample, const std::vector<CandidateRow>& rows) {
    for (const CandidateRow& row : rows) {
      std::vector<std::string> fields = {sample.id,
                                         sample.image,
                                         sample.prompt(),
                                         std::to_string(row.key.candidate),
                                         *row.text,
                                         *row.image,
                                         row.image_seed ? std::to_string(*row.image_seed) : "",
                                         row.flagged ? "true" : "false",
                                         row.token_ids ? std::to_string(row.token_ids->size()) : "",
                                         row.log_probability ? fmt::format("{}", *row.log_probability) : ""};
      for (const score::MetricInfo& metric : metrics) {
        const auto& values = material.scores.at(metric.name);
        const auto value = values.find(row.key);
        fields.push_back(value == values.end() ? "" : fmt::format("{}", value->second));
      }
      file.append(csv_row(fields));
      ++records;
    }
  });
  file.commit();
  return records;
}

int64_t write_coco_results(const Material& material, const std::filesystem::path& path) {
  ordered_json results = ordered_json::array();
  for (const roundtrip::Choice& choice : material.choices.kept) {
    results.push_back(
        {{"image_id", id_as_given(material.sample(choice).id)}, {"caption", *material.chosen(choice).text}});
  }
  write_file(path, dump(results) + "\n");
  return std::ssize(material.choices.kept);
}

}  // namespace readback::exports
