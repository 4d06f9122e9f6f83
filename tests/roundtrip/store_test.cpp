#include "readback/roundtrip/store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "fakes.h"
#include "readback/base/files.h"
#include "readback/roundtrip/store_files.h"

namespace readback::roundtrip {
namespace {

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const StoreError& error) {
    return error.what();
  }
  return "";
}

TEST(Store, OtherOptionsAreListed) {
  fakes::Folder folder;
  RunOptions options = fakes::options();
  Store::open_for_writing(folder, fakes::manifest(options));
  options.num_candidates = 3;
  options.sampling.top_p = 0.8;
  options.batch_size = 1;       // changes how, not what
  options.metrics = {"cider"};  // measured in addition
  Manifest other = fakes::manifest(options);
  other.digests["captioner"] = "new";
  const std::string message = message_of([&] { Store::open_for_writing(folder, other); });
  EXPECT_NE(message.find("num_candidates: 5 in the run, 3 now"), std::string::npos) << message;
  EXPECT_NE(message.find("sampling.top_p: 0.9 in the run, 0.8 now"), std::string::npos) << message;
  EXPECT_NE(message.find("captioner: \"c\" in the run, \"new\" now"), std::string::npos) << message;
  EXPECT_EQ(message.find("generat"), std::string::npos) << message;
  EXPECT_EQ(message.find("batch_size"), std::string::npos) << message;
}

TEST(Store, LaterStartsMayAddCheckpointsOfMetrics) {
  fakes::Folder folder;
  const Manifest plain = fakes::manifest(fakes::options());
  Manifest with_dino = plain, with_another = plain;
  with_dino.digests["dino"] = "a";
  with_another.digests["dino"] = "b";
  Store::open_for_writing(folder, plain);
  Store::open_for_writing(folder, with_dino);
  Store::open_for_writing(folder, plain);
  EXPECT_EQ(Store::open(folder).manifest().digests, with_dino.digests);
  const std::string message = message_of([&] { Store::open_for_writing(folder, with_another); });
  EXPECT_NE(message.find("dino: \"a\" in the run, \"b\" now"), std::string::npos) << message;
}

TEST(Store, EveryOptionOfTheIdentityCounts) {
  const RunOptions options = fakes::options();
  const auto differs = [&](const std::function<void(RunOptions&)>& change) {
    RunOptions other = options;
    change(other);
    return identity(other, {}) != identity(options, {});
  };
  EXPECT_TRUE(differs([](RunOptions& o) { o.seed = 1; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.dataset_options.split = "train"; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.dataset_options.seed = 4; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.directions = {Direction::kI2T2I}; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.generator = "other"; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.generation.scheduler = "ddim"; }));
  EXPECT_TRUE(differs([](RunOptions& o) { o.reading.num_beams = 1; }));
  EXPECT_FALSE(differs([](RunOptions& o) { o.batch_size = 2; }));
  EXPECT_FALSE(differs([](RunOptions& o) { o.max_errors = 2; }));
}

TEST(Store, ASecondProcessIsRefused) {
  fakes::Folder folder;
  const Manifest manifest = fakes::manifest(fakes::options());
  const Store store = Store::open_for_writing(folder, manifest);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string message = message_of([&] { Store::open_for_writing(folder, manifest); });
    const bool named = message.find("in use by process " + std::to_string(::getppid())) != std::string::npos;
    ::_exit(named ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Store::open(folder).num_candidates(), 5);  // reading is free
}

TEST(Store, TheLockEndsWithTheStore) {
  fakes::Folder folder;
  const Manifest manifest = fakes::manifest(fakes::options());
  { const Store store = Store::open_for_writing(folder, manifest); }
  EXPECT_EQ(message_of([&] { Store::open_for_writing(folder, manifest); }), "");
}

TEST(Store, RefusesFoldersThatHoldSomethingElse) {
  fakes::Folder folder;
  write_file(folder.path() / "thesis.tex", "years of work");
  const Manifest manifest = fakes::manifest(fakes::options());
  EXPECT_NE(message_of([&] { Store::open_for_writing(folder, manifest); }).find("thesis.tex"), std::string::npos);
  EXPECT_NE(message_of([&] { Store::open(folder); }).find("no run.json"), std::string::npos);
  EXPECT_NE(message_of([&] { Store::open_for_writing(folder.path() / "thesis.tex", manifest); }), "");
}

