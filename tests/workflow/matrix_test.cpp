#include "readback/workflow/matrix.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/roundtrip/curves.h"
#include "tests/roundtrip/fakes.h"

namespace readback::workflow {
namespace {

using roundtrip::Direction;
using roundtrip::Store;
using roundtrip::fakes::Folder;

// The shipped models with each other: two captioners, two generators.
MatrixOptions quick() {
  MatrixOptions options{.captioners = {"emoji-scenes/captioner", "emoji-scenes/flamingo"},
                        .generators = {"emoji-scenes/generator", "emoji-scenes/dalle"}};
  options.run.dataset_options.limit = 3;
  options.run.num_candidates = 2;
  options.run.generation.num_inference_steps = 2;
  options.run.metrics = {"psnr", "rouge-l"};
  return options;
}

using Texts = std::map<roundtrip::CandidateKey, std::string>;
Texts texts(const Store& store, Direction direction) {
  Texts texts;
  for (const auto& row : store.candidates(direction)) texts[row.key] = row.text.value_or("?");
  return texts;
}
Texts pictures(const Store& store, Direction direction) {
  Texts bytes;
  for (const auto& row : store.candidates(direction)) bytes[row.key] = read_file(store.folder() / *row.image);
  return bytes;
}

TEST(Matrix, WhatAModelMakesIsMadeOnceAndShared) {
  const Folder folder;
  const Matrix result = matrix(quick(), folder.path());
  EXPECT_TRUE(result.failures.empty());
  const auto cell = [&](int64_t i, int64_t j) { return Store::open(folder.path() / cell_name(i, j)); };
  for (int64_t k = 0; k < 2; ++k) {
    EXPECT_EQ(texts(cell(k, 0), Direction::kI2T2I), texts(cell(k, 1), Direction::kI2T2I));
    EXPECT_EQ(pictures(cell(0, k), Direction::kT2I2T), pictures(cell(1, k), Direction::kT2I2T));
  }
  EXPECT_NE(texts(cell(0, 0), Direction::kI2T2I), texts(cell(1, 0), Direction::kI2T2I));
  EXPECT_NE(pictures(cell(0, 0), Direction::kI2T2I), pictures(cell(0, 1), Direction::kI2T2I));

  // What was lent is what the cell would have made itself.
  const Folder alone;
  roundtrip::RunOptions options = quick().run;
  options.captioner = "emoji-scenes/flamingo";
  options.generator = "emoji-scenes/dalle";
  run(options, alone.path());
  const Store made = Store::open(alone.path());
  EXPECT_EQ(texts(cell(1, 1), Direction::kI2T2I), texts(made, Direction::kI2T2I));
  EXPECT_EQ(texts(cell(1, 1), Direction::kT2I2T), texts(made, Direction::kT2I2T));
  EXPECT_EQ(pictures(cell(1, 1), Direction::kI2T2I), pictures(made, Direction::kI2T2I));
}

TEST(Matrix, TablesAreTheCellsMeansWithTestsBetweenThoseThatShareAModel) {
  const Folder folder;
  const Matrix result = matrix(quick(), folder.path());
  const auto table = std::ranges::find_if(
      result.tables, [](const MatrixTable& t) { return t.direction == Direction::kI2T2I && t.metric.name == "psnr"; });
  ASSERT_NE(table, result.tables.end());
  EXPECT_EQ(table->role, roundtrip::Role::kDistance);
  EXPECT_EQ(table->samples, 3);
  ASSERT_EQ(table->tests.size(), 4u);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      double mean = 0;
      const auto means =
          roundtrip::sample_means(Store::open(folder.path() / cell_name(i, j)), Direction::kI2T2I, "psnr");
      for (const auto& [sample, value] : means) mean += value / 3;
      EXPECT_NEAR(table->cells[static_cast<size_t>(i)][static_cast<size_t>(j)].mean, mean, 1e-9);
    }
  }
  const score::PairedTest& test = table->tests.front().test;  // the captioners under the first generator
  EXPECT_NEAR(test.difference.mean, table->cells[0][0].mean - table->cells[1][0].mean, 1e-9);
  EXPECT_GE(test.p_holm, test.p);
  ASSERT_TRUE(table->sensitivity.has_value());
  EXPECT_NEAR(
      table->sensitivity->captioner.mean + table->sensitivity->generator.mean + table->sensitivity->interaction.mean, 1,
      1e-9);
  EXPECT_EQ(table->sensitivity->pairs, 1);
  EXPECT_EQ(read_json(folder.path() / "matrix.json")["tables"].size(), result.tables.size());
  // Quality has no decoder behind it in this direction.
  const auto quality = std::ranges::find_if(result.tables, [](const MatrixTable& t) {
    return t.direction == Direction::kI2T2I && t.metric.name == "rouge-l";
  });
  ASSERT_NE(quality, result.tables.end());
  EXPECT_FALSE(quality->sensitivity.has_value());
  EXPECT_EQ(quality->cells[0].size(), 1u);  // the captions', whoever draws them
  EXPECT_EQ(quality->tests.size(), 1u);
}

TEST(Matrix, RefusesOneModelTwiceAndNone) {
  const Folder folder;
  MatrixOptions options = quick();
  options.captioners = {"a", "a"};
  EXPECT_THROW(matrix(options, folder.path() / "run"), UsageError);
  options.captioners.clear();
  EXPECT_THROW(matrix(options, folder.path() / "run"), UsageError);
}

}  // namespace
}  // namespace readback::workflow
