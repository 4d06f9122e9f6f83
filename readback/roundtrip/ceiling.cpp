#include "readback/roundtrip/ceiling.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/roundtrip/recording.h"
#include "readback/roundtrip/role.h"

namespace readback::roundtrip {

namespace {

constexpr int64_t kMeasuredAtOnce = 32;  // pictures in memory

ErrorRow error_of(const SampleRow& sample) { return {sample.id, Direction::kI2T2I, -1, "ceiling", ""}; }

}  // namespace

void draw_ceilings(Store& store, generate::Generator& generator, const generate::GenerationOptions& options,
                   int64_t batch_size, int64_t max_errors, const Context& context) {
  std::vector<SampleRow> missing;
  for (const SampleRow& sample : store.samples()) {
    if (!sample.image.empty() && !store.has_image(ceiling_file(sample.id))) missing.push_back(sample);
  }
  if (missing.empty()) return;
  Recorder recorder(store, max_errors);
  const auto count = static_cast<int64_t>(missing.size());
  context.progress().begin("drawing without words", count);
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    context.check();
    std::vector<generate::Request> requests;
    std::vector<const SampleRow*> asked;
    for (int64_t i = begin; i < std::min(begin + batch_size, count); ++i) {
      const SampleRow& sample = missing[static_cast<size_t>(i)];
      recorder.attempt(error_of(sample), [&] {
        requests.push_back({.sample = sample.id, .picture = store.load_image(sample.image)});
        asked.push_back(&sample);
      });
    }
    const auto all = std::ssize(requests);
    in_parts_that_fit(
        all, all,
        [&](int64_t first, int64_t last) {
          const auto part = std::span(requests).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
          const auto results = generator.generate(part, options, context);
          for (size_t i = 0; i < part.size(); ++i) {
            const SampleRow& sample = *asked[static_cast<size_t>(first) + i];
            if (results[i].ok()) {
              store.save_ceiling(sample.id, results[i].value().image);
            } else {
              ErrorRow error = error_of(sample);
              error.message = results[i].failure();
              recorder.record(error);
            }
          }
        },
        context);
    context.progress().advance(std::min(batch_size, count - begin));
  }
  context.progress().end();
}

void measure_ceilings(Store& store, std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context) {
  std::vector<score::Metric*> distances;
  std::vector<std::set<std::string>> measured;  // samples, by distance
  for (const auto& metric : metrics) {
    const score::MetricInfo& info = metric->info();
    if (role(Direction::kI2T2I, info.inputs) != Role::kDistance) continue;
    distances.push_back(metric.get());
    measured.emplace_back();
    for (const CeilingRow& row : store.ceilings(info.name)) measured.back().insert(row.sample);
  }
  std::vector<SampleRow> missing = store.samples();
  std::erase_if(missing, [&](const SampleRow& sample) {
    return !store.has_image(ceiling_file(sample.id)) ||
           std::ranges::all_of(measured, [&](const auto& samples) { return samples.contains(sample.id); });
  });
  Recorder recorder(store, -1);
  for (size_t begin = 0; begin < missing.size(); begin += kMeasuredAtOnce) {
    context.check();
    struct Pair {
      const SampleRow* sample;
      image::Image original, ceiling;
    };
    std::vector<Pair> pairs;
    for (size_t i = begin; i < std::min(begin + kMeasuredAtOnce, missing.size()); ++i) {
      const SampleRow& sample = missing[i];
      recorder.attempt(error_of(sample), [&] {
        pairs.push_back({&sample, store.load_image(sample.image), store.load_image(ceiling_file(sample.id))});
      });
    }
    for (size_t m = 0; m < distances.size(); ++m) {
      std::vector<score::Comparison> batch;
      std::vector<CeilingRow> rows;
      for (const Pair& pair : pairs) {
        if (measured[m].contains(pair.sample->id)) continue;
        score::Comparison& comparison = batch.emplace_back();
        comparison.original_image = &pair.original;
        comparison.candidate_image = &pair.ceiling;
        comparison.truth = pair.sample->truth;
        rows.push_back({pair.sample->id, distances[m]->info().name, std::nullopt});
      }
      const std::vector<double> values = distances[m]->score(batch, context);
      for (size_t i = 0; i < rows.size(); ++i) {
        if (!std::isnan(values[i])) rows[i].value = values[i];
      }
      store.put_ceilings(rows);
    }
  }
}

}  // namespace readback::roundtrip
