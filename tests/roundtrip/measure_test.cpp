// What each kind of metric is given of a round trip, and what it then says of it.
#include <gtest/gtest.h>

#include <cmath>

#include "fakes.h"
#include "readback/roundtrip/curves.h"

namespace readback::roundtrip {
namespace {

using score::Comparison;
using score::Inputs;

// Keeps what it is asked; the value is 1 where the image is there, undefined elsewhere.
class Listener : public score::Metric {
 public:
  explicit Listener(Inputs inputs)
      : info_{"listener", "Listener", "1", score::Direction::kHigherIsBetter, inputs, ""} {}
  const score::MetricInfo& info() const override { return info_; }
  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    std::vector<double> values;
    for (const Comparison& comparison : comparisons) {
      heard.push_back(comparison);
      values.push_back(comparison.original_image || comparison.candidate_image ? 1 : NAN);
    }
    return values;
  }
  std::vector<Comparison> heard;

 private:
  score::MetricInfo info_;
};

// One sample's two candidates in `direction`.
std::vector<Comparison> heard(Inputs inputs, Direction direction) {
  const fakes::Folder folder;
  fakes::Dataset dataset(2);
  fakes::Captioner captioner;
  fakes::Generator generator;
  RunOptions options = fakes::options(2);
  options.directions = {direction};
  fakes::run(folder, options, dataset, captioner, generator);
  auto listener = std::make_unique<Listener>(inputs);
  const Listener& ears = *listener;
  std::vector<std::unique_ptr<score::Metric>> metrics;
  metrics.push_back(std::move(listener));
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  Progress progress;
  measure(store, metrics, progress);
  EXPECT_EQ(ears.heard.size(), 2u * 3u);  // two candidates and one random pair a sample
  for (const MetricSummary& summary : summarize(store)) {
    if (summary.metric.name != "listener") continue;
    EXPECT_EQ(summary.role, Role::kQuality);
    EXPECT_EQ(summary.mean.count, 2);
  }
  return ears.heard;
}

TEST(Measure, ImagesWithTextsAreTheIntermediateResultAndWhatItWasMadeFrom) {
  for (const Comparison& comparison : heard(Inputs::kImageText, Direction::kI2T2I)) {
    EXPECT_TRUE(comparison.original_image != nullptr && comparison.candidate_image == nullptr);
    EXPECT_FALSE(comparison.candidate_text.empty());
    EXPECT_TRUE(comparison.original_text.empty() && comparison.references.empty());
  }
  for (const Comparison& comparison : heard(Inputs::kImageText, Direction::kT2I2T)) {
    EXPECT_TRUE(comparison.candidate_image != nullptr && comparison.original_image == nullptr);
    EXPECT_FALSE(comparison.original_text.empty());
  }
}

TEST(Measure, ReferencesJoinTheImageInOneDirectionOnly) {
  for (const Comparison& comparison : heard(Inputs::kImageTextReferences, Direction::kI2T2I)) {
    EXPECT_TRUE(comparison.original_image != nullptr && comparison.candidate_image == nullptr);
    EXPECT_FALSE(comparison.references.empty());
  }
  for (const Comparison& comparison : heard(Inputs::kImageTextReferences, Direction::kT2I2T)) {
    EXPECT_TRUE(comparison.references.empty() && comparison.original_image == nullptr);
  }
}

// Wants to know everything beforehand.
class Planner : public Listener {
 public:
  Planner() : Listener(Inputs::kReferences) {}
  bool prefers_all_at_once() const override { return true; }
  void prepare(std::span<const Comparison> comparisons, const Context&) override {
    prepared.emplace_back(comparisons.begin(), comparisons.end());
  }
  std::vector<std::vector<Comparison>> prepared;
};

TEST(Measure, TellsMetricsThatAskWhatIsStillToMeasure) {
  const fakes::Folder folder;
  fakes::Dataset dataset(3);
  fakes::Captioner captioner;
  fakes::Generator generator;
  const RunOptions options = fakes::options(2);
  fakes::run(folder, options, dataset, captioner, generator);
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  Progress progress;
  std::vector<std::unique_ptr<score::Metric>> metrics;
  metrics.push_back(std::make_unique<Planner>());
  const auto& planner = static_cast<const Planner&>(*metrics.front());
  measure(store, metrics, progress);
  ASSERT_EQ(planner.prepared.size(), 1U);
  const std::vector<Comparison>& all = planner.prepared.front();
  ASSERT_EQ(all.size(), 2U * 3U * 3U);  // in both directions, two candidates and one random pair a sample
  ASSERT_EQ(planner.heard.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].candidate_text, planner.heard[i].candidate_text);
    EXPECT_EQ(all[i].references, planner.heard[i].references);
  }
  measure(store, metrics, progress);
  EXPECT_TRUE(planner.prepared.at(1).empty());
}

