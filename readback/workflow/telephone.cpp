#include "readback/workflow/telephone.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/data/dataset.h"
#include "readback/data/digest.h"
#include "readback/roundtrip/plan.h"
#include "readback/roundtrip/shared_models.h"
#include "readback/score/registry.h"
#include "readback/workflow/open_models.h"
#include "readback/workflow/run.h"
#include "readback/workflow/telephone_drift.h"
#include "readback/workflow/telephone_summary.h"

namespace readback::workflow {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using roundtrip::CandidateRow;
using roundtrip::Direction;
using roundtrip::RunOptions;
using roundtrip::SampleRow;
using roundtrip::Store;

namespace {

// What one round made, as the next one's data set: each picture with its text. Truths and domains stay.
class PassedOn final : public data::Dataset {
 public:
  PassedOn(Store before, Direction direction, int64_t round, const data::Dataset& start,
           const std::set<std::string>& wanted)
      : before_(std::move(before)), round_(round), start_(start.description()) {
    std::map<std::string, std::string> domains, truths;
    for (int64_t i = 0; i < start.size(); ++i) {
      const data::Sample sample = start.sample(i);
      domains[sample.id] = sample.domain;
      truths[sample.id] = sample.truth;
    }
    for (CandidateRow& row : came_back(before_, direction)) {
      const std::string& id = row.key.sample;
      if (!wanted.contains(id)) continue;
      // No metric can compare with no words, but a generator can draw them.
      const bool silent = row.text->find_first_not_of(" \t\n") == std::string::npos;
      std::vector<std::string> texts;
      if (!silent || direction == Direction::kT2I2T) texts.push_back(*row.text);
      samples_.push_back({id, *row.image, std::move(texts), truths[id], domains[id]});
    }
  }
  int64_t size() const override { return std::ssize(samples_); }
  data::Sample sample(int64_t index) const override { return samples_.at(static_cast<size_t>(index)); }
  image::Image load_image(int64_t index) const override { return before_.load_image(sample(index).image_name); }
  std::string description() const override {
    return fmt::format("what came back from round {} of {}", round_ - 1, start_);
  }
  std::string digest() const override { return data::digest_of(*this, fmt::format("telephone round {}", round_)); }

 private:
  Store before_;
  int64_t round_;
  std::string start_;
  std::vector<data::Sample> samples_;
};

// Errors: UsageError.
TelephoneOptions checked(TelephoneOptions options) {
  check_options(options);
  if (options.run.num_candidates != 1) {
    throw UsageError(
        describe("num_candidates", "1: a message is passed on once", std::to_string(options.run.num_candidates)));
  }
  if (!options.run.ceiling.empty()) {
    throw UsageError(describe("ceiling", "none: rounds have no ceiling", options.run.ceiling,
                              "Ask for it in a run over the data set"));
  }
  if (!options.run.sampling.do_sample) {
    options.run.sampling = with_defaults(options.run.sampling, roundtrip::read_back_decoding());
  }
  return options;
}

// What a run would find, before models are opened. Errors: UsageError, DataError.
void expect_playable(const TelephoneOptions& options, const data::Dataset& dataset) {
  roundtrip::make_plan(options.run, dataset);
  for (const std::string& metric : options.run.metrics) score::find_metric(metric);
}

class Telephone {
 public:
  Telephone(const TelephoneOptions& options, caption::Captioner& captioner, generate::Generator& generator,
            const fs::path& folder, const Context& context, const data::Dataset& dataset, const std::string& command)
      : options_(options),
        captioner_(captioner),
        generator_(generator),
        folder_(folder),
        context_(context),
        dataset_(dataset),
        command_(command) {}

