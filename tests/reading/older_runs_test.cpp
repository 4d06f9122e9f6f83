// Runs of earlier versions, and of starts with other options: what can be read, and what can go on.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "readback/base/files.h"
#include "readback/report/report.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/database.h"
#include "runs.h"

namespace readback::roundtrip {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const MetricSummary& summary(const std::vector<MetricSummary>& all, Direction direction, const std::string& metric) {
  for (const MetricSummary& one : all) {
    if (one.direction == direction && one.metric.name == metric) return one;
  }
  throw std::runtime_error("no " + metric);
}

class Format1 : public testing::Test {
 protected:
  void SetUp() override { runs::copy_format_1(folder_); }
  runs::Folder folder_;
};

// The values are those of the results.json that the version of the time wrote.
TEST_F(Format1, CanBeRead) {
  const Store store = Store::open(folder_);
  EXPECT_EQ(store.manifest().results_version, 1);
  EXPECT_EQ(store.manifest().device, "cpu");
  EXPECT_EQ(store.num_candidates(), 2);
  EXPECT_EQ(store.seed(), 0u);
  const auto summaries = summarize(store);
  EXPECT_EQ(summaries.size(), 8u);
  EXPECT_DOUBLE_EQ(summary(summaries, Direction::kI2T2I, "clip-image").mean.mean, 0.16267910935953617);
  EXPECT_DOUBLE_EQ(summary(summaries, Direction::kI2T2I, "clip-image").floor.mean, 1.079117471646091);
  EXPECT_DOUBLE_EQ(summary(summaries, Direction::kT2I2T, "cider").mean.high, 9.065972222222223);
  const auto curves = rank_curves(store);
  ASSERT_EQ(curves.size(), 8u);
  EXPECT_EQ(curves[4].distance.name, "cider");
  EXPECT_EQ(curves[4].quality.name, "clip-image");
  EXPECT_DOUBLE_EQ(curves[4].ranks.at(1).mean, 0.21565685818429653);
  const CandidateRow row = store.candidates(Direction::kT2I2T, "test-00000").at(0);
  EXPECT_EQ(row.text, "a mushroom on a purple background");
  EXPECT_EQ(row.token_ids->size(), 11u);
  EXPECT_EQ(row.image_seed, 17206704664001597777u);
  EXPECT_NE(runs::read_all(folder_).find("a mushroom on a purple background"), std::string::npos);
}

TEST_F(Format1, CannotGoOnAndSaysWhy) {
  const std::string before = read_file(folder_ / "run.json");
  Manifest asked = Store::open(folder_).manifest();
  asked.results_version = kResultsVersion;
  asked.options["seed"] = 5;  // no reason while the versions differ
  const std::string message = runs::message_of([&] { Store::open_for_writing(folder_, asked); });
  EXPECT_NE(message.find("expected a run of results version 2 to go on with, got results version 1"), std::string::npos)
      << message;
  EXPECT_NE(message.find("Choose another output folder. The run there can still be read and reported"),
            std::string::npos)
      << message;
  EXPECT_EQ(message.find("seed"), std::string::npos) << message;
  EXPECT_EQ(read_file(folder_ / "run.json"), before);
}

TEST_F(Format1, WithoutSetCurvesIsReadToo) {
  runs::execute(folder_, "DROP TABLE set_curves; PRAGMA user_version = 1");
  EXPECT_TRUE(Store::open(folder_).set_curves().empty());
  EXPECT_NE(runs::read_all(folder_), "");
}

TEST_F(Format1, TakesItsDeviceFromWhatItSays) {
  json stored = json::parse(read_file(folder_ / "run.json"));
  stored["about"]["device"] = "cuda:1";
  write_file(folder_ / "run.json", stored.dump());
  EXPECT_EQ(Store::open(folder_).manifest().device, "cuda");
}

// That version gave blanked pictures scores.
TEST_F(Format1, BlankedPicturesAreLeftOutAndCounted) {
  runs::execute(folder_, "UPDATE candidates SET flagged = 1 WHERE sample = 'test-00001' AND candidate = 0");
  const Store store = Store::open(folder_);
  ASSERT_EQ(store.flagged(Direction::kI2T2I).size(), 1u);
  EXPECT_EQ(store.scores(Direction::kI2T2I, "clip-image").size(), 3u);  // of the reconstruction
  EXPECT_EQ(store.scores(Direction::kI2T2I, "cider").size(), 4u);       // the caption in the middle is as good as any
  EXPECT_EQ(store.scores(Direction::kT2I2T, "clip-image").size(), 3u);  // the picture in the middle
  EXPECT_EQ(store.scores(Direction::kT2I2T, "cider").size(), 3u);       // and what was read from it
  EXPECT_EQ(store.floors(Direction::kI2T2I, "clip-image").size(), 1u);  // the other's was measured with candidate 0
  EXPECT_EQ(store.floors(Direction::kI2T2I, "cider").size(), 2u);

  const auto curves = rank_curves(store);
  ASSERT_EQ(curves.size(), 8u);
  for (const RankCurve& curve : curves) {
    EXPECT_EQ(curve.samples, 1);
    EXPECT_EQ(curve.left_out, 1);
    EXPECT_EQ(curve.flagged, 1);
  }
  const auto means = sample_means(store, Direction::kT2I2T, "oracle-image");
  const auto values = store.scores(Direction::kT2I2T, "oracle-image");
  EXPECT_EQ(means.at("test-00001"), *values.back().value);  // its other candidate alone
  const json results = to_json(store, summarize(store), curves);
  EXPECT_EQ(results["flagged"], (json{{"i2t2i", 1}, {"t2i2t", 1}}));
  EXPECT_EQ(results["rank_curves"][0]["left_out_flagged"], 1);

  const report::ReportData data = report::gather(store);
  EXPECT_EQ(data.flagged_images, 2);
  EXPECT_EQ(data.flagged_samples, 1);
  ASSERT_EQ(data.ways[0].exhibits.size(), 2u);
  EXPECT_EQ(data.ways[0].exhibits[1].trips.size(), 1u);
  ASSERT_EQ(data.ways[0].exhibits[1].blanked.size(), 1u);
  EXPECT_EQ(data.ways[0].exhibits[1].blanked[0].candidate, 0);
  const std::string html = report::render(data);
  EXPECT_NE(html.find("2 pictures were blanked by the generator’s safety checker, of 1 sample."), std::string::npos);
  EXPECT_NE(html.find("1 sample left out, 1 for a blanked picture"), std::string::npos);
  EXPECT_NE(html.find("1 picture was blanked by the safety checker, and so the sample is in no rank curve"),
            std::string::npos);
}

TEST_F(Format1, ASampleOfBlankedPicturesOnlyIsCountedAndNotShown) {
  runs::execute(folder_, "UPDATE candidates SET flagged = 1 WHERE sample = 'test-00001'");
  const Store store = Store::open(folder_);
  EXPECT_EQ(sample_means(store, Direction::kT2I2T, "cider").size(), 1u);
  const report::ReportData data = report::gather(store);
  EXPECT_EQ(data.flagged_images, 4);
  EXPECT_EQ(data.ways[1].samples, 2);
  EXPECT_EQ(data.ways[1].exhibits.size(), 1u);
  report::render(data);
}

TEST_F(Format1, SetCurvesOverBlankedPicturesAreLeftOut) {
  runs::execute(folder_,
                "INSERT INTO set_curves VALUES ('t2i2t', 'cider', 0, 1.0, 2, 'r'), ('t2i2t', 'cider', 1, 2.0, 2, 'r')");
  EXPECT_EQ(rank_curves(Store::open(folder_)).size(), 9u);
  runs::execute(folder_, "UPDATE candidates SET flagged = 1 WHERE sample = 'test-00001'");
  EXPECT_EQ(rank_curves(Store::open(folder_)).size(), 8u);
}

// As on a read-only disk. In a process of its own, since root may write everywhere.
TEST_F(Format1, IsReadInAFolderThatNobodyMayWrite) {
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0555), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(3);
    if (::access(folder_.path().c_str(), W_OK) == 0) ::_exit(4);
    ::_exit(runs::message_of([&] { Store::open(folder_).samples(); }).empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::chmod(folder_.path().c_str(), 0755);
}

TEST(Identity, DeviceAndResultsVersionCount) {
  runs::Folder folder;
  Store::open_for_writing(folder, runs::manifest());
  Manifest other = runs::manifest();
  other.device = "cuda";
  EXPECT_NE(runs::message_of([&] {
              Store::open_for_writing(folder, other);
            }).find("device: \"cpu\" in the run, \"cuda\" now"),
            std::string::npos);
  other = runs::manifest();
  other.results_version += 1;
  EXPECT_NE(runs::message_of([&] { Store::open_for_writing(folder, other); }).find("results version 2"),
            std::string::npos);
  other = runs::manifest();
  other.about = {{"build", {{"readback", "9.9"}, {"compiler", "another"}}}, {"machine", "another"}};
  EXPECT_EQ(runs::message_of([&] { Store::open_for_writing(folder, other); }), "");
  EXPECT_EQ(Store::open(folder).manifest().about["build"], this_build());  // the first start's
}

TEST(Identity, OptionsThatOneSideLacksTakeTheirDefaults) {
  runs::Folder folder;
  Store::open_for_writing(folder, runs::manifest());
  const json defaults = {{"added", 0.5}, {"sampling", {{"top_p", 0.9}, {"min_p", 0.0}}}, {"group", {{"a", 1}}}};
  Manifest later = runs::manifest();
  later.options["added"] = 0.5;
  later.options["sampling"]["min_p"] = 0;
  later.options["group"] = {{"a", 1}};
  EXPECT_EQ(runs::message_of([&] { Store::open_for_writing(folder, later, defaults); }), "");
  // An earlier start's options, which lack what the run has, in a program that knows the default.
  runs::Folder newer;
  Store::open_for_writing(newer, later, defaults);
  EXPECT_EQ(runs::message_of([&] { Store::open_for_writing(newer, runs::manifest(), defaults); }), "");

  later.options["sampling"]["min_p"] = 0.1;
  later.options["unknown"] = 1;
  later.options["group"]["a"] = 2;
  const std::string message = runs::message_of([&] { Store::open_for_writing(folder, later, defaults); });
  EXPECT_NE(message.find("sampling.min_p: 0.0 in the run, 0.1 now"), std::string::npos) << message;
  EXPECT_NE(message.find("group.a: 1 in the run, 2 now"), std::string::npos) << message;
  EXPECT_NE(message.find("unknown: absent in the run, 1 now"), std::string::npos) << message;
  EXPECT_EQ(message.find("added"), std::string::npos) << message;
}

TEST(Identity, EmptyValuesDiffer) {
  runs::Folder folder;
  Manifest manifest = runs::manifest();
  manifest.options["list"] = json::array();
  Store::open_for_writing(folder, manifest);
  manifest.options["list"] = json::object();
  EXPECT_NE(runs::message_of([&] { Store::open_for_writing(folder, manifest); }), "");
}

TEST(Identity, DigestsOfAnotherKindCannotBeCompared) {
  runs::Folder folder;
  Manifest manifest = runs::manifest();
  manifest.digests["captioner"] = "0123456789abcdef";  // as runs had them before kinds
  manifest.about["notes"] = {"Seeds are not honoured by this generator."};
  Store::open_for_writing(folder, manifest);
  {
    const Store store = Store::open_for_writing(folder, runs::manifest());
    ASSERT_EQ(store.notes().size(), 1u);
    EXPECT_NE(store.notes()[0].find("captioner"), std::string::npos);
    EXPECT_NE(store.notes()[0].find("0123456789abcdef"), std::string::npos);
    EXPECT_EQ(store.manifest().digests["captioner"], "xxh3:c");  // later starts can compare
    EXPECT_EQ(store.manifest().about["notes"].size(), 2u);
  }
  EXPECT_TRUE(Store::open_for_writing(folder, runs::manifest()).notes().empty());
  Manifest changed = runs::manifest();
  changed.digests["captioner"] = "xxh3:other";
  EXPECT_NE(runs::message_of([&] { Store::open_for_writing(folder, changed); }).find("contents of the captioner"),
            std::string::npos);

  const std::string html = runs::read_all(folder);
  EXPECT_NE(html.find("Seeds are not honoured by this generator."), std::string::npos);
  EXPECT_NE(html.find("cannot be told"), std::string::npos);
}

TEST(Page, NamesDeviceVersionsBuildAndWhatFailed) {
  runs::Folder folder;
  runs::make_run(folder);
  Store::open_for_writing(folder, runs::manifest()).put_error({"s0", {}, -1, "original", "no such picture"});
  const std::string html = runs::read_all(folder);
  for (const std::string& part : {std::string("<dt>device</dt><dd>cpu</dd>"),
                                  "<dt>results_version</dt><dd>" + std::to_string(kResultsVersion) + "</dd>",
                                  std::string("<dt>build.compiler</dt>"), std::string("<dt>build.libtorch</dt>"),
                                  std::string("<dt>sampling.top_p</dt><dd>0.9</dd>"),
                                  std::string("2 samples of 2 failed. The first: <em>s0</em>, no such picture")}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

// Who only reads runs should not wait for libtorch, nor need it.
TEST(Reading, LoadsNoLibtorch) {
  const std::string maps = read_file("/proc/self/maps");
  EXPECT_NE(maps.find("libsqlite3"), std::string::npos);
  for (const char* library : {"libtorch", "libc10"}) EXPECT_EQ(maps.find(library), std::string::npos) << library;
}

}  // namespace
}  // namespace readback::roundtrip
