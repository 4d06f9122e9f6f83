// Originals drawn anew without words, and how they are measured.
#include "readback/roundtrip/ceiling.h"

#include <gtest/gtest.h>

#include "fakes.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/database.h"

namespace readback::roundtrip {
namespace {

constexpr int kLost = 3;  // shades, whenever a picture is drawn anew

class Varying final : public fakes::Generator {
 public:
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options,
                                                  const Context& context) override {
    if (requests.empty() || !requests.front().picture) return fakes::Generator::generate(requests, options, context);
    std::vector<Result<generate::Picture>> results;
    for (const generate::Request& request : requests) {
      context.check();
      EXPECT_TRUE(request.prompt.empty());
      asked.push_back(request.sample);
      if (request.sample == unable) {
        results.emplace_back(Failure{"it cannot"});
      } else {
        results.emplace_back(generate::Picture{.image = fakes::grey(fakes::shade(*request.picture) + kLost)});
      }
      if (std::ssize(asked) == stop_after) stop.request_stop();
    }
    return results;
  }
  generate::Capabilities capabilities() const override { return {.honours_seeds = true, .variations = true}; }

  std::vector<std::string> asked;
  std::string unable;
  int64_t stop_after = -1;
  std::stop_source stop;
};

class Ceiling : public testing::Test {
 protected:
  void SetUp() override { fakes::run(folder_, options_, dataset_, captioner_, generator_); }
  Store open() const { return Store::open_for_writing(folder_, fakes::manifest(options_)); }
  void draw(Store& store) { draw_ceilings(store, generator_, {}, 4, -1, Context(generator_.stop.get_token())); }

  const fakes::Folder folder_;
  fakes::Dataset dataset_{10};
  fakes::Captioner captioner_;
  Varying generator_;
  RunOptions options_ = fakes::options(2);
};

TEST_F(Ceiling, IsOfEveryOriginalAndOfPicturesAlone) {
  Store store = open();
  EXPECT_EQ(summarize(store).front().ceiling.count, 0);
  draw(store);
  measure_ceilings(store, fakes::metrics(), {});
  EXPECT_EQ(generator_.asked.size(), 10u);
  const std::vector<CeilingRow> rows = store.ceilings("shade-image");
  ASSERT_EQ(rows.size(), 10u);
  for (const CeilingRow& row : rows) EXPECT_EQ(row.value, kLost);
  EXPECT_TRUE(store.ceilings("shade-text").empty());
  int with_ceiling = 0;
  for (const MetricSummary& summary : summarize(store)) {
    if (summary.ceiling.count == 0) continue;
    ++with_ceiling;
    EXPECT_EQ(summary.direction, Direction::kI2T2I);
    EXPECT_EQ(summary.metric.name, "shade-image");
    EXPECT_EQ(summary.ceiling.mean, kLost);
    EXPECT_GT(summary.mean.mean, kLost);  // the words of this world err by more
  }
  EXPECT_EQ(with_ceiling, 1);
  const nlohmann::json json = to_json(store, summarize(store), rank_curves(store));
  for (const nlohmann::json& row : json["summaries"]) {
    EXPECT_EQ(row.contains("ceiling"), row["direction"] == "i2t2i" && row["metric"] == "shade-image");
  }
}

TEST_F(Ceiling, GoesOnWhereItStopped) {
  {
    Store store = open();
    generator_.stop_after = 6;
    EXPECT_THROW(draw(store), Interrupted);
  }
  Varying second;
  Store store = open();
  draw_ceilings(store, second, {}, 4, -1, {});
  EXPECT_EQ(second.asked.size(), 2u + 4u);  // the batch that was stopped, and what comes after it
  measure_ceilings(store, fakes::metrics(), {});
  EXPECT_EQ(store.ceilings("shade-image").size(), 10u);
  draw_ceilings(store, second, {}, 4, -1, {});
  EXPECT_EQ(second.asked.size(), 6u);  // nothing is left
}

TEST_F(Ceiling, FailuresAreRecordedAndTriedAgain) {
  Store store = open();
  generator_.unable = "s/3";
  draw(store);
  measure_ceilings(store, fakes::metrics(), {});
  ASSERT_EQ(store.errors().size(), 1u);
  EXPECT_EQ(store.errors()[0].sample, "s/3");
  EXPECT_EQ(store.errors()[0].stage, "ceiling");
  EXPECT_EQ(store.errors()[0].message, "it cannot");
  EXPECT_EQ(store.ceilings("shade-image").size(), 9u);
  EXPECT_THROW(draw_ceilings(store, generator_, {}, 4, 0, {}), DataError);  // one more than may fail
  generator_.unable.clear();
  draw(store);
  measure_ceilings(store, fakes::metrics(), {});
  EXPECT_EQ(store.ceilings("shade-image").size(), 10u);
}

TEST_F(Ceiling, ANewPictureIsMeasuredAnew) {
  Store store = open();
  draw(store);
  measure_ceilings(store, fakes::metrics(), {});
  store.save_ceiling("s/4", fakes::grey(0));
  EXPECT_EQ(store.ceilings("shade-image").size(), 9u);
  measure_ceilings(store, fakes::metrics(), {});
  EXPECT_EQ(store.ceilings("shade-image")[4].value, fakes::Dataset::original(4));
}

TEST_F(Ceiling, ARunOfTheVersionBeforeGoesOn) {
  Database(folder_.path() / "run.sqlite", Database::Mode::kReadWrite)
      .execute("DROP TABLE ceilings; ALTER TABLE samples DROP COLUMN domain; PRAGMA user_version = 3");
  EXPECT_TRUE(Store::open(folder_).ceilings("shade-image").empty());
  Store store = open();
  draw(store);
  measure_ceilings(store, fakes::metrics(), {});
  EXPECT_EQ(store.ceilings("shade-image").size(), 10u);
}

}  // namespace
}  // namespace readback::roundtrip
