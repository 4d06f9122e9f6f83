#include "readback/caption/decoding.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "../device.h"
#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

constexpr int64_t kVocabulary = 40, kEnd = 3;
const std::vector<int64_t> kPrompt = {39, 5, 6};

// Logits that depend on the group's name and all tokens so far, exactly: any mix-up of sequences shows.
class ToyModel final : public StepModel {
 public:
  using Prompts = std::vector<std::vector<int64_t>>;
  explicit ToyModel(const std::vector<int64_t>& names, c10::Device device = test_device())
      : ToyModel(names, Prompts(names.size(), kPrompt), device) {}
  ToyModel(const std::vector<int64_t>& names, const Prompts& prompts, c10::Device device = test_device())
      : names_(names), sequences_(prompts), device_(device) {}

  DecodingStart start(const std::vector<int64_t>& end_tokens = {kEnd}) const {
    return {sequences_, logits(), end_tokens};
  }

  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    ASSERT_EQ(sources.size() % groups.size(), 0u);
    const size_t before = sequences_.size() / names_.size(), after = sources.size() / groups.size();
    std::vector<std::vector<int64_t>> sequences;
    std::vector<int64_t> names;
    for (size_t g = 0; g < groups.size(); ++g) {
      names.push_back(names_.at(static_cast<size_t>(groups[g])));
      for (size_t i = g * after; i < (g + 1) * after; ++i) {
        EXPECT_EQ(sources[i] / static_cast<int64_t>(before), groups[g]) << "a sequence moved to another group";
        sequences.push_back(sequences_.at(static_cast<size_t>(sources[i])));
      }
    }
    names_ = names;
    sequences_ = sequences;
  }

  at::Tensor step(const std::vector<int64_t>& tokens) override {
    EXPECT_EQ(tokens.size(), sequences_.size());
    for (size_t s = 0; s < tokens.size(); ++s) sequences_[s].push_back(tokens[s]);
    rows += tokens.size();
    return logits();
  }

  at::Tensor row(int64_t name, const std::vector<int64_t>& sequence) const {
    uint64_t state = static_cast<uint64_t>(name) + 1;
    for (const int64_t token : sequence)
      state = derive_seed(state, Purpose::kTest, "toy", static_cast<uint64_t>(token));
    at::Tensor values = at::empty({kVocabulary});
    Random(state, Purpose::kTest, "logits").fill_normal({values.data_ptr<float>(), static_cast<size_t>(kVocabulary)});
    values.mul_(1.5);
    values[kEnd] += 1.5;
    return values;
  }

  size_t rows = 0;  // sequences stepped so far

 private:
  at::Tensor logits() const {
    std::vector<at::Tensor> all;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      all.push_back(row(names_[s / (sequences_.size() / names_.size())], sequences_[s]));
    }
    return at::stack(all).to(device_);
  }

  std::vector<int64_t> names_;
  std::vector<std::vector<int64_t>> sequences_;
  c10::Device device_;
};

// Every option has a value.
DecodingOptions complete(const DecodingOptions& options) {
  return with_defaults(options, {.num_beams = 3,
                                 .max_length = 20,
                                 .min_length = 5,
                                 .length_penalty = 1,
                                 .repetition_penalty = 1,
                                 .top_p = 0.9,
                                 .top_k = 0,
                                 .temperature = 1});
}

std::vector<std::vector<Decoded>> run(const std::vector<int64_t>& names, const DecodingOptions& asked,
                                      ToyModel* given = nullptr) {
  const DecodingOptions options = complete(asked);
  ToyModel own(names);
  ToyModel& model = given ? *given : own;
  std::vector<Random> streams;
  for (const int64_t name : names) {
    for (int64_t i = 0; i < options.num_captions; ++i) {
      streams.emplace_back(options.seed, Purpose::kTest, std::to_string(name), static_cast<uint64_t>(i));
    }
  }
  return decode(model, model.start(), options, streams);
}

double log_probability(int64_t name, const std::vector<int64_t>& tokens) {
  double sum = 0;
  for (size_t t = kPrompt.size(); t < tokens.size(); ++t) {
    const std::vector<int64_t> prefix(tokens.begin(), tokens.begin() + static_cast<int64_t>(t));
    sum += at::log_softmax(ToyModel({}).row(name, prefix), 0)[tokens[t]].item<double>();
  }
  return sum;
}