// Two samples with three candidates each; the safety checker blanked the first picture of the first.
Store with_blanked(const std::filesystem::path& folder) {
  Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options(3)));
  for (int64_t s = 0; s < 2; ++s) {
    const SampleRow sample{"s" + std::to_string(s), s, "", {fakes::text(90)}, ""};
    store.add_samples({&sample, 1});
    store.set_original(sample.id, fakes::grey(90));
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      for (int64_t k = 0; k < 3; ++k) {
        CandidateRow row{.key = {direction, sample.id, k}, .text = fakes::text(90 + static_cast<int>(k))};
        row.flagged = s == 0 && k == 0;
        row.image = store.save_image(row.key, fakes::grey(row.flagged ? 0 : 90 + static_cast<int>(k)));
        store.put_candidates({&row, 1});
      }
    }
  }
  return store;
}

TEST(Measure, BlankedPicturesAreNotJudged) {
  const fakes::Folder folder;
  Store store = with_blanked(folder);
  Progress progress;
  measure(store, fakes::metrics(), progress);
  // The picture is I2T2I's reconstruction, whose caption is as good as any, and all of T2I2T follows from it.
  EXPECT_EQ(store.scores(Direction::kI2T2I, "shade-image").size(), 5u);
  EXPECT_EQ(store.scores(Direction::kI2T2I, "shade-text").size(), 6u);
  EXPECT_EQ(store.scores(Direction::kT2I2T, "shade-image").size(), 5u);
  EXPECT_EQ(store.scores(Direction::kT2I2T, "shade-text").size(), 5u);
  for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
    EXPECT_EQ(sample_means(store, direction, "shade-image").at("s0"), 1.5);  // 1 and 2, not 90
    const auto floors = store.floors(direction, "shade-image");
    ASSERT_EQ(floors.size(), 2u);
    EXPECT_EQ(floors[0].key.candidate, 1);  // the first that is not blanked
    EXPECT_EQ(floors[0].value, 1);
    EXPECT_EQ(rankings(store, direction, direction == Direction::kI2T2I ? "shade-image" : "shade-text").size(), 1u);
  }
  EXPECT_EQ(sample_means(store, Direction::kI2T2I, "shade-text").at("s0"), 1);
  for (const RankCurve& curve : rank_curves(store)) {
    EXPECT_EQ(curve.samples, 1);
    EXPECT_EQ(curve.flagged, 1);
  }
}

TEST(Measure, BlankedPicturesAreNotMissing) {
  const fakes::Folder folder;
  Store store = with_blanked(folder);
  Progress progress;
  std::vector<std::unique_ptr<score::Metric>> metrics;
  metrics.push_back(std::make_unique<Listener>(Inputs::kImages));
  measure(store, metrics, progress);
  const auto& listener = static_cast<const Listener&>(*metrics.front());
  const size_t heard = listener.heard.size();
  EXPECT_EQ(heard, 2u * (5 + 2));  // in both directions five candidates and two random pairs
  measure(store, metrics, progress);
  EXPECT_EQ(listener.heard.size(), heard);
}

TEST(Measure, RolesFollowTheDirection) {
  EXPECT_EQ(role(Direction::kI2T2I, Inputs::kImages), Role::kDistance);
  EXPECT_EQ(role(Direction::kT2I2T, Inputs::kImages), Role::kQuality);
  EXPECT_EQ(role(Direction::kI2T2I, Inputs::kTexts), Role::kQuality);
  EXPECT_EQ(role(Direction::kT2I2T, Inputs::kTexts), Role::kDistance);
  for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
    EXPECT_EQ(role(direction, Inputs::kImageText), Role::kQuality);
    EXPECT_EQ(role(direction, Inputs::kImageTextReferences), Role::kQuality);
  }
}

}  // namespace
}  // namespace readback::roundtrip
