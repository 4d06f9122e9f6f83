#include "readback/workflow/select.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/data/digest.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/choices.h"
#include "readback/score/registry.h"

namespace readback::workflow {

namespace fs = std::filesystem;
using roundtrip::CandidateRow;
using roundtrip::Direction;
using roundtrip::Store;

namespace {

// Pictures by their paths, which are their ids.
class Pictures : public data::Dataset {
 public:
  explicit Pictures(const std::vector<std::string>& paths) : paths_(paths) {
    for (const std::string& path : paths) image::refuse_unreadable_kind(path);
  }
  int64_t size() const override { return std::ssize(paths_); }
  data::Sample sample(int64_t index) const override {
    const std::string& path = paths_[static_cast<size_t>(index)];
    return {.id = path, .image_name = fs::path(path).filename().string()};
  }
  image::Image load_image(int64_t index) const override {
    return image::load(paths_[static_cast<size_t>(index)], image::Alpha::kOnWhite);
  }
  std::string description() const override { return fmt::format("{} pictures", paths_.size()); }
  std::string digest() const override { return data::digest_of(*this, "pictures"); }
  fs::path image_file(int64_t index) const override { return paths_[static_cast<size_t>(index)]; }

 private:
  std::vector<std::string> paths_;
};

bool is_metric(const std::string& by) { return by != roundtrip::kLikelihood && by != roundtrip::kRandom; }

roundtrip::RunOptions run_options(const SelectOptions& options, const std::vector<std::string>& by,
                                  Direction direction) {
  roundtrip::RunOptions run = options.run;
  run.directions = {direction};
  run.metrics.clear();
  for (const std::string& name : by) {
    if (is_metric(name)) run.metrics.push_back(name);
  }
  if (run.metrics.empty()) run.metrics = {direction == Direction::kI2T2I ? "psnr" : "rouge-l"};  // a run has one
  return run;
}

std::vector<Selected> ranked(const Store& store, Direction direction, const std::vector<std::string>& by) {
  const roundtrip::Choices choices = roundtrip::choose(store, direction, {.by = by});
  std::vector<roundtrip::Values> values;
  std::vector<double> signs;
  const std::vector<score::MetricInfo> metrics = store.metrics();
  for (const std::string& name : by) {
    values.push_back(roundtrip::values_by(store, direction, name));
    const auto metric = std::ranges::find(metrics, name, &score::MetricInfo::name);
    signs.push_back(metric != metrics.end() && metric->direction == score::Direction::kLowerIsBetter ? -1 : 1);
  }
  std::vector<Selected> result;
  for (const roundtrip::SampleRow& sample : store.samples()) {
    result.push_back({sample.id, direction == Direction::kT2I2T ? sample.prompt() : "", {}});
  }
  for (const roundtrip::Choice& choice : choices.kept) {
    Selected& selected = result[static_cast<size_t>(choice.position)];
    const std::vector<CandidateRow> rows = store.candidates(direction, selected.sample);
    for (const roundtrip::Rated& rated : choice.candidates) {
      const CandidateRow& row =
          *std::ranges::find(rows, rated.candidate, [](const CandidateRow& other) { return other.key.candidate; });
      SelectedCandidate candidate{rated.candidate, rated.reward, *row.text, store.folder() / *row.image, {}};
      for (size_t m = 0; m < by.size(); ++m) {
        candidate.values.push_back(signs[m] * values[m].at(selected.sample).at(rated.candidate));
      }
      selected.candidates.push_back(std::move(candidate));
    }
  }
  return result;
}

Selection select(const SelectOptions& options, Direction direction, const fs::path& folder, const Context& context,
                 const Ranks& ranks, const RunInputs& inputs) {
  check_options(options);
  Selection selection{.by = options.by};
  if (selection.by.empty()) selection.by = {direction == Direction::kI2T2I ? "clip-image" : "clip-text"};
  for (const std::string& name : selection.by) {
    if (is_metric(name)) score::find_metric(name);
  }
  if (options.run.num_candidates < 2) {
    throw UsageError(
        describe("num_candidates", "2 or more to choose from", std::to_string(options.run.num_candidates)));
  }
  selection.run = run(run_options(options, selection.by, direction), folder, context, ranks, inputs);
  if (ranks.is_root()) selection.samples = ranked(Store::open(folder), direction, selection.by);
  return selection;
}

}  // namespace

Selection select_captions(const std::vector<std::string>& pictures, const SelectOptions& options,
                          const fs::path& folder, const Context& context, const Ranks& ranks,
                          const std::string& command) {
  const Pictures dataset(pictures);
  SelectOptions own = options;
  own.run.dataset = "pictures";
  return select(own, Direction::kI2T2I, folder, context, ranks, {.command = command, .dataset = &dataset});
}

Selection select_pictures(const std::string& prompts, const SelectOptions& options, const fs::path& folder,
                          const Context& context, const Ranks& ranks, const std::string& command) {
  SelectOptions own = options;
  own.run.dataset = prompts;
  return select(own, Direction::kT2I2T, folder, context, ranks, {.command = command});
}

}  // namespace readback::workflow
