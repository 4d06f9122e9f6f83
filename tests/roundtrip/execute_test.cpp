#include "readback/roundtrip/execute.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "fakes.h"
#include "readback/roundtrip/database.h"

namespace readback::roundtrip {
namespace {

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Execute, MakesEveryCandidateInBothDirections) {
  fakes::Folder folder;
  fakes::Dataset dataset(9);
  fakes::Captioner captioner;
  fakes::Generator generator;
  const Summary summary = fakes::run(folder, fakes::options(5, 7), dataset, captioner, generator);
  EXPECT_EQ(summary.units, 9 * 2 * 5);
  EXPECT_EQ(summary.done_before, 0);
  EXPECT_EQ(summary.failed_samples, 0);

  const Store store = Store::open(folder);
  int64_t truncated = 0;
  for (Direction direction : store.directions()) {
    const auto rows = store.candidates(direction);
    ASSERT_EQ(rows.size(), 45u);
    for (const CandidateRow& row : rows) {
      ASSERT_TRUE(row.complete());
      const int64_t key = std::stoll(row.key.sample.substr(2));
      const int shown = fakes::shade(store.load_image(*row.image));
      EXPECT_EQ(row.image_seed,
                derive_seed(0, Purpose::kPictureSeed, row.key.sample, static_cast<uint64_t>(row.key.candidate)));
      EXPECT_EQ(shown, fakes::shade(*row.text));  // spread 0: the generator draws what it is told
      if (direction == Direction::kT2I2T) {
        EXPECT_EQ(shown, fakes::Dataset::original(key));
      }
      EXPECT_EQ(row.token_ids, (std::vector<int64_t>{1, fakes::shade(*row.text), 2}));
      truncated += row.truncated_tokens > 0;
    }
  }
  EXPECT_EQ(summary.truncated_prompts, truncated);
  EXPECT_LE(generator.largest_batch, 7u);
}

TEST(Execute, ASamplesCandidatesDependOnNeitherBatchNorOrder) {
  const auto candidates = [](int64_t batch_size, uint64_t order) {
    fakes::Folder folder;
    fakes::Dataset dataset(6, order);
    fakes::Captioner captioner;
    fakes::Generator generator;
    generator.spread = 9;
    fakes::run(folder, fakes::options(4, batch_size), dataset, captioner, generator);
    std::vector<std::string> lines;
    for (const std::string& line : fakes::contents(folder)) {
      if (line.starts_with("candidate") || line.starts_with("score")) lines.push_back(line);
    }
    return lines;
  };
  const auto expected = candidates(1, 0);
  EXPECT_EQ(expected.size(), 6u * 2 * 4 * 3);
  EXPECT_EQ(candidates(8, 0), expected);
  EXPECT_EQ(candidates(100, 0), expected);
  EXPECT_EQ(candidates(3, 1), expected);
}

TEST(Execute, ASecondStartHasNothingLeftToDo) {
  fakes::Folder folder;
  fakes::Dataset dataset(4);
  fakes::Captioner captioner;
  fakes::Generator generator;
  fakes::run(folder, fakes::options(), dataset, captioner, generator);
  const auto before = fakes::contents(folder);
  captioner.calls = generator.calls = 0;
  const Summary again = fakes::run(folder, fakes::options(), dataset, captioner, generator);
  EXPECT_EQ(again.done_before, again.units);
  EXPECT_EQ(captioner.calls + generator.calls, 0u);
  EXPECT_EQ(fakes::contents(folder), before);
}

TEST(Execute, DomainsAreKeptAndReachARunOfTheVersionBefore) {
  fakes::Folder folder;
  fakes::Dataset dataset(4);
  dataset.has_domains = true;
  fakes::Captioner captioner;
  fakes::Generator generator;
  fakes::run(folder, fakes::options(), dataset, captioner, generator);
  const auto kept = [&] {
    std::string all;
    for (const SampleRow& row : Store::open(folder).samples()) all += row.id + " " + row.domain + "; ";
    return all;
  };
  const std::string whole = "s/0 even; s/1 odd; s/2 even; s/3 odd; ";
  EXPECT_EQ(kept(), whole);
  const auto before = fakes::contents(folder);
  Database(folder.path() / "run.sqlite", Database::Mode::kReadWrite)
      .execute("ALTER TABLE samples DROP COLUMN domain; PRAGMA user_version = 4");
  EXPECT_EQ(kept(), "s/0 ; s/1 ; s/2 ; s/3 ; ");  // can be read
  captioner.calls = generator.calls = 0;
  fakes::run(folder, fakes::options(), dataset, captioner, generator);
  EXPECT_EQ(kept(), whole);
  EXPECT_EQ(captioner.calls + generator.calls, 0u);
  EXPECT_EQ(fakes::contents(folder), before);
}

TEST(Execute, ABadSampleIsRecordedAndTheOthersGoOn) {
  fakes::Folder folder;
  fakes::Dataset dataset(6);
  dataset.broken = 2;
  dataset.without_text = 4;
  fakes::Captioner captioner;
  captioner.before = [](const caption::Request& request) {
    if (request.sample == "s/1" && request.candidate == 0) throw DataError("no caption for s/1");
  };
  fakes::Generator generator;
  generator.before = [](const generate::Request& request) {
    if (request.sample == "s/3" && request.candidate == 2) throw DataError("no picture for s/3-2");
  };
  const Summary summary = fakes::run(folder, fakes::options(5, 20), dataset, captioner, generator);
  EXPECT_EQ(summary.failed_samples, 4);

  const Store store = Store::open(folder);
  const std::vector<ErrorRow> expected = {
      {"s/1", Direction::kI2T2I, -1, "text", "no caption for s/1"},
      {"s/1", Direction::kT2I2T, 0, "text", "no caption for s/1"},
      {"s/2", {}, -1, "original", "broken.png: expected an image, got 3 bytes"},
      {"s/3", Direction::kI2T2I, 2, "image", "no picture for s/3-2"},
      {"s/3", Direction::kT2I2T, 2, "image", "no picture for s/3-2"},
      {"s/4", Direction::kT2I2T, -1, "text", "the sample has no text to begin with"}};
  EXPECT_EQ(store.errors(), expected);
  for (Direction direction : store.directions()) {
    int64_t complete = 0;
    for (const CandidateRow& row : store.candidates(direction)) complete += row.complete();
    // I2T2I lacks s/1, s/2 and one of s/3; T2I2T lacks one of s/1, s/2, one of s/3 and s/4.
    EXPECT_EQ(complete, direction == Direction::kI2T2I ? 30 - 5 - 5 - 1 : 30 - 1 - 5 - 1 - 5);
  }

  // The cause is gone: a second start makes up for it and forgets the errors.
  dataset.broken = dataset.without_text = -1;
  captioner.before = [](const caption::Request&) {};
  generator.before = [](const generate::Request&) {};
  EXPECT_EQ(fakes::run(folder, fakes::options(5, 20), dataset, captioner, generator).failed_samples, 0);
  EXPECT_TRUE(Store::open(folder).errors().empty());
  for (Direction direction : store.directions()) {
    for (const CandidateRow& row : store.candidates(direction)) EXPECT_TRUE(row.complete());
  }
}

// A text needs no picture to be drawn and read.
TEST(Execute, ASampleWithoutAnImageGoesOneWay) {
  fakes::Folder folder;
  fakes::Dataset dataset(4);
  dataset.without_image = 1;
  fakes::Captioner captioner;
  fakes::Generator generator;
  EXPECT_EQ(fakes::run(folder, fakes::options(5, 20), dataset, captioner, generator).failed_samples, 1);
  const Store store = Store::open(folder);
  const std::vector<ErrorRow> expected = {
      {"s/1", Direction::kI2T2I, -1, "image", "the sample has no image to begin with"}};
  EXPECT_EQ(store.errors(), expected);
  EXPECT_EQ(store.count_complete(Direction::kI2T2I), 3 * 5);
  EXPECT_EQ(store.count_complete(Direction::kT2I2T), 4 * 5);
  EXPECT_EQ(store.samples()[1].image, "");
  // Where no sample has one, the direction itself is a mistake.
  fakes::Dataset texts(1);
  texts.without_image = 0;
  fakes::Folder other;
  EXPECT_THROW(fakes::run(other, fakes::options(), texts, captioner, generator), UsageError);
}

TEST(Execute, MaxErrorsEndsTheRun) {
  fakes::Folder folder;
  fakes::Dataset dataset(8);
  fakes::Captioner captioner;
  fakes::Generator generator;
  generator.before = [](const generate::Request& request) {
    if (request.sample != "s/0") throw DataError("out of paint");
  };
  RunOptions options = fakes::options();
  options.max_errors = 2;
  const std::string message = message_of([&] { fakes::run(folder, options, dataset, captioner, generator); });
  EXPECT_NE(message.find("at most 2 failed samples, got 3"), std::string::npos) << message;
  EXPECT_NE(message.find("out of paint"), std::string::npos) << message;
}

TEST(Execute, ErrorsThatConcernTheWholeRunEndIt) {
  fakes::Folder folder;
  fakes::Dataset dataset(3);
  fakes::Captioner captioner;
  fakes::Generator generator;
  const auto ends_with = [&](auto error) {
    captioner.before = [error](const caption::Request&) { throw error; };
    EXPECT_THROW(fakes::run(folder, fakes::options(), dataset, captioner, generator), decltype(error));
    EXPECT_TRUE(Store::open(folder).errors().empty());
  };
  ends_with(UsageError("top_p: expected 0 to 1, got 7"));
  ends_with(EngineError("the device is lost"));
  ends_with(NetworkError("the endpoint does not answer"));
  ends_with(std::out_of_range("a fault of our own"));
  ends_with(std::runtime_error("unknown"));
}

// A device that holds three requests at once, and later none at all.
TEST(Execute, OutOfMemoryHalvesTheBatch) {
  struct Small : fakes::Generator {
    std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                    const generate::GenerationOptions& options,
                                                    const Context& context) override {
      if (requests.size() > room) throw OutOfMemory("no room");
      return fakes::Generator::generate(requests, options, context);
    }
    size_t room = 3;
  } small;
  fakes::Folder folder, undisturbed;
  fakes::Dataset dataset(6);
  fakes::Captioner captioner;
  fakes::Generator large;
  small.spread = large.spread = 9;
  EXPECT_EQ(fakes::run(folder, fakes::options(4, 8), dataset, captioner, small).failed_samples, 0);
  fakes::run(undisturbed, fakes::options(4, 8), dataset, captioner, large);
  EXPECT_EQ(fakes::contents(folder), fakes::contents(undisturbed));
  EXPECT_LE(small.largest_batch, 3u);
  small.room = 0;
  fakes::Folder another;
  EXPECT_THROW(fakes::run(another, fakes::options(4, 8), dataset, captioner, small), OutOfMemory);
}

