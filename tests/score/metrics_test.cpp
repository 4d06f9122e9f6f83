#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <new>
#include <set>

#include "fake_judges.h"
#include "fake_spice.h"
#include "meteor_tables.h"
#include "readback/base/error.h"
#include "readback/data/emoji_scenes.h"
#include "readback/score/registry.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

// Image: (first pixel, 1, 0), doubled before the projection; text: (0, length, 1). Counts what it embeds.
class FakeEmbedder : public ImageTextEmbedder {
 public:
  Embeds embed_image_batch(std::span<const image::Image* const> images) override {
    if (images.size() > room) throw OutOfMemory("no room");
    at::Tensor rows = at::zeros({static_cast<int64_t>(images.size()), 3});
    for (size_t i = 0; i < images.size(); ++i) {
      rows[static_cast<int64_t>(i)][0] = images[i]->pixels[0];
      rows[static_cast<int64_t>(i)][1] = 1;
    }
    batches.push_back(images.size());
    return {rows, rows.square()};
  }
  Embeds embed_text_batch(std::span<const std::string> texts) override {
    if (texts.size() > room) throw std::bad_alloc();
    at::Tensor rows = at::zeros({static_cast<int64_t>(texts.size()), 3});
    for (size_t i = 0; i < texts.size(); ++i) {
      rows[static_cast<int64_t>(i)][1] = static_cast<double>(texts[i].size());
      rows[static_cast<int64_t>(i)][2] = 1;
    }
    batches.push_back(texts.size());
    return {rows, rows.square()};
  }
  std::string name() const override { return "fake-clip"; }
  std::vector<size_t> batches;
  size_t room = 1000;  // what fits into memory at once
};

struct Fixture {
  std::shared_ptr<FakeEmbedder> embedder = std::make_shared<FakeEmbedder>();
  MetricContext context{{{"a red fox", "a fox"}, {"two blue dogs"}}, std::make_shared<EmbeddingCache>(embedder)};

  Fixture() {
    const std::filesystem::path vectors = tests::source_dir() / "tests/goldens/score/wmd/vectors.txt";
    context.dino = context.inception = context.sbert = context.clip;
    context.vectors = std::make_shared<const WordVectors>(vectors);
  }
};

image::Image pixel(uint8_t value) {
  image::Image image(1, 1);
  image.pixels[0] = value;
  return image;
}

TEST(Registry, MakesEveryMetricThatItLists) {
  const SpiceFolder spice;
  const MeteorFolder meteor;
  write_file(meteor.file(), small_meteor_tables());
  Fixture f;
  std::set<std::string> names;
  for (const MetricInfo& info : all_metrics()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_FALSE(info.title.empty());
    EXPECT_FALSE(info.formula.empty());
    f.context.judge_captioner = std::shared_ptr<caption::Captioner>(std::make_shared<JudgingCaptioner>());
    f.context.judge_generator = std::shared_ptr<generate::Generator>(std::make_shared<MuteGenerator>());
    const auto metric = make_metric(info.name, f.context);
    EXPECT_EQ(metric->info().name, info.name);
    const std::map<std::string, std::string> others = {
        {"", ""}, {"vectors", "vectors.txt"}, {"judge_captioner", "a judge"}, {"judge_generator", "a drawer"}};
    EXPECT_EQ(metric->info().checkpoint, others.contains(info.option) ? others.at(info.option) : "fake-clip");
    EXPECT_EQ(parse_inputs(inputs_name(info.inputs)), info.inputs);
    EXPECT_TRUE(metric->score({}).empty());
    const Comparison nothing;
    EXPECT_TRUE(std::isnan(metric->score(std::span(&nothing, 1)).at(0))) << info.name;
  }
}

TEST(Registry, UnknownNamesListTheKnownOnes) {
  try {
    make_metric("clip-score", {});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("clip-image, clip-image-pooled"), std::string::npos) << error.what();
  }
}

TEST(Registry, SaysWhichCheckpointIsMissing) {
  for (const MetricInfo& info : all_metrics()) {
    if (info.option.empty()) continue;
    try {
      make_metric(info.name, {});
      ADD_FAILURE() << info.name;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(info.option), std::string::npos) << error.what();
    }
  }
}

TEST(Registry, LoadsACheckpointWhenAMetricAsksForIt) {
  int loaded = 0;
  MetricContext context;
  context.clip = Lazy<EmbeddingCache>([&] {
    ++loaded;
    return std::make_shared<EmbeddingCache>(std::make_shared<FakeEmbedder>());
  });
  make_metric("psnr", context);
  EXPECT_EQ(loaded, 0);
  make_metric("clip-image", context);
  const MetricContext copy = context;
  make_metric("clipscore", copy);
  EXPECT_EQ(loaded, 1);
}