std::map<std::string, DecodingOptions> ways() {
  std::map<std::string, DecodingOptions> all;
  all["greedy"] = {.num_beams = 1};
  all["beams"] = {.num_captions = 3, .num_beams = 4, .repetition_penalty = 1.2};
  all["sampling"] = {.num_captions = 6, .repetition_penalty = 1.1, .do_sample = true, .temperature = 1.2, .seed = 4};
  for (auto& [name, options] : all) options = complete(options);
  return all;
}

void expect_same(const std::vector<Decoded>& actual, const std::vector<Decoded>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].token_ids, expected[i].token_ids);
    EXPECT_NEAR(actual[i].log_probability, expected[i].log_probability, 1e-5);
    EXPECT_NEAR(actual[i].score, expected[i].score, 1e-5);
  }
}

TEST(Decoding, AGroupIsTheSameAloneAndAmongOthersInAnyOrder) {
  for (const auto& [name, options] : ways()) {
    SCOPED_TRACE(name);
    const auto together = run({0, 1, 2, 3, 4, 5, 6, 7}, options);
    const auto reversed = run({7, 6, 5, 4, 3, 2, 1, 0}, options);
    for (int64_t i = 0; i < 8; ++i) {
      expect_same(together[static_cast<size_t>(i)], run({i}, options).front());
      expect_same(reversed[static_cast<size_t>(7 - i)], run({i}, options).front());
    }
  }
}

// Prompts of other lengths: each text ends, is penalised and is forced to go on by its own group's prompt.
TEST(Decoding, AGroupWithItsOwnPromptIsTheSameAloneAndAmongOthers) {
  const ToyModel::Prompts prompts = {{39, 5, 6}, {39},       {39, 7, 8, 9, 10, 11, 12},
                                     {39, 5},    {39, 5, 6}, {39, 30, 31, 32}};
  const std::vector<int64_t> names = {0, 1, 2, 3, 4, 4}, end_tokens = {kEnd, 20};
  for (const auto& [name, way] : ways()) {
    SCOPED_TRACE(name);
    DecodingOptions options = way;
    options.min_length = 6;
    options.max_length = 11;
    options.length_penalty = 2;
    const auto decode_some = [&](size_t first, size_t count) {
      const auto part = [&](const auto& all) {
        return std::vector(all.begin() + static_cast<int64_t>(first),
                           all.begin() + static_cast<int64_t>(first + count));
      };
      ToyModel model(part(names), part(prompts));
      std::vector<Random> streams;
      for (size_t g = first; g < first + count; ++g) {
        for (int64_t i = 0; i < options.num_captions; ++i) {
          streams.emplace_back(options.seed, Purpose::kTest, std::to_string(g), static_cast<uint64_t>(i));
        }
      }
      return decode(model, model.start(end_tokens), options, streams);
    };
    const auto together = decode_some(0, names.size());
    std::set<int64_t> last_tokens;
    for (size_t g = 0; g < names.size(); ++g) {
      expect_same(together[g], decode_some(g, 1).front());
      for (const Decoded& decoded : together[g]) {
        const std::vector<int64_t>& ids = decoded.token_ids;
        ASSERT_TRUE(std::equal(prompts[g].begin(), prompts[g].end(), ids.begin()));
        const auto end = std::find_first_of(ids.begin(), ids.end(), end_tokens.begin(), end_tokens.end());
        EXPECT_TRUE(end == ids.end() - 1 || (end == ids.end() && ids.size() == 11));
        EXPECT_GE(end - ids.begin(), 6);
        last_tokens.insert(ids.back());
      }
    }
    EXPECT_TRUE(last_tokens.contains(kEnd));
  }
}