// Sampling and reading have options of their own.
TEST(Execute, CandidatesAndReadingsAreDecodedByTheirOwnOptions) {
  struct Listening : fakes::Captioner {
    std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                               const caption::DecodingOptions& options,
                                                               const Context& context) override {
      (options.do_sample ? sampling : reading) = options;
      return fakes::Captioner::caption(requests, options, context);
    }
    caption::DecodingOptions sampling, reading;
  } captioner;
  fakes::Folder folder;
  fakes::Dataset dataset(2);
  fakes::Generator generator;
  RunOptions options = fakes::options();
  options.sampling.top_p = 0.5;
  options.sampling.max_length = 40;
  options.reading.num_beams = 7;
  options.reading.length_penalty = 2;
  fakes::run(folder, options, dataset, captioner, generator);
  EXPECT_EQ(captioner.sampling.top_p, 0.5);
  EXPECT_EQ(captioner.sampling.repetition_penalty, 1.1);  // the paper's
  EXPECT_FALSE(captioner.sampling.num_beams);
  EXPECT_EQ(captioner.reading.num_beams, 7);
  EXPECT_EQ(captioner.reading.length_penalty, 2);
  EXPECT_EQ(captioner.reading.max_length, 40);  // both give captions of the same form
  EXPECT_FALSE(captioner.reading.top_p);
  options.sampling.num_beams = 4;
  EXPECT_THROW(fakes::run(folder, options, dataset, captioner, generator), UsageError);  // it would do nothing
}