TEST(Registry, DefaultsFollowTheDataSet) {
  const MeteorFolder meteor;
  EXPECT_EQ(default_metrics(false, false), (std::vector<std::string>{"clip-image", "clip-image-pooled"}));
  const auto all = default_metrics(true, true);
  EXPECT_EQ(all, (std::vector<std::string>{"clip-image", "clip-image-pooled", "clip-text", "clip-text-pooled", "bleu-4",
                                           "rouge-l", "cider", "oracle-text", "oracle-image"}));
  write_file(meteor.file(), small_meteor_tables());
  auto with_meteor = all;
  with_meteor.insert(with_meteor.begin() + 5, "meteor");
  EXPECT_EQ(default_metrics(true, true), with_meteor);
  EXPECT_EQ(default_metrics(false, false, {"dino"}), std::vector<std::string>{"dino-image"});
  EXPECT_EQ(default_metrics(true, false, {"sbert", "vectors"}),
            (std::vector<std::string>{"sbert-text", "wmd-text", "bleu-4", "meteor", "rouge-l", "cider"}));
}

TEST(EmbeddingMetrics, AreCosineDistances) {
  Fixture f;
  const image::Image a = pixel(1), b = pixel(3);
  Comparison comparison;
  comparison.candidate_image = &a;
  comparison.original_image = &b;
  comparison.candidate_text = "xy";
  comparison.original_text = "xyz";
  const auto score = [&](const char* name) {
    return make_metric(name, f.context)->score(std::span(&comparison, 1)).at(0);
  };
  EXPECT_NEAR(score("clip-image"), 1 - 4 / (std::sqrt(2) * std::sqrt(10)), 1e-12);
  EXPECT_NEAR(score("clip-image-pooled"), 1 - 10 / (std::sqrt(2) * std::sqrt(82)), 1e-12);
  EXPECT_NEAR(score("clip-text"), 1 - 7 / (std::sqrt(5) * std::sqrt(10)), 1e-12);
  EXPECT_NEAR(score("clip-text-pooled"), 1 - 37 / (std::sqrt(17) * std::sqrt(82)), 1e-12);
}

TEST(EmbeddingMetrics, EmbedOriginalsOnceAndCandidatesTogether) {
  Fixture f;
  const image::Image originals[] = {pixel(1), pixel(2)}, candidates[] = {pixel(5), pixel(6), pixel(5)};
  std::vector<Comparison> batch;
  for (const image::Image& original : originals) {
    for (const image::Image& candidate : candidates) {
      batch.emplace_back();
      batch.back().candidate_image = &candidate;
      batch.back().original_image = &original;
    }
  }
  const auto projected = make_metric("clip-image", f.context), pooled = make_metric("clip-image-pooled", f.context);
  const auto values = projected->score(batch);
  EXPECT_EQ(f.embedder->batches, (std::vector<size_t>{2, 1, 1}));  // distinct candidates, then each original
  pooled->score(batch);
  EXPECT_EQ(f.embedder->batches.size(), 3u);
  EXPECT_EQ(values[0], values[2]);
  EXPECT_NE(values[0], values[1]);
  // One by one: the same values, and originals stay known.
  for (size_t i = 0; i < batch.size(); ++i) EXPECT_EQ(projected->score(std::span(&batch[i], 1)).at(0), values[i]);
  for (size_t i = 3; i < f.embedder->batches.size(); ++i) EXPECT_EQ(f.embedder->batches[i], 1u);
}

TEST(EmbeddingMetrics, EmbedOriginalsTogetherWhereTheLastBitsDoNotMatter) {
  Fixture f;
  EmbeddingCache one_by_one(f.embedder), together(f.embedder, EmbeddingCache::Originals::kTogether);
  const std::vector<std::string> texts = {"a", "bb", "a", "ccc"}, more = {"bb", "dddd"};
  const at::Tensor expected = one_by_one.original_texts(texts).projected;
  EXPECT_EQ(f.embedder->batches, (std::vector<size_t>{1, 1, 1}));
  EXPECT_TRUE(at::equal(together.original_texts(texts).projected, expected));
  EXPECT_EQ(f.embedder->batches.back(), 3u);
  EXPECT_EQ(together.original_texts(more).projected[1][1].item<double>(), 4);
  EXPECT_EQ(f.embedder->batches.back(), 1u);  // "bb" is known
}