// Logits that depend on the last two tokens by two tables, as in tools/reference/captions.py.
class TwoTokens final : public StepModel {
 public:
  TwoTokens(at::Tensor tables, std::vector<std::vector<int64_t>> prompts)
      : tables_(std::move(tables)), sequences_(std::move(prompts)) {}
  void select(const std::vector<int64_t>&, const std::vector<int64_t>& sources) override {
    std::vector<std::vector<int64_t>> selected;
    for (const int64_t source : sources) selected.push_back(sequences_.at(static_cast<size_t>(source)));
    sequences_ = std::move(selected);
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override {
    for (size_t s = 0; s < tokens.size(); ++s) sequences_[s].push_back(tokens[s]);
    return logits();
  }
  at::Tensor logits() const {
    std::vector<at::Tensor> rows;
    for (const std::vector<int64_t>& ids : sequences_) {
      rows.push_back(tables_[0][ids.back()] + tables_[1][ids.size() > 1 ? ids[ids.size() - 2] : ids[0]]);
    }
    return at::stack(rows);
  }

 private:
  at::Tensor tables_;
  std::vector<std::vector<int64_t>> sequences_;
};

TEST(Decoding, PromptsAndSetsOfEndTokensEqualTransformers) {
  std::map<std::string, std::string> metadata;
  const checkpoint::TensorMap golden = checkpoint::load_safetensors(
      tests::source_dir().string() + "/tests/goldens/caption/decoding.safetensors", &metadata);
  const auto prompts = nlohmann::json::parse(metadata.at("prompts")).get<std::vector<std::vector<int64_t>>>();
  const nlohmann::json cases = nlohmann::json::parse(metadata.at("cases"));
  ASSERT_GE(cases.size(), 18u);
  for (const nlohmann::json& expected : cases) {
    SCOPED_TRACE(expected["options"].dump() + expected["end_tokens"].dump());
    const nlohmann::json& given = expected["options"];
    const DecodingOptions options{.num_captions = given.value("num_return_sequences", 1),
                                  .num_beams = given["num_beams"],
                                  .max_length = given["max_length"],
                                  .min_length = given["min_length"],
                                  .length_penalty = given.value("length_penalty", 1.0),
                                  .repetition_penalty = given.value("repetition_penalty", 1.0)};
    TwoTokens model(golden.at("tables"), prompts);
    const auto decoded = decode(model, {prompts, model.logits(), expected["end_tokens"]}, options, {});
    ASSERT_EQ(decoded.size(), prompts.size());
    for (size_t g = 0; g < prompts.size(); ++g) {
      for (size_t i = 0; i < decoded[g].size(); ++i) {
        const nlohmann::json& text = expected["texts"][g].at(i);
        EXPECT_EQ(decoded[g][i].token_ids, text["token_ids"].get<std::vector<int64_t>>()) << g;
        if (options.num_beams > 1) {
          EXPECT_NEAR(decoded[g][i].score, text["score"].get<double>(), 1e-4);
        }
      }
    }
  }
}

TEST(Decoding, WithoutEndTokensGoesOnToTheLimit) {
  for (const auto& [name, options] : ways()) {
    ToyModel model({0, 1});
    const std::vector<Random> streams(2 * static_cast<size_t>(options.num_captions), Random(0, Purpose::kTest));
    for (const auto& group : decode(model, model.start({}), options, streams)) {
      for (const Decoded& decoded : group) EXPECT_EQ(std::ssize(decoded.token_ids), options.max_length) << name;
    }
  }
}

TEST(Decoding, RefusesPromptsAndEndTokensThatDoNotFit) {
  const auto refused = [](const std::function<void(DecodingStart&)>& change) {
    ToyModel model({0, 1});
    DecodingStart start = model.start();
    change(start);
    try {
      decode(model, start, complete({}), {});
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused([](DecodingStart&) {}), "accepted");
  EXPECT_NE(refused([](DecodingStart& start) { start.prompts.pop_back(); }).find("prompts"), std::string::npos);
  EXPECT_NE(refused([](DecodingStart& start) { start.prompts[1].clear(); }).find("begin token"), std::string::npos);
  EXPECT_NE(refused([](DecodingStart& start) { start.prompts[1] = {40}; }).find("got 40"), std::string::npos);
  EXPECT_NE(refused([](DecodingStart& start) { start.end_tokens = {-1}; }).find("end_tokens"), std::string::npos);
  EXPECT_NE(refused([](DecodingStart& start) { start.prompts[1].resize(20, 5); }).find("max_length"),
            std::string::npos);
}

TEST(Decoding, LogProbabilitiesAreTheModelsOwn) {
  for (const auto& [name, options] : ways()) {
    SCOPED_TRACE(name);
    const auto result = run({0, 1}, options);
    for (int64_t group : {0, 1}) {
      for (const Decoded& decoded : result[static_cast<size_t>(group)]) {
        EXPECT_NEAR(decoded.log_probability, log_probability(group, decoded.token_ids), 1e-4);
      }
    }
  }
}

TEST(Decoding, CaptionsEndAtTheEndTokenOrTheLimit) {
  for (auto [name, options] : ways()) {
    SCOPED_TRACE(name);
    options.min_length = 6;
    options.max_length = 11;
    std::set<size_t> lengths;
    for (const auto& group : run({0, 1, 2, 3, 4, 5, 6, 7}, options)) {
      for (const Decoded& decoded : group) {
        const auto& ids = decoded.token_ids;
        EXPECT_TRUE(std::equal(kPrompt.begin(), kPrompt.end(), ids.begin()));
        const auto end = std::find(ids.begin(), ids.end(), kEnd);
        EXPECT_TRUE(end == ids.end() - 1 || (end == ids.end() && ids.size() == 11));
        EXPECT_GE(end - ids.begin(), 6);
        lengths.insert(ids.size());
      }
    }
    EXPECT_GT(lengths.size(), 2u);
  }
}

TEST(BeamSearch, WithManyBeamsFindsTheBestOfAllShortSequences) {
  DecodingOptions options{.num_captions = 2, .num_beams = 20, .max_length = 5, .min_length = 0, .length_penalty = 0};
  const auto found = run({9}, options).front();
  std::vector<double> all = {log_probability(9, {39, 5, 6, kEnd})};
  for (int64_t a = 0; a < kVocabulary; ++a) {
    for (int64_t b = 0; a != kEnd && b < kVocabulary; ++b) all.push_back(log_probability(9, {39, 5, 6, a, b}));
  }
  std::sort(all.rbegin(), all.rend());
  EXPECT_NEAR(found[0].log_probability, all[0], 1e-4);
  EXPECT_NEAR(found[1].log_probability, all[1], 1e-4);
  EXPECT_FLOAT_EQ(static_cast<float>(found[0].score), static_cast<float>(found[0].log_probability));
}

TEST(BeamSearch, RanksByScore) {
  DecodingOptions options{.num_captions = 5, .num_beams = 5, .length_penalty = 2};
  for (const auto& group : run({0, 1, 2, 3}, options)) {
    for (size_t i = 1; i < group.size(); ++i) EXPECT_GE(group[i - 1].score, group[i].score);
  }
}

TEST(Sampling, ACandidateDependsOnNeitherTheirNumberNorTheFirstIndex) {
  DecodingOptions options{.num_captions = 10, .do_sample = true, .temperature = 1.5, .seed = 11};
  const auto ten = run({2}, options).front();
  options.num_captions = 3;
  const auto three = run({2}, options).front();
  expect_same(three, {ten[0], ten[1], ten[2]});
  ToyModel model({2});
  options.num_captions = 1;
  const Random eighth(options.seed, Purpose::kTest, "2", 7);
  expect_same(decode(model, model.start(), complete(options), {&eighth, 1}).front(), {ten[7]});
  std::set<std::vector<int64_t>> different;
  for (const Decoded& decoded : ten) different.insert(decoded.token_ids);
  EXPECT_GT(different.size(), 5u);
  options.seed = 12;
  EXPECT_NE(run({2}, options).front()[0].token_ids, ten[0].token_ids);
}

TEST(Sampling, EqualCandidatesShareTheModelsWork) {
  DecodingOptions options{.num_captions = 10, .do_sample = true, .top_k = 1};
  ToyModel model({0, 1});
  const auto result = run({0, 1}, options, &model);
  size_t longest = 0;
  for (const auto& group : result) {
    for (const Decoded& decoded : group) EXPECT_EQ(decoded.token_ids, group[0].token_ids);
    longest = std::max(longest, group[0].token_ids.size());
  }
  EXPECT_LE(model.rows, 2 * (longest - kPrompt.size()));
  options.num_beams = 1;
  options.num_captions = 1;
  options.do_sample = false;
  EXPECT_EQ(run({0}, options).front()[0].token_ids, result[0][0].token_ids);
}

// On a device tensor operations filter what loops do on the CPU.
TEST(Decoding, ChoosesTheSameTokensOnEveryDevice) {
  auto all = ways();
  all["sampling of all tokens"] = complete({.num_captions = 6, .do_sample = true, .top_p = 1.0, .seed = 5});
  all["sampling of few tokens"] = complete({.num_captions = 6, .do_sample = true, .top_p = 0.7, .top_k = 5, .seed = 6});
  for (const auto& [name, options] : all) {
    SCOPED_TRACE(name);
    ToyModel here({0, 1, 2}, at::kCPU), there({0, 1, 2}, far_device());
    const auto on_cpu = run({0, 1, 2}, options, &here), on_device = run({0, 1, 2}, options, &there);
    for (size_t g = 0; g < 3; ++g) expect_same(on_device[g], on_cpu[g]);
  }
}

TEST(Sampling, FollowsTheFilteredDistribution) {
  DecodingOptions options{.num_captions = 20000, .max_length = 4, .min_length = 0, .do_sample = true, .top_p = 0.8};
  std::map<int64_t, int64_t> counts;
  const auto drawn = run({5}, options);
  for (const Decoded& decoded : drawn[0]) counts[decoded.token_ids.back()]++;
  const at::Tensor p = at::softmax(ToyModel({}).row(5, kPrompt), 0);
  double kept = 0, chi_square = 0;
  for (const auto& [token, count] : counts) kept += p[token].item<double>();
  EXPECT_GE(kept, 0.8);
  EXPECT_LT(kept - p.min().item<double>(), 0.95);
  for (const auto& [token, count] : counts) {
    const double expected = 20000 * p[token].item<double>() / kept;
    chi_square += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
  }
  const auto freedom = static_cast<double>(counts.size()) - 1;
  EXPECT_LT(chi_square, freedom + 4 * std::sqrt(2 * freedom));
}

TEST(Decoding, RefusesOptionsThatMakeNoSense) {
  const auto refused = [](DecodingOptions options) {
    try {
      check(complete(options), 3);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused({}), "accepted");
  EXPECT_EQ(refused({.max_length = 3, .min_length = 0}),
            "max_length: expected more than the prompt's 3 tokens, which it counts, got 3");
  EXPECT_NE(refused({.max_length = 10, .min_length = 11}).find("min_length"), std::string::npos);
  EXPECT_NE(refused({.num_captions = 4, .num_beams = 3}).find("num_captions"), std::string::npos);
  EXPECT_NE(refused({.num_captions = 0}).find("num_captions"), std::string::npos);
  EXPECT_NE(refused({.num_beams = 0}).find("num_"), std::string::npos);
  EXPECT_NE(refused({.repetition_penalty = 0}).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(refused({.do_sample = true, .temperature = 0}).find("temperature"), std::string::npos);
  EXPECT_NE(refused({.do_sample = true, .top_p = 1.1}).find("top_p"), std::string::npos);
  EXPECT_NE(refused({.do_sample = true, .top_k = -1}).find("top_k"), std::string::npos);
  EXPECT_EQ(refused({.num_captions = 10, .num_beams = 3, .do_sample = true}), "accepted");
  EXPECT_THROW(run({0}, {.num_beams = 21}), UsageError);  // of a vocabulary of 40
}

TEST(Decoding, RefusesLogitsThatAreNotFinite) {
  for (const auto& [name, options] : ways()) {
    ToyModel model({0});
    DecodingStart start = model.start();
    start.logits = at::full_like(start.logits, std::numeric_limits<float>::quiet_NaN());
    const std::vector<Random> streams(static_cast<size_t>(options.num_captions), Random(0, Purpose::kTest, ""));
    EXPECT_THROW(decode(model, start, options, streams), DataError) << name;
  }
}

}  // namespace
}  // namespace readback::caption