// A resumed run asks for the batches of an undisturbed one, not for what is left of them; where answers cannot be had
// again it asks for what is missing.
TEST(Execute, BatchesAreCutByThePlan) {
  for (const bool honours_seeds : {true, false}) {
    fakes::Folder folder;
    fakes::Dataset dataset(4);
    fakes::Captioner captioner;
    fakes::Generator generator;
    captioner.honours_seeds = generator.honours_seeds = honours_seeds;
    fakes::run(folder, fakes::options(4, 8), dataset, captioner, generator);
    const auto before = fakes::contents(folder);
    std::filesystem::remove(folder.path() / "images/i2t2i/s%2F1-02.png");
    generator.largest_batch = generator.calls = captioner.calls = 0;
    fakes::run(folder, fakes::options(4, 8), dataset, captioner, generator);
    EXPECT_EQ(generator.calls, 1u);
    EXPECT_EQ(captioner.calls, 0u);
    EXPECT_EQ(generator.largest_batch, honours_seeds ? 8u : 1u);
    EXPECT_EQ(fakes::contents(folder), before);
  }
}

// Two runs in one process: one is stopped, the other is not.
TEST(Execute, AStopEndsItsOwnRunOnly) {
  fakes::Folder stopped_folder, other_folder, undisturbed;
  const auto run = [](const std::filesystem::path& folder, const Context& context,
                      const std::function<void()>& at_third) {
    fakes::Dataset dataset(8);
    fakes::Captioner captioner;
    fakes::Generator generator;
    generator.spread = 5;
    generator.delay_us = 200;
    generator.before = [&](const generate::Request& request) {
      if (request.sample == "s/3") at_third();
    };
    fakes::run(folder, fakes::options(), dataset, captioner, generator, context);
  };
  std::stop_source stop;
  auto other = std::async(std::launch::async, [&] { run(other_folder, {}, [] {}); });
  EXPECT_THROW(run(stopped_folder, Context(stop.get_token()), [&] { stop.request_stop(); }), Interrupted);
  other.get();
  run(undisturbed, {}, [] {});
  EXPECT_EQ(fakes::contents(other_folder), fakes::contents(undisturbed));
  EXPECT_LT(Store::open(stopped_folder).count_complete(Direction::kI2T2I), 40);
  run(stopped_folder, {}, [] {});  // nothing process-wide was left behind
  EXPECT_EQ(fakes::contents(stopped_folder), fakes::contents(undisturbed));
}

