#include "readback/roundtrip/set_curves.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "readback/roundtrip/curves.h"
#include "readback/score/image/frechet.h"

namespace readback::roundtrip {
namespace {

const score::MetricInfo kText{"text", "Text", "", score::Direction::kLowerIsBetter, score::Inputs::kTexts, ""};

// A picture's shade and its square, so that sets differ in mean and in spread.
class ShadeEmbedder : public score::ImageTextEmbedder {
 public:
  score::Embeds embed_image_batch(std::span<const image::Image* const> images) override {
    pictures += images.size();
    std::vector<float> values;
    for (const image::Image* image : images) {
      const auto shade = static_cast<float>(fakes::shade(*image)) / 10;
      values.insert(values.end(), {shade, shade * shade});
    }
    const at::Tensor rows = at::tensor(values).view({-1, 2});
    return {rows, rows};
  }
  score::Embeds embed_text_batch(std::span<const std::string>) override { return {}; }
  std::string name() const override { return "shades"; }
  size_t pictures = 0;
};

// Pictures of T2I2T whose shade is the original's plus the candidate's error; distances say how large that is.
Store store_of(const std::filesystem::path& folder, const std::vector<int>& shades, const std::vector<int>& errors) {
  RunOptions options = fakes::options(static_cast<int64_t>(errors.size()));
  options.directions = {Direction::kT2I2T};
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  store.put_metric(kText);
  for (size_t s = 0; s < shades.size(); ++s) {
    const std::string id = "s" + std::to_string(s);
    SampleRow sample{id, static_cast<int64_t>(s), "", {"text"}, ""};
    store.add_samples({&sample, 1});
    store.set_original(id, fakes::grey(shades[s]));
    for (size_t c = 0; c < errors.size(); ++c) {
      CandidateRow row{.key = {Direction::kT2I2T, id, static_cast<int64_t>(c)}, .text = "text"};
      row.image = store.save_image(row.key, fakes::grey(shades[s] + errors[c]));
      store.put_candidates({&row, 1});
      const ScoreRow score{row.key, "text", std::abs(errors[c])};
      store.put_scores({&score, 1}, {});
    }
  }
  return store;
}

TEST(SetCurves, AreTheDistancesOfEachRanksPicturesToTheOriginals) {
  fakes::Folder folder;
  const std::vector<int> shades = {60, 100, 140, 75}, errors = {20, 0, -10};
  Store store = store_of(folder, shades, errors);
  const auto embedder = std::make_shared<ShadeEmbedder>();
  score::EmbeddingCache cache(embedder);
  Progress progress;
  measure_sets(store, cache, progress);

  const std::vector<SetCurve> curves = store.set_curves();
  ASSERT_EQ(curves.size(), 1u);
  EXPECT_EQ(curves[0].distance, "text");
  EXPECT_EQ(curves[0].samples, 4);
  ASSERT_EQ(curves[0].ranks.size(), 3u);
  EXPECT_NEAR(curves[0].ranks[0], 0, 1e-6);  // the candidates without an error are the originals
  const auto features = [&](int error) {
    std::vector<float> values;
    for (const int shade : shades) {
      const float x = static_cast<float>(shade + error) / 10;
      values.insert(values.end(), {x, x * x});
    }
    return at::tensor(values).view({-1, 2});
  };
  EXPECT_NEAR(curves[0].ranks[1], score::frechet_distance(features(-10), features(0)), 1e-6);
  EXPECT_NEAR(curves[0].ranks[2], score::frechet_distance(features(20), features(0)), 1e-6);
  EXPECT_GT(curves[0].ranks[2], curves[0].ranks[1]);

  // They are among the rank curves, without intervals, and are not computed twice.
  const std::vector<RankCurve> all = rank_curves(store);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].quality.name, "fid");
  EXPECT_EQ(all[0].ranks[2].mean, curves[0].ranks[2]);
  EXPECT_TRUE(std::isnan(all[0].ranks[2].low));
  const size_t seen = embedder->pictures;
  measure_sets(store, cache, progress);
  EXPECT_EQ(embedder->pictures, seen);
}

TEST(SetCurves, LeaveOutSamplesThatLackAPicture) {
  fakes::Folder folder;
  Store store = store_of(folder, {60, 100, 140}, {5, 0});
  std::filesystem::remove(store.folder() / store.samples()[1].image);
  score::EmbeddingCache cache(std::make_shared<ShadeEmbedder>());
  Progress progress;
  measure_sets(store, cache, progress);
  ASSERT_EQ(store.set_curves().size(), 1u);
  EXPECT_EQ(store.set_curves()[0].samples, 2);
}

TEST(SetCurves, LeaveOutSamplesWithABlankedPicture) {
  fakes::Folder folder;
  // No candidate without an error: its picture would be its original's equal, which the cache embeds once.
  Store store = store_of(folder, {60, 100, 140}, {5, 2});
  CandidateRow row = store.candidates(Direction::kT2I2T, "s1").at(0);
  row.flagged = true;
  store.put_candidates({&row, 1});
  const ScoreRow score{row.key, "text", 5};  // as an earlier version gave it
  store.put_scores({&score, 1}, {});
  const auto embedder = std::make_shared<ShadeEmbedder>();
  score::EmbeddingCache cache(embedder);
  Progress progress;
  measure_sets(store, cache, progress);
  ASSERT_EQ(store.set_curves().size(), 1u);
  EXPECT_EQ(store.set_curves()[0].samples, 2);
  EXPECT_EQ(embedder->pictures, 2u * 3);  // an original and two candidates of each
}

// A distance between texts knows nothing of a lost picture.
TEST(SetCurves, LeaveOutSamplesThatLackACandidatesPicture) {
  fakes::Folder folder;
  Store store = store_of(folder, {60, 100, 140}, {5, 0});
  std::filesystem::remove(store.folder() / *store.candidates(Direction::kT2I2T, "s1").at(0).image);
  score::EmbeddingCache cache(std::make_shared<ShadeEmbedder>());
  Progress progress;
  measure_sets(store, cache, progress);
  ASSERT_EQ(store.set_curves().size(), 1u);
  EXPECT_EQ(store.set_curves()[0].samples, 2);
}

TEST(SetCurves, OfOneSampleDoNotExist) {
  fakes::Folder folder;
  Store store = store_of(folder, {60}, {5, 0});
  score::EmbeddingCache cache(std::make_shared<ShadeEmbedder>());
  Progress progress;
  measure_sets(store, cache, progress);
  EXPECT_TRUE(store.set_curves().empty());
}

}  // namespace
}  // namespace readback::roundtrip
