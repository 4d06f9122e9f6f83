// CLIPScore and RefCLIPScore of a tiny random CLIP against transformers (tools/reference/clipscore.py).
#include "readback/score/pair/clipscore.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "../device.h"
#include "../models/hashed.h"
#include "readback/base/files.h"
#include "readback/score/clip_embedder.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

const std::filesystem::path kGoldens = tests::source_dir() / "tests/goldens/score/clipscore";

struct Fixture {
  std::shared_ptr<ClipEmbedder> embedder =
      std::make_shared<ClipEmbedder>(checkpoint::Repository(kGoldens.string()), test_device(), at::kFloat);
  std::shared_ptr<EmbeddingCache> cache = std::make_shared<EmbeddingCache>(embedder);
  std::unique_ptr<Metric> plain =
      make_clipscore_metric({"clipscore", "CLIPScore", "f", Direction::kHigherIsBetter, Inputs::kImageText, ""}, cache);
  std::unique_ptr<Metric> with_references = make_clipscore_metric(
      {"refclipscore", "RefCLIPScore", "f", Direction::kHigherIsBetter, Inputs::kImageTextReferences, ""}, cache);
};

TEST(ClipScore, AsTransformers) {
  at::set_num_threads(1);
  Fixture f;
  const nlohmann::json golden = read_json(kGoldens / "cases.json");
  std::vector<image::Image> images;
  for (const auto& row : golden.at("cases")) {
    images.push_back(models::picture(row.at("width"), row.at("height"), static_cast<int64_t>(images.size())));
  }
  std::vector<Comparison> captions(images.size()), pictures(images.size());
  for (size_t i = 0; i < images.size(); ++i) {
    const auto& row = golden.at("cases").at(i);
    captions[i].original_image = pictures[i].candidate_image = &images[i];
    captions[i].candidate_text = pictures[i].original_text = row.at("caption");
    captions[i].references = row.at("references").get<std::vector<std::string>>();
  }
  const auto scores = f.plain->score(captions), of_pictures = f.plain->score(pictures);
  const auto reference_scores = f.with_references->score(captions);
  const int64_t of_captions = golden.at("truncated").at("captions"),
                of_references = golden.at("truncated").at("references");
  EXPECT_EQ(f.embedder->truncated(), 2 * of_captions + of_references);  // captions as candidates and as originals
  for (size_t i = 0; i < images.size(); ++i) {
    const auto& row = golden.at("cases").at(i);
    EXPECT_NEAR(scores[i], row.at("clipscore"), 1e-5) << row;
    EXPECT_NEAR(reference_scores[i], row.at("refclipscore"), 1e-5) << row;
    if (pictures[i].original_text.empty()) {
      EXPECT_TRUE(std::isnan(of_pictures[i]));
    } else {
      EXPECT_NEAR(of_pictures[i], scores[i], 1e-5) << row;
    }
  }
  for (double value : f.with_references->score(pictures)) EXPECT_TRUE(std::isnan(value));
}

TEST(ClipScore, NeverBelowZero) {
  EXPECT_EQ(clipscore(-0.2), 0);
  EXPECT_DOUBLE_EQ(clipscore(0.3), 0.75);
  EXPECT_DOUBLE_EQ(refclipscore(0.75, 0.5), 0.6);
  EXPECT_EQ(refclipscore(0, 0.5), 0);
  EXPECT_EQ(refclipscore(0.75, -0.1), 0);
  EXPECT_EQ(refclipscore(0, 0), 0);
}

TEST(ClipScore, UndefinedWithoutImageOrText) {
  Fixture f;
  const image::Image picture = models::picture(32, 32, 0);
  std::vector<Comparison> batch(3);
  batch[0].candidate_text = "a dog";    // no image
  batch[1].candidate_image = &picture;  // no text to compare with
  batch[2].original_image = &picture;   // no references
  batch[2].candidate_text = "a dog";
  const auto plain = f.plain->score(batch), with_references = f.with_references->score(batch);
  EXPECT_TRUE(std::isnan(plain[0]) && std::isnan(plain[1]));
  EXPECT_FALSE(std::isnan(plain[2]));
  EXPECT_TRUE(std::isnan(with_references[2]));
  EXPECT_TRUE(f.plain->score({}).empty());
}

}  // namespace
}  // namespace readback::score
