// A message that loses a word a round: what is left of it is known.
#include "readback/workflow/telephone.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "forgetful.h"
#include "readback/base/files.h"

namespace readback::workflow {
namespace {

namespace fs = std::filesystem;
using namespace roundtrip;
using forgetful::words;
using nlohmann::json;

TelephoneOptions options(int64_t rounds = 6) {
  TelephoneOptions result;
  result.rounds = rounds;
  result.run.dataset = "words";
  result.run.captioner = result.run.generator = "forgetful";
  result.run.seed = 5;
  result.run.metrics = {"psnr", "bleu-1"};
  return result;
}

struct Game {
  forgetful::Dataset dataset{4};
  forgetful::Captioner captioner;
  forgetful::Generator generator;
  TelephoneResult play(const TelephoneOptions& options, const fs::path& folder, const Context& context = {}) {
    return telephone(options, captioner, generator, folder, context, &dataset);
  }
};

json played(const fs::path& folder) { return read_json(folder / "telephone.json"); }

const json& metric_of(const json& chain, const std::string& name) {
  for (const json& metric : chain.at("metrics")) {
    if (metric.at("metric") == name) return metric;
  }
  throw std::out_of_range(name);
}
double mean_of(const json& metric, size_t round, const char* what = "value") {
  return metric.at("rounds").at(round).at(what).at("mean").get<double>();
}

// Of pictures of 4 × 4 pixels that differ by `grey` in all numbers but one.
double psnr(int grey) { return 10 * std::log10(255.0 * 255 / (grey * grey * 47.0 / 48)); }

TEST(Telephone, AWordIsLostEachRoundFromPictures) {
  const roundtrip::fakes::Folder folder;
  Game game;
  const TelephoneResult result = game.play(options(), folder);
  EXPECT_EQ(result.samples, 4);
  EXPECT_TRUE(result.failures.empty());
  const json chain = played(folder).at("chains").at(0);
  EXPECT_EQ(chain.at("direction"), "i2t2i");
  EXPECT_EQ(chain.at("begun"), json(std::vector<int64_t>(6, 4)));
  // The first caption has six words of seven, the sixth one has one.
  const json& survive = metric_of(chain, "words");
  for (size_t round = 0; round < 6; ++round) {
    EXPECT_DOUBLE_EQ(mean_of(survive, round), (6.0 - static_cast<double>(round)) / 6);
    EXPECT_DOUBLE_EQ(mean_of(survive, round, "floor"), 0);  // other samples have other words
    EXPECT_NEAR(mean_of(metric_of(chain, "psnr"), round), psnr(10 * (static_cast<int>(round) + 1)), 1e-9);
    EXPECT_NEAR(mean_of(metric_of(chain, "psnr"), round, "step"), psnr(10), 1e-9);
  }
  EXPECT_DOUBLE_EQ(survive.at("half_life").at("rounds").get<double>(), 3);
  EXPECT_DOUBLE_EQ(survive.at("rounds").at(3).at("left").get<double>(), 0.5);
  // Against the references, of seven words; the brevity penalty does the rest.
  EXPECT_NEAR(mean_of(metric_of(chain, "bleu-1"), 1), std::exp(1 - 7.0 / 5), 1e-6);
  const json& lives = chain.at("words");
  ASSERT_EQ(lives.size(), 4u * 6);
  EXPECT_EQ(lives.front(), (json{{"word", "s0w0"}, {"samples", 1}, {"mean_rounds", 6.0}, {"alive", 1.0}}));
  EXPECT_EQ(lives.back(), (json{{"word", "s3w5"}, {"samples", 1}, {"mean_rounds", 1.0}, {"alive", 0.0}}));
}

TEST(Telephone, AWordIsLostEachRoundFromTexts) {
  const roundtrip::fakes::Folder folder;
  Game game;
  TelephoneOptions of_texts = options();
  of_texts.run.directions = {Direction::kT2I2T};
  game.dataset.pictures = false;
  game.play(of_texts, folder);
  const json chain = played(folder).at("chains").at(0);
  const json& survive = metric_of(chain, "words");
  for (size_t round = 0; round < 6; ++round) {
    EXPECT_DOUBLE_EQ(mean_of(survive, round), (6.0 - static_cast<double>(round)) / 7);
    if (round == 0) continue;
    // Without a picture to begin with, the first that was drawn is the start.
    EXPECT_NEAR(mean_of(metric_of(chain, "psnr"), round), psnr(10 * static_cast<int>(round)), 1e-9);
    EXPECT_NEAR(mean_of(metric_of(chain, "psnr"), round, "step"), psnr(10), 1e-9);
  }
  EXPECT_DOUBLE_EQ(survive.at("half_life").at("rounds").get<double>(), 3);
  EXPECT_EQ(chain.at("words").front().at("word"), "s0w0");
  EXPECT_EQ(chain.at("words").back().at("mean_rounds"), 0);  // the seventh word
}

TEST(Telephone, EachRoundIsARunThatBeginsWithTheOneBefore) {
  const roundtrip::fakes::Folder folder;
  Game game;
  game.play(options(3), folder);
  EXPECT_EQ(std::set(game.generator.seeds.begin(), game.generator.seeds.end()), (std::set<uint64_t>{5, 6, 7}));
  const Store second = Store::open(folder.path() / "i2t2i/round-02"),
              third = Store::open(folder.path() / "i2t2i/round-03");
  for (const SampleRow& sample : third.samples()) {
    const CandidateRow before = second.candidates(Direction::kI2T2I, sample.id).at(0);
    EXPECT_EQ(sample.references, std::vector{*before.text});
    EXPECT_EQ(third.load_image(sample.image), second.load_image(*before.image));
  }
}

// Everything that a game leaves behind but times.
std::vector<std::string> left_in(const fs::path& folder) {
  std::vector<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder).string();
    if (entry.path().filename() == "run.sqlite") {
      for (const std::string& line : fakes::contents(entry.path().parent_path())) lines.push_back(name + " " + line);
    } else if (entry.path().extension() == ".json" && entry.path().filename() != "run.json") {
      lines.push_back(name + " " + read_file(entry.path()));
    }
  }
  std::ranges::sort(lines);
  return lines;
}