TEST(Execute, TellsOfCandidatesAndScores) {
  struct Heard : Observer {
    void on_candidate(const CandidateEvent& event) override {
      candidates += !event.text.empty() && !event.image.empty();
    }
    void on_score(const ScoreEvent& event) override { ++scores[event.metric]; }
    int candidates = 0;
    std::map<std::string, int> scores;
  } heard;
  fakes::Folder folder;
  fakes::Dataset dataset(3);
  fakes::Captioner captioner;
  fakes::Generator generator;
  fakes::run(folder, fakes::options(), dataset, captioner, generator, Context({}, nullptr, &heard));
  EXPECT_EQ(heard.candidates, 3 * 2 * 5);
  EXPECT_EQ(heard.scores, (std::map<std::string, int>{{"shade-image", 30}, {"shade-text", 30}}));
}

TEST(Plan, RefusesWhatCannotWork) {
  const fakes::Dataset dataset(3);
  fakes::Dataset silent(1);
  silent.without_text = 0;
  RunOptions options = fakes::options();
  EXPECT_EQ(make_plan(options, dataset).units(), 3 * 2 * 5);
  EXPECT_THROW(make_plan(options, silent), UsageError);
  EXPECT_THROW(make_plan(options, fakes::Dataset(0)), DataError);
  options.directions = {Direction::kI2T2I};
  EXPECT_EQ(make_plan(options, silent).units(), 5);
  options.directions = {Direction::kI2T2I, Direction::kI2T2I};
  EXPECT_THROW(make_plan(options, dataset), UsageError);
  options.directions = {};
  EXPECT_THROW(make_plan(options, dataset), UsageError);
  options = fakes::options(0);
  EXPECT_THROW(make_plan(options, dataset), UsageError);
  EXPECT_THROW(parse_direction("i2t"), UsageError);
}

TEST(Measure, ComparesWithOriginalsReferencesAndRandomPartners) {
  fakes::Folder folder;
  fakes::Dataset dataset(6);
  fakes::Captioner captioner;
  fakes::Generator generator;
  fakes::run(folder, fakes::options(), dataset, captioner, generator);
  const Store store = Store::open(folder);
  std::map<CandidateKey, CandidateRow> rows;
  for (Direction direction : store.directions()) {
    for (const CandidateRow& row : store.candidates(direction)) rows[row.key] = row;
  }
  const auto original = [](const std::string& sample) {
    return fakes::Dataset::original(std::stoll(sample.substr(2)));
  };
  for (const ScoreRow& row : store.scores(Direction::kI2T2I, "shade-image")) {
    const int made = fakes::shade(*rows.at(row.key).text);
    EXPECT_EQ(row.value, std::abs(made - original(row.key.sample)));
  }
  for (const ScoreRow& row : store.scores(Direction::kI2T2I, "shade-text")) {  // the mean over two references
    const int made = fakes::shade(*rows.at(row.key).text), truth = original(row.key.sample);
    EXPECT_EQ(row.value, 0.5 * (std::abs(made - truth) + std::abs(made - truth - 1)));
  }
  for (const ScoreRow& row : store.scores(Direction::kT2I2T, "shade-text")) EXPECT_EQ(row.value, 0);
  std::set<std::string> others;
  for (const FloorRow& row : store.floors(Direction::kT2I2T, "shade-text")) {
    EXPECT_NE(row.other, row.key.sample);
    others.insert(row.other);
    EXPECT_EQ(row.value, std::abs(original(row.key.sample) - original(row.other)));
  }
  EXPECT_EQ(others.size(), 6u);
}

}  // namespace
}  // namespace readback::roundtrip