TEST(Store, DamagedRunsAreErrors) {
  fakes::Folder folder;
  const Manifest manifest = fakes::manifest(fakes::options());
  { Store::open_for_writing(folder, manifest); }
  write_file(folder.path() / "run.sqlite", std::string(4096, 'x'));
  EXPECT_NE(message_of([&] { Store::open_for_writing(folder, manifest); }), "");
  write_file(folder.path() / "run.json", "{\"format\": 99}");
  EXPECT_NE(message_of([&] { Store::open(folder); }).find("expected format 2 or earlier, got 99"), std::string::npos);
  write_file(folder.path() / "run.json", "{\"format\": 1");
  EXPECT_NE(message_of([&] { Store::open(folder); }), "");
}

TEST(Store, RowsComeBackAsTheyWent) {
  fakes::Folder folder;
  Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  const std::vector<SampleRow> samples = {{"b", 0, "", {"say \"b\"", "β"}, "{\"objects\":[]}", "near"},
                                          {"a", 1, "", {}, ""}};
  store.add_samples(samples);
  store.add_samples(samples);  // a resume adds nothing
  EXPECT_EQ(store.set_original("a", fakes::grey(9)), "images/originals/a.png");
  const auto rows = store.samples();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].id, "b");
  EXPECT_EQ(rows[0].references, samples[0].references);
  EXPECT_EQ(rows[0].prompt(), "say \"b\"");
  EXPECT_EQ(rows[0].truth, samples[0].truth);
  EXPECT_EQ(rows[0].domain, "near");
  EXPECT_EQ(rows[1].domain, "");
  EXPECT_EQ(store.load_image(rows[1].image), fakes::grey(9));

  CandidateRow row{{Direction::kT2I2T, "a", 3}};
  row.image = "images/x.png";
  row.image_seed = UINT64_MAX;
  row.flagged = true;
  row.truncated_tokens = 4;
  store.put_candidates(std::span(&row, 1));
  CandidateRow read = store.candidates(Direction::kT2I2T).at(0);
  EXPECT_EQ(read.key, row.key);
  EXPECT_FALSE(read.text.has_value());
  EXPECT_FALSE(read.complete());
  EXPECT_EQ(read.image_seed, UINT64_MAX);
  EXPECT_TRUE(read.flagged);
  EXPECT_EQ(read.truncated_tokens, 4);
  row.text = "";        // an empty caption is a caption
  row.flagged = false;  // a blanked picture has no scores
  row.token_ids = {5, 6};
  row.log_probability = -1.5;
  store.put_candidates(std::span(&row, 1));
  read = store.candidates(Direction::kT2I2T, "a").at(0);
  EXPECT_TRUE(read.complete());
  EXPECT_EQ(read.text, "");
  EXPECT_EQ(read.token_ids, row.token_ids);
  EXPECT_EQ(read.log_probability, -1.5);
  EXPECT_TRUE(store.candidates(Direction::kI2T2I).empty());

  const score::MetricInfo info{"m", "M", "f", score::Direction::kHigherIsBetter, score::Inputs::kTextTruth, "repo"};
  store.put_metric(info);
  const ScoreRow scores[] = {{row.key, "m", 0.1}, {{Direction::kT2I2T, "b", 0}, "m", std::nullopt}};
  const FloorRow floors[] = {{row.key, "m", "b", 0.25}};
  store.put_scores(scores, floors);
  EXPECT_EQ(store.metrics().at(0).inputs, score::Inputs::kTextTruth);
  EXPECT_EQ(store.metrics().at(0).direction, score::Direction::kHigherIsBetter);
  const auto values = store.scores(Direction::kT2I2T, "m");
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0].key.sample, "b");  // in the samples' order
  EXPECT_FALSE(values[0].value.has_value());
  EXPECT_EQ(values[1].value, 0.1);
  EXPECT_EQ(store.floors(Direction::kT2I2T, "m").at(0).other, "b");
}