  TelephoneResult play() {
    if (fs::exists(folder_ / "run.json")) {
      throw StoreError(
          describe(folder_.string(), "a folder for a game of telephone", "a run", "Choose another folder"));
    }
    fs::create_directories(folder_);
    const FolderLock lock(folder_ / "telephone.lock");
    result_ = {.folder = folder_, .samples = dataset_.size(), .failures = {}, .notes = {}};
    ordered_json chains = ordered_json::array();
    for (const Direction direction : options_.run.directions) {
      pass_on(direction);
      chains.push_back(to_json(summary(direction)));
    }
    const ordered_json telephone = {{"format", 1},
                                    {"dataset", dataset_.description()},
                                    {"captioner", captioner_.description()},
                                    {"generator", generator_.description()},
                                    {"seed", options_.run.seed},
                                    {"rounds", options_.rounds},
                                    {"command", command_},
                                    {"chains", chains}};
    write_file(folder_ / "telephone.json",
               telephone.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    return std::move(result_);
  }

 private:
  static std::string relative(Direction direction, int64_t round) {
    return fmt::format("{}/round-{:02}", roundtrip::name(direction), round);
  }
  fs::path round_folder(Direction direction, int64_t round) const { return folder_ / relative(direction, round); }

  void pass_on(Direction direction) {
    for (int64_t round = 1; round <= options_.rounds; ++round) {
      RunOptions options = options_.run;
      options.directions = {direction};
      options.seed += static_cast<uint64_t>(round - 1);
      if (round > 1) options.metrics = metrics_;  // not what the made-up references would allow
      std::unique_ptr<data::Dataset> passed_on;
      if (round > 1) passed_on = begin_with(direction, round);
      const data::Dataset& dataset = passed_on ? *passed_on : dataset_;
      context_.progress().note(fmt::format("{}, round {} of {}: {} samples", roundtrip::name(direction), round,
                                           options_.rounds, dataset.size()));
      const RunResult run = workflow::run(options, captioner_, generator_, round_folder(direction, round), context_,
                                          {.command = command_, .dataset = &dataset});
      if (round == 1) metrics_ = run.metrics;
      for (roundtrip::ErrorRow failure : run.failures) {
        failure.message = fmt::format("round {}: {}", round, failure.message);
        result_.failures.push_back(std::move(failure));
      }
      for (const std::string& note : run.notes) {
        if (std::ranges::find(result_.notes, note) == result_.notes.end()) result_.notes.push_back(note);
      }
    }
  }

  // The data set of a later round. Which samples it has is decided once: one that failed before and comes back when
  // its round is run again is too late.
  std::unique_ptr<data::Dataset> begin_with(Direction direction, int64_t round) const {
    const fs::path before = round_folder(direction, round - 1),
                   file = round_folder(direction, round).string() + ".json";
    if (!fs::exists(file)) {
      std::vector<std::string> ids;
      for (const CandidateRow& row : came_back(Store::open(before), direction)) ids.push_back(row.key.sample);
      if (ids.empty()) {
        throw DataError(describe(before.string(), "samples that came back from the round", "none",
                                 "Its errors say why; the same command tries again"));
      }
      write_file(
          file, nlohmann::json{{"samples", ids}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    }
    return std::make_unique<PassedOn>(Store::open(before), direction, round, dataset_, samples_in(file));
  }

  static std::set<std::string> samples_in(const fs::path& file) try {
    return read_json(file).at("samples").get<std::set<std::string>>();
  } catch (const nlohmann::json::exception& error) {
    throw StoreError(describe(file.string(), "the samples that a round began with", error.what()));
  }

  std::vector<std::unique_ptr<score::Metric>> open_metrics(Direction direction, const Store& first) const {
    const Machine machine = open_machine(options_.run.machine);
    score::MetricContext checkpoints = score::open_checkpoints(
        options_.run.checkpoints, {machine.device, machine.dtype}, score::EmbeddingCache::Originals::kOneByOne);
    const auto unowned = [](auto*) {};
    if (!checkpoints.judge_captioner.given()) {
      checkpoints.judge_captioner = std::shared_ptr<caption::Captioner>(&captioner_, unowned);
    }
    if (!checkpoints.judge_generator.given()) {
      checkpoints.judge_generator = std::shared_ptr<generate::Generator>(&generator_, unowned);
    }
    checkpoints.corpus = DriftMeter::corpus(direction, first);
    std::vector<std::unique_ptr<score::Metric>> metrics;
    for (const std::string& name : metrics_) metrics.push_back(score::make_metric(name, checkpoints));
    return metrics;
  }

  ChainSummary summary(Direction direction) {
    std::vector<Store> rounds;
    for (int64_t round = 1; round <= options_.rounds; ++round) {
      rounds.push_back(Store::open(round_folder(direction, round)));
    }
    ChainSummary chain{.direction = direction, .seed = options_.run.seed};
    std::vector<std::map<std::string, std::string>> texts(rounds.size());
    for (size_t round = 0; round < rounds.size(); ++round) {
      chain.folders.push_back(relative(direction, static_cast<int64_t>(round) + 1));
      chain.begun.push_back(std::ssize(rounds[round].samples()));
      for (CandidateRow& row : came_back(rounds[round], direction)) texts[round][row.key.sample] = *row.text;
      chain.came_back.push_back(std::ssize(texts[round]));
    }
    chain.texts.resize(rounds.size());
    for (const SampleRow& sample : rounds.front().samples()) {
      if (!std::ranges::all_of(texts, [&](const auto& round) { return round.contains(sample.id); })) continue;
      chain.samples.push_back(sample.id);
      chain.first.push_back(direction == Direction::kI2T2I ? texts.front().at(sample.id) : sample.prompt());
      for (size_t round = 0; round < rounds.size(); ++round) chain.texts[round].push_back(texts[round].at(sample.id));
    }
    measure(direction, rounds, chain);
    return chain;
  }

  void measure(Direction direction, const std::vector<Store>& rounds, ChainSummary& chain) {
    const auto metrics = open_metrics(direction, rounds.front());
    DriftMeter meter(direction, rounds.front(), metrics, context_);
    for (const auto& metric : metrics) chain.metrics.push_back({metric->info(), {}, {}, {}});
    context_.progress().begin(fmt::format("{} against the start", roundtrip::name(direction)), std::ssize(rounds));
    for (size_t round = 0; round < rounds.size(); ++round) {
      const fs::path file = folder_ / roundtrip::name(direction) / fmt::format("drift-{:02}.json", round + 1);
      const StartValues values = meter.measure(rounds[round], file);
      for (ChainSummary::Metric& metric : chain.metrics) {
        std::map<std::string, double> steps;
        for (const roundtrip::ScoreRow& row : rounds[round].scores(direction, metric.info.name)) {
          if (row.value) steps[row.key.sample] = *row.value;
        }
        auto& of_values = metric.values.emplace_back();
        auto& of_floors = metric.floors.emplace_back();
        auto& of_steps = metric.steps.emplace_back();
        constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
        for (const std::string& sample : chain.samples) {
          const StartValue& value = values.at(metric.info.name).at(sample);
          of_values.push_back(value.value.value_or(kNone));
          of_floors.push_back(value.floor.value_or(kNone));
          of_steps.push_back(steps.contains(sample) ? steps.at(sample) : kNone);
        }
      }
      context_.progress().advance(1, fmt::format("round {}", round + 1));
    }
    context_.progress().end();
  }

  const TelephoneOptions& options_;
  caption::Captioner& captioner_;
  generate::Generator& generator_;
  fs::path folder_;
  const Context& context_;
  const data::Dataset& dataset_;
  std::string command_;
  std::vector<std::string> metrics_;  // of the latest direction's first round
  TelephoneResult result_;
};

}  // namespace

TelephoneResult telephone(const TelephoneOptions& asked, const fs::path& folder, const Context& context,
                          const Ranks& ranks, const std::string& command) {
  TelephoneOptions options = checked(asked);
  const Machine machine = open_machine(options.run.machine, ranks.local_rank());
  const auto dataset = data::open_dataset(options.run.dataset, options.run.dataset_options, context);
  expect_playable(options, *dataset);
  const OpenModels models(options.run, machine, context);
  if (!ranks.is_root()) {
    roundtrip::serve_models(ranks, models.captioner(), models.generator(), context);
    return {};
  }
  roundtrip::SharedModels shared(ranks, models.captioner(), models.generator());
  options.run.batch_size *= ranks.size();
  return Telephone(options, shared.captioner(), shared.generator(), folder, context, *dataset, command).play();
}

TelephoneResult telephone(const TelephoneOptions& asked, caption::Captioner& captioner, generate::Generator& generator,
                          const fs::path& folder, const Context& context, const data::Dataset* dataset,
                          const std::string& command) {
  const TelephoneOptions options = checked(asked);
  std::unique_ptr<data::Dataset> opened;
  if (dataset == nullptr) {
    opened = data::open_dataset(options.run.dataset, options.run.dataset_options, context);
    dataset = opened.get();
  }
  expect_playable(options, *dataset);
  return Telephone(options, captioner, generator, folder, context, *dataset, command).play();
}

}  // namespace readback::workflow