// In a process of its own that is killed before the `at`th text or picture; true where it came to its end first.
bool play_and_kill(const fs::path& folder, int at) {
  const pid_t child = ::fork();
  if (child == 0) {
    int count = 0;
    const auto tick = [&](const auto&) {
      if (count++ == at) ::kill(::getpid(), SIGKILL);
    };
    Game game;
    game.captioner.before = tick;
    game.generator.before = tick;
    TelephoneOptions small = options(3);
    small.run.batch_size = 2;
    game.play(small, folder);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Telephone, KillsInAnyRoundLoseNothing) {
  const roundtrip::fakes::Folder undisturbed;
  ASSERT_TRUE(play_and_kill(undisturbed, -1));
  const auto expected = left_in(undisturbed);
  ASSERT_FALSE(expected.empty());
  int kills = 0;
  for (const int step : {3, 7}) {
    const roundtrip::fakes::Folder folder;
    while (!play_and_kill(folder, step)) ++kills;
    EXPECT_EQ(left_in(folder), expected) << step;
  }
  EXPECT_GT(kills, 6);  // 2 directions, 3 rounds, 4 samples, a text and a picture each
}

TEST(Telephone, MoreRoundsGoOnAndOtherOptionsAreRefused) {
  const roundtrip::fakes::Folder at_once, in_two;
  Game game;
  game.play(options(4), at_once);
  game.play(options(2), in_two);
  const size_t before = game.generator.seeds.size();
  game.play(options(4), in_two);
  EXPECT_EQ(game.generator.seeds.size() - before, 2u * 2 * 4);  // directions, rounds, samples
  EXPECT_EQ(left_in(in_two), left_in(at_once));
  TelephoneOptions other = options(4);
  other.run.seed = 6;
  EXPECT_THROW(game.play(other, in_two), StoreError);
}

TEST(Telephone, AFailedSampleIsOutOfLaterRounds) {
  const roundtrip::fakes::Folder folder;
  Game game;
  TelephoneOptions pictures = options(3);
  pictures.run.directions = {Direction::kI2T2I};
  game.captioner.before = [](const caption::Request& request) {
    if (request.sample == "a1" && forgetful::count_of(request.image) == 6) throw DataError("nothing to say");
  };
  const TelephoneResult result = game.play(pictures, folder);
  ASSERT_EQ(result.failures.size(), 1u);
  EXPECT_EQ(result.failures[0].sample, "a1");
  EXPECT_EQ(result.failures[0].message, "round 2: nothing to say");
  const auto counts = [&] {
    const json chain = played(folder).at("chains").at(0);
    EXPECT_EQ(chain.at("samples").size(), 3u);
    return json{chain.at("begun"), chain.at("came_back")};
  };
  EXPECT_EQ(counts(), json::parse("[[4, 4, 3], [4, 3, 3]]"));
  // It comes back when it is tried again, too late for the third round.
  game.captioner.before = [](const caption::Request&) {};
  EXPECT_TRUE(game.play(pictures, folder).failures.empty());
  EXPECT_EQ(counts(), json::parse("[[4, 4, 3], [4, 4, 3]]"));
}

TEST(Telephone, EndsWhereNothingCameBack) {
  const roundtrip::fakes::Folder folder;
  Game game;
  game.captioner.before = [](const caption::Request&) { throw DataError("nothing to say"); };
  try {
    game.play(options(2), folder);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("i2t2i/round-01"), std::string::npos) << error.what();
  }
}

TEST(Telephone, RefusesWhatARoundCannotHave) {
  const roundtrip::fakes::Folder folder;
  Game game;
  TelephoneOptions two = options();
  two.run.num_candidates = 2;
  EXPECT_THROW(game.play(two, folder), UsageError);
  TelephoneOptions ceiling = options();
  ceiling.run.ceiling = "emoji-scenes/dalle";
  EXPECT_THROW(game.play(ceiling, folder), UsageError);
  game.dataset.texts = false;
  EXPECT_THROW(game.play(options(), folder), UsageError);  // both directions
  EXPECT_TRUE(fs::is_empty(folder.path()));
  game.dataset.texts = true;
  game.play(options(1), folder);
  EXPECT_THROW(game.play(options(1), folder.path() / "i2t2i/round-01"), StoreError);
}

}  // namespace
}  // namespace readback::workflow