TEST(Store, WhatModelsDoNotSayIsAbsent) {
  fakes::Folder folder;
  Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  const SampleRow sample{"a", 0, "", {"text"}, ""};
  store.add_samples({&sample, 1});
  CandidateRow row{.key = {Direction::kI2T2I, "a", 0}, .text = "words", .image = "images/x.png"};
  store.put_candidates({&row, 1});
  const CandidateRow read = store.candidates(Direction::kI2T2I).at(0);
  EXPECT_TRUE(read.complete());
  EXPECT_FALSE(read.token_ids || read.log_probability || read.image_seed);
  EXPECT_NE(fakes::contents(folder).at(0).find("words | NULL | NULL | images/x.png | NULL"), std::string::npos)
      << fakes::contents(folder).at(0);
  EXPECT_EQ(store.count_complete(Direction::kI2T2I), 1);
  EXPECT_EQ(store.count_complete(Direction::kT2I2T), 0);
}

// Scores of what was there before must not be taken for those of what is there now.
TEST(Store, AReplacedCandidateLosesWhatBelongedToIt) {
  fakes::Folder folder;
  Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  const SampleRow sample{"a", 0, "", {"text"}, ""};
  store.add_samples({&sample, 1});
  store.put_metric({"m", "M", "f", score::Direction::kHigherIsBetter, score::Inputs::kTexts, ""});
  CandidateRow rows[] = {{.key = {Direction::kT2I2T, "a", 0}, .text = "one", .image = "x.png"},
                         {.key = {Direction::kT2I2T, "a", 1}, .text = "two", .image = "y.png"}};
  store.put_candidates(rows);
  const ScoreRow scores[] = {{rows[0].key, "m", 0.1}, {rows[1].key, "m", 0.2}};
  const FloorRow floor{rows[0].key, "m", "a", 0.3};
  store.put_scores(scores, {&floor, 1});
  store.put_set_curve({Direction::kT2I2T, "m", "r", {1, 2, 3, 4, 5}, 1});
  rows[0].text = "three";
  store.put_candidates({&rows[0], 1});
  ASSERT_EQ(store.scores(Direction::kT2I2T, "m").size(), 1u);
  EXPECT_EQ(store.scores(Direction::kT2I2T, "m")[0].key, rows[1].key);
  EXPECT_TRUE(store.floors(Direction::kT2I2T, "m").empty());
  EXPECT_TRUE(store.set_curves().empty());
}

TEST(Store, ASampleHasOneFloorOfAMetric) {
  fakes::Folder folder;
  Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  const SampleRow sample{"a", 0, "", {"text"}, ""};
  store.add_samples({&sample, 1});
  store.put_metric({"m", "M", "f", score::Direction::kHigherIsBetter, score::Inputs::kTexts, ""});
  for (const int64_t candidate : {1, 0}) {  // candidate 0 came later
    const FloorRow floor{{Direction::kT2I2T, "a", candidate}, "m", "a", 0.5};
    store.put_scores({}, {&floor, 1});
  }
  ASSERT_EQ(store.floors(Direction::kT2I2T, "m").size(), 1u);
  EXPECT_EQ(store.floors(Direction::kT2I2T, "m")[0].key.candidate, 0);
}

TEST(Store, AFullDiskIsAnErrorThatSaysSo) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  fakes::Folder folder;
  const std::filesystem::path target = folder.path() / "a.png";
  std::filesystem::create_symlink("/dev/full", target.string() + ".partial");
  const std::string message = message_of([&] { write_without_sync(target, std::string(1 << 16, 'x')); });
  EXPECT_NE(message.find("No space left"), std::string::npos) << message;
  EXPECT_NE(message.find("Free some space"), std::string::npos) << message;
  EXPECT_FALSE(std::filesystem::exists(target));
}

TEST(FileStem, IsSafeAndDistinct) {
  EXPECT_EQ(file_stem("test-0012"), "test-0012");
  EXPECT_EQ(file_stem("a/b c.jpg"), "a%2Fb%20c.jpg");
  EXPECT_EQ(file_stem(".."), "%2E.");
  EXPECT_EQ(file_stem("é"), "%C3%A9");
  EXPECT_NE(file_stem(std::string(300, 'x')), file_stem(std::string(301, 'x')));
  EXPECT_LT(file_stem(std::string(3000, '/')).size(), 200u);
}

}  // namespace
}  // namespace readback::roundtrip
