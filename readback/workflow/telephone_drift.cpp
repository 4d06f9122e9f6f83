#include "readback/workflow/telephone_drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/score/statistics/significance.h"

namespace readback::workflow {

namespace fs = std::filesystem;
using nlohmann::json;
using roundtrip::CandidateRow;
using roundtrip::ComparisonBatch;
using roundtrip::Direction;
using roundtrip::Original;
using roundtrip::SampleRow;
using roundtrip::Store;

namespace {

constexpr size_t kAtOnce = 64;  // samples in memory

json to_json(const std::optional<double>& value) { return value ? json(*value) : json(); }

std::optional<double> from_json(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<double>());
}

StartValues read(const fs::path& file) {
  StartValues values;
  if (!fs::exists(file)) return values;
  const json stored = read_json(file);
  try {
    for (const auto& [metric, samples] : stored.items()) {
      for (const auto& [sample, pair] : samples.items()) {
        values[metric][sample] = {from_json(pair.at(0)), from_json(pair.at(1))};
      }
    }
  } catch (const json::exception& error) {
    throw DataError(describe(file.string(), "metrics with a value and a floor a sample", error.what(),
                             "Remove it: it is measured again"));
  }
  return values;
}

void write(const fs::path& file, const StartValues& values) {
  json stored = json::object();
  for (const auto& [metric, samples] : values) {
    for (const auto& [sample, value] : samples) {
      stored[metric][sample] = {to_json(value.value), to_json(value.floor)};
    }
  }
  write_file(file, stored.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

bool knows(const StartValues& values, const std::string& metric, const std::string& sample) {
  const auto found = values.find(metric);
  return found != values.end() && found->second.contains(sample);
}

}  // namespace

std::vector<CandidateRow> came_back(const Store& run, Direction direction) {
  std::vector<CandidateRow> rows = run.candidates(direction);
  std::erase_if(rows, [](const CandidateRow& row) { return !row.complete() || row.flagged; });
  return rows;
}

DriftMeter::DriftMeter(Direction direction, const Store& first, std::span<const std::unique_ptr<score::Metric>> metrics,
                       const Context& context)
    : direction_(direction),
      first_(first),
      metrics_(metrics),
      context_(context),
      samples_(first.samples()),
      begun_(samples_.size()),
      partners_(score::random_partners(std::ssize(samples_), first.seed())) {
  for (size_t i = 0; i < samples_.size(); ++i) places_[samples_[i].id] = i;
  for (CandidateRow& row : came_back(first, direction)) begun_[places_.at(row.key.sample)] = std::move(row);
}

std::vector<std::vector<std::string>> DriftMeter::corpus(Direction direction, const Store& first) {
  std::map<std::string, std::string> captions;
  for (const CandidateRow& row : came_back(first, direction)) captions[row.key.sample] = *row.text;
  std::vector<std::vector<std::string>> result;
  for (const SampleRow& sample : first.samples()) {
    result.push_back(sample.references);
    const auto caption = captions.find(sample.id);
    if (result.back().empty() && caption != captions.end()) result.back().push_back(caption->second);
  }
  return result;
}

const std::string* DriftMeter::start_picture(size_t place) const {
  if (!samples_[place].image.empty()) return &samples_[place].image;
  return direction_ == Direction::kT2I2T ? &*begun_[place]->image : nullptr;
}

Original DriftMeter::start(size_t place, const Pictures& pictures) const {
  const std::string* path = start_picture(place);
  const auto picture = path == nullptr ? pictures.end() : pictures.find(*path);
  Original original =
      roundtrip::original_of(samples_[place], direction_, picture == pictures.end() ? nullptr : &picture->second);
  if (direction_ == Direction::kI2T2I) {
    original.texts = {*begun_[place]->text};
    if (original.references.empty()) original.references = original.texts;
  }
  return original;
}

// Metrics of texts that prefer it get everything that they have not measured.
void DriftMeter::prepare(const std::vector<CandidateRow>& rows, const StartValues& known) {
  for (const auto& metric : metrics_) {
    if (!metric->prefers_all_at_once()) continue;
    ComparisonBatch batch(direction_, metric->info().inputs);
    for (const CandidateRow& row : rows) {
      if (knows(known, metric->info().name, row.key.sample)) continue;
      const size_t place = places_.at(row.key.sample);
      batch.add(*row.text, nullptr, start(place, {}));
      if (begun_[partner(place)]) batch.add(*row.text, nullptr, start(partner(place), {}));
    }
    metric->prepare(batch.comparisons(), context_);
  }
}

StartValues DriftMeter::measure(const Store& round, const fs::path& file) {
  StartValues values = read(file);
  std::vector<CandidateRow> rows = came_back(round, direction_);
  std::erase_if(rows, [&](const CandidateRow& row) {
    return std::ranges::all_of(metrics_,
                               [&](const auto& metric) { return knows(values, metric->info().name, row.key.sample); });
  });
  prepare(rows, values);
  for (size_t begin = 0; begin < rows.size(); begin += kAtOnce) {
    context_.check();
    measure_part(round, std::span(rows).subspan(begin, std::min(kAtOnce, rows.size() - begin)), values);
    write(file, values);
  }
  return values;
}

void DriftMeter::measure_part(const Store& round, std::span<const CandidateRow> rows, StartValues& values) {
  std::map<std::string, image::Image> made;  // by sample
  Pictures pictures;
  const bool needed =
      std::ranges::any_of(metrics_, [](const auto& metric) { return roundtrip::reads_images(metric->info().inputs); });
  for (const CandidateRow& row : rows) {
    if (!needed) break;
    made.emplace(row.key.sample, round.load_image(*row.image));
    const size_t place = places_.at(row.key.sample);
    for (const size_t start : {place, partner(place)}) {
      const std::string* path = begun_[start] ? start_picture(start) : nullptr;
      if (path != nullptr && !pictures.contains(*path)) pictures.emplace(*path, first_.load_image(*path));
    }
  }
  for (const auto& metric : metrics_) {
    std::vector<CandidateRow> missing(rows.begin(), rows.end());
    std::erase_if(missing, [&](const CandidateRow& row) { return knows(values, metric->info().name, row.key.sample); });
    measure_with(*metric, missing, made, pictures, values);
  }
}

void DriftMeter::measure_with(score::Metric& metric, std::span<const CandidateRow> rows,
                              const std::map<std::string, image::Image>& made, const Pictures& pictures,
                              StartValues& values) {
  if (rows.empty()) return;
  const std::string& name = metric.info().name;
  ComparisonBatch batch(direction_, metric.info().inputs);
  const auto has_floor = [&](size_t place) { return partner(place) != place && begun_[partner(place)].has_value(); };
  for (const CandidateRow& row : rows) {
    const size_t place = places_.at(row.key.sample);
    const auto found = made.find(row.key.sample);
    const image::Image* image = found == made.end() ? nullptr : &found->second;
    batch.add(*row.text, image, start(place, pictures));
    if (has_floor(place)) batch.add(*row.text, image, start(partner(place), pictures));
  }
  try {
    const std::vector<std::optional<double>> scored = batch.values(metric, context_);
    auto next = scored.begin();
    for (const CandidateRow& row : rows) {
      StartValue& value = values[name][row.key.sample];
      value.value = *next++;
      if (has_floor(places_.at(row.key.sample))) value.floor = *next++;
    }
  } catch (const DataError& error) {
    if (rows.size() == 1) {
      values[name][rows.front().key.sample] = {};
      context_.progress().note(fmt::format("{}, {}: {}", name, rows.front().key.sample, error.what()));
      return;
    }
    for (size_t i = 0; i < rows.size(); ++i) measure_with(metric, rows.subspan(i, 1), made, pictures, values);
  }
}

}  // namespace readback::workflow