// A device that holds two pictures or texts at once, and later none at all.
TEST(EmbeddingMetrics, HalveTheBatchWhereMemoryIsFull) {
  Fixture large, small;
  small.embedder->room = 2;
  std::vector<image::Image> pictures;
  for (uint8_t i = 0; i < 7; ++i) pictures.push_back(pixel(i));
  std::vector<Comparison> batch(7);
  for (size_t i = 0; i < batch.size(); ++i) {
    batch[i].candidate_image = &pictures[i];
    batch[i].original_image = &pictures[6 - i];
    batch[i].candidate_text = std::string(i + 1, 'x');
    batch[i].original_text = "xyz";
  }
  for (const char* name : {"clip-image", "clip-text"}) {
    const auto metric = make_metric(name, small.context);
    EXPECT_EQ(metric->score(batch), make_metric(name, large.context)->score(batch)) << name;
  }
  EXPECT_LE(std::ranges::max(small.embedder->batches), 2u);
  EXPECT_EQ(large.embedder->batches.front(), 7u);
  small.embedder->room = 0;
  EmbeddingCache fresh(small.embedder);
  EXPECT_THROW(fresh.original_images(std::vector<const image::Image*>{&pictures[0]}), OutOfMemory);
  EXPECT_THROW(fresh.candidate_texts(std::vector<std::string>{"a", "b"}), OutOfMemory);
}

TEST(EmbeddingMetrics, LeaveOutComparisonsThatLackASide) {
  Fixture f;
  const image::Image a = pixel(1);
  Comparison whole, half;
  whole.candidate_image = whole.original_image = half.candidate_image = &a;
  const std::vector<Comparison> batch = {half, whole};
  const auto values = make_metric("clip-image", f.context)->score(batch);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_NEAR(values[1], 0, 1e-12);
}

TEST(ReferenceMetrics, TokenizeAndUseTheCorpus) {
  Fixture f;
  Comparison comparison;
  comparison.candidate_text = "A red FOX.";
  comparison.references = {"a red fox"};
  const auto score = [&](const char* name) {
    return make_metric(name, f.context)->score(std::span(&comparison, 1)).at(0);
  };
  EXPECT_NEAR(score("cider"), 10 * 3 / 4.0, 1e-9);  // 1- to 3-grams agree, there is no 4-gram
  EXPECT_NEAR(score("cider-d"), 7.5, 1e-9);
  EXPECT_NEAR(score("cider-plain"), 7.5, 1e-9);
  EXPECT_GT(score("bleu-4"), 0);
  for (const char* name : {"bleu-1", "bleu-2", "bleu-3", "rouge-l"}) EXPECT_NEAR(score(name), 1, 1e-8) << name;
  comparison.references = {"a red fox", "green grass"};
  EXPECT_NEAR(score("cider"), 3.75, 1e-9);
}

TEST(PixelMetrics, ResizeTheCandidateAndStayFinite) {
  Fixture f;
  image::Image original(8, 6), brighter(8, 6), larger(16, 12);
  std::fill(original.pixels.begin(), original.pixels.end(), 100);
  std::fill(brighter.pixels.begin(), brighter.pixels.end(), 110);
  std::fill(larger.pixels.begin(), larger.pixels.end(), 110);
  std::vector<Comparison> batch(4);
  for (Comparison& comparison : batch) comparison.original_image = &original;
  batch[0].candidate_image = &brighter;
  batch[1].candidate_image = &larger;
  batch[2].candidate_image = &original;
  const auto psnr = make_metric("psnr", f.context)->score(batch), ssim = make_metric("ssim", f.context)->score(batch);
  EXPECT_NEAR(psnr[0], 10 * std::log10(255.0 * 255 / 100), 1e-9);
  EXPECT_EQ(psnr[1], psnr[0]);
  EXPECT_EQ(psnr[2], 100);
  EXPECT_NEAR(ssim[2], 1, 1e-12);
  EXPECT_EQ(ssim[1], ssim[0]);
  EXPECT_TRUE(std::isnan(psnr[3]) && std::isnan(ssim[3]));
  const image::Image tiny = pixel(1);
  batch[0].original_image = &tiny;
  EXPECT_TRUE(std::isnan(make_metric("ssim", f.context)->score(batch)[0]));
}

TEST(OracleMetrics, ReadTextsAndPictures) {
  Fixture f;
  const data::Scene scene = data::make_scene(data::Split::kTest, 3), other = data::make_scene(data::Split::kTest, 4);
  const image::Image right = data::render(scene), wrong = data::render(other);
  const auto text = make_metric("oracle-text", f.context), picture = make_metric("oracle-image", f.context);
  std::vector<Comparison> batch(2);
  for (Comparison& comparison : batch) comparison.truth = data::to_json(scene);
  batch[0].candidate_image = &right;
  batch[0].candidate_text = data::captions(scene).front();
  batch[1].candidate_image = &wrong;
  batch[1].candidate_text = data::captions(other).front();
  for (const auto& metric : {text.get(), picture.get()}) {
    const auto values = metric->score(batch);
    EXPECT_EQ(values[0], 1) << metric->info().name;
    EXPECT_LT(values[1], 1) << metric->info().name;
  }
  // One picture against two scenes: read once, compared twice.
  batch[1].candidate_image = &right;
  batch[1].truth = data::to_json(other);
  EXPECT_LT(picture->score(batch)[1], 1);
}

}  // namespace
}  // namespace readback::score
