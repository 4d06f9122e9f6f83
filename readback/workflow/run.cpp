#include "readback/workflow/run.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/options_json.h"
#include "readback/base/stopwatch.h"
#include "readback/caption/shots.h"
#include "readback/checkpoint/repository.h"
#include "readback/data/dataset.h"
#include "readback/generate/open.h"
#include "readback/roundtrip/ceiling.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/plan.h"
#include "readback/roundtrip/set_curves.h"
#include "readback/roundtrip/shared_models.h"
#include "readback/score/registry.h"
#include "readback/workflow/open_models.h"

namespace readback::workflow {

using nlohmann::json;
using roundtrip::RunOptions;
using roundtrip::Store;

namespace {

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

// What is to be measured, checked before anything is made. Errors: UsageError.
std::vector<std::string> metric_names(const RunOptions& options, const roundtrip::Plan& plan) {
  bool has_references = false, has_truth = false;
  for (const data::Sample& sample : plan.samples) {
    has_references = has_references || !sample.references.empty();
    has_truth = has_truth || !sample.truth.empty();
  }
  std::set<std::string> given = score::given(options.checkpoints);
  given.insert({"judge_captioner", "judge_generator"});  // the run's own, where no other is named
  if (options.metrics.empty()) return score::default_metrics(has_references, has_truth, given);
  for (const std::string& name : options.metrics) {
    const std::string& option = score::find_metric(name).option;
    if (!option.empty() && !given.contains(option)) {
      throw UsageError(describe(name, "a checkpoint to measure with", "none", "Give one with the option " + option));
    }
  }
  return options.metrics;
}

// Errors: UsageError where a metric asks one of the run's own models what it cannot tell.
void expect_judges(const std::vector<std::string>& metrics, const score::MetricCheckpoints& checkpoints,
                   const caption::Captioner& captioner, const generate::Generator& generator) {
  for (const std::string& metric : metrics) {
    const std::string& option = score::find_metric(metric).option;
    const bool of_captioner = option == "judge_captioner" && checkpoints.judge_captioner.empty();
    const bool of_generator = option == "judge_generator" && checkpoints.judge_generator.empty();
    const caption::Capabilities can = captioner.capabilities();
    if ((of_captioner && !(metric == "vqascore" ? can.answers : can.text_probabilities)) ||
        (of_generator && !generator.capabilities().denoising_errors)) {
      throw UsageError(describe(metric, "a model that can tell",
                                of_captioner ? captioner.description() : generator.description(),
                                "Name one that can with the option " + option));
    }
  }
}

// Options and requests that a backend cannot honour, in words for people.
std::vector<std::string> notes_on(const caption::Captioner& captioner, const generate::Generator& generator) {
  std::vector<std::string> notes;
  if (!captioner.capabilities().honours_seeds) {
    notes.push_back("The captioner honours no seeds: its captions come out otherwise when they are asked for again");
  }
  if (!captioner.capabilities().log_probabilities) notes.push_back("The captioner gives no log-probabilities");
  if (!generator.capabilities().honours_seeds) {
    notes.push_back("The generator honours no seeds: its pictures come out otherwise when they are asked for again");
  }
  return notes;
}

// The types' own initial values, which were in force before an option existed.
json option_defaults() { return options_identity(roundtrip::resolve(RunOptions(), {}, {})); }

class Run {
 public:
  // Finds what is wrong with the options before a model is loaded.
  Run(const RunOptions& options, const Machine& machine, const Context& context, int64_t processes,
      const RunInputs& inputs)
      : machine_(machine),
        context_(context),
        inputs_(inputs),
        opened_(inputs.dataset == nullptr ? data::open_dataset(options.dataset, options.dataset_options, context)
                                          : nullptr),
        dataset_(opened_ ? opened_.get() : inputs.dataset),
        plan_(roundtrip::make_plan(options, *dataset_, processes)),
        metrics_(metric_names(options, plan_)) {
    plan_.options.checkpoints = score::pulled(plan_.options.checkpoints, options.wire, context);
    if (options.ceiling.empty()) return;
    if (std::ranges::find(options.directions, roundtrip::Direction::kI2T2I) == options.directions.end()) {
      throw UsageError(describe("ceiling", "the direction i2t2i, whose ceiling it is", "t2i2t alone"));
    }
    generate::expect_varies(options.ceiling, machine);
  }

  RunResult operator()(caption::Captioner& captioner, generate::Generator& generator,
                       const std::filesystem::path& folder) {
    plan_.options = roundtrip::resolve(plan_.options, captioner.defaults(), generator.defaults());
    generate::resolve(plan_.options.generation, generator);  // refuses options that it does not have
    caption::expect_examples_taken(plan_.examples, captioner);
    expect_judges(metrics_, plan_.options.checkpoints, captioner, generator);
    if (const std::string remarks = dataset_->remarks(); !remarks.empty()) {
      context_.progress().note(plan_.options.dataset + ": " + remarks);
    }
    Store store = Store::open_for_writing(folder, manifest(captioner, generator), option_defaults());
    if (inputs_.prepare) inputs_.prepare(store);
    note_estimates(captioner, generator);
    RunResult result{.folder = folder, .samples = std::ssize(plan_.samples), .metrics = metrics_};
    result.summary = roundtrip::execute(plan_, *dataset_, captioner, generator, store, context_);
    if (!plan_.options.ceiling.empty()) draw_ceilings(store, generator);
    result.measuring_seconds = measure(store, captioner, generator);
    const auto curves = roundtrip::rank_curves(store);
    write_file(folder / "results.json", roundtrip::to_json(store, roundtrip::summarize(store), curves)
                                                .dump(2, ' ', false, json::error_handler_t::replace) +
                                            "\n");
    result.failures = store.errors();
    result.notes = notes_on(captioner, generator);
    for (const std::string& account : {captioner.account(), generator.account()}) {
      if (!account.empty()) result.notes.push_back(account);
    }
    result.notes.insert(result.notes.end(), store.notes().begin(), store.notes().end());
    return result;
  }

 private:
  // What models elsewhere will be asked for, before the first request.
  void note_estimates(const caption::Captioner& captioner, const generate::Generator& generator) const {
    const int64_t samples = std::ssize(plan_.samples), candidates = plan_.options.num_candidates;
    for (const roundtrip::Direction direction : plan_.options.directions) {
      const bool words_between = direction == roundtrip::Direction::kI2T2I;
      for (const std::string& estimate :
           {words_between ? captioner.estimate(samples, candidates) : captioner.estimate(samples * candidates, 1),
            generator.estimate(samples * candidates)}) {
        if (!estimate.empty()) context_.progress().note(std::string(name(direction)) + ": " + estimate);
      }
    }
  }

  // By the run's own generator and its options where it is the same repository, else by that one's defaults.
  void draw_ceilings(Store& store, generate::Generator& generator) const {
    const RunOptions& options = plan_.options;
    std::unique_ptr<generate::Generator> other;
    generate::GenerationOptions how;
    if (options.ceiling == options.generator) {
      how = options.generation;
    } else {
      other = generate::open(options.ceiling, machine_);
    }
    how.seed = options.seed;
    roundtrip::draw_ceilings(store, other ? *other : generator, how, options.batch_size * plan_.processes,
                             options.max_errors, context_);
  }

  roundtrip::Manifest manifest(const caption::Captioner& captioner, const generate::Generator& generator) const {
    utsname system{};
    uname(&system);
    json digests = score::digests(plan_.options.checkpoints);
    if (!plan_.examples.empty()) digests["shots"] = caption::digest(plan_.examples);
    if (!plan_.options.ceiling.empty()) {
      digests["ceiling"] = checkpoint::Repository(plan_.options.ceiling, machine_.variant).digest();
    }
    digests["dataset"] = dataset_->digest();
    digests["captioner"] = captioner.identity();
    digests["generator"] = generator.identity();
    json about = {{"build", roundtrip::this_build()},
                  {"dataset", dataset_->description()},
                  {"captioner", captioner.description()},
                  {"generator", generator.description()},
                  {"machine", fmt::format("{}, {} threads, {} {}", processor(), at::get_num_threads(), system.sysname,
                                          system.machine)},
                  {"device", machine_.device.str()},
                  {"batch_size", plan_.options.batch_size},
                  {"processes", plan_.processes},
                  {"command", inputs_.command},
                  {"notes", notes_on(captioner, generator)},
                  {"created", now()}};
    if (const std::string rule = generator.defaults_rule(); !rule.empty()) about["generator_defaults"] = rule;
    return {roundtrip::identity(plan_.options, machine_), digests, about, machine_.device_class()};
  }

  // The seconds that it took, without opening checkpoints that all metrics share.
  double measure(Store& store, caption::Captioner& captioner, generate::Generator& generator) {
    // A variant is the two models': what measures them is the same for all.
    score::MetricContext checkpoints =
        score::open_checkpoints(plan_.options.checkpoints, {machine_.device, machine_.dtype},
                                score::EmbeddingCache::Originals::kOneByOne, plan_.options.wire);
    const auto unowned = [](auto*) {};
    if (!checkpoints.judge_captioner.given()) {
      checkpoints.judge_captioner = std::shared_ptr<caption::Captioner>(&captioner, unowned);
    }
    if (!checkpoints.judge_generator.given()) {
      checkpoints.judge_generator = std::shared_ptr<generate::Generator>(&generator, unowned);
    }
    for (const data::Sample& sample : plan_.samples) checkpoints.corpus.push_back(sample.references);
    std::vector<std::unique_ptr<score::Metric>> metrics;
    for (const std::string& name : metrics_) metrics.push_back(score::make_metric(name, checkpoints));
    const Stopwatch clock;
    roundtrip::measure(store, metrics, context_);
    if (!plan_.options.ceiling.empty()) roundtrip::measure_ceilings(store, metrics, context_);
    if (checkpoints.inception.given()) roundtrip::measure_sets(store, *checkpoints.inception.get(), context_);
    return clock.seconds();
  }

  Machine machine_;
  Context context_;
  const RunInputs& inputs_;
  std::unique_ptr<data::Dataset> opened_;
  const data::Dataset* dataset_;
  roundtrip::Plan plan_;
  std::vector<std::string> metrics_;
};

}  // namespace

RunResult run(const RunOptions& options, const std::filesystem::path& folder, const Context& context,
              const Ranks& ranks, const RunInputs& inputs) {
  check_options(options);
  const Machine machine = open_machine(options.machine, ranks.local_rank());
  Run run(options, machine, context, ranks.size(), inputs);
  const OpenModels models(options, machine, context);
  if (!ranks.is_root()) {
    roundtrip::serve_models(ranks, models.captioner(), models.generator(), context);
    return {};
  }
  roundtrip::SharedModels shared(ranks, models.captioner(), models.generator());
  return run(shared.captioner(), shared.generator(), folder);
}

RunResult run(const RunOptions& options, caption::Captioner& captioner, generate::Generator& generator,
              const std::filesystem::path& folder, const Context& context, const RunInputs& inputs) {
  check_options(options);
  return Run(options, open_machine(options.machine), context, 1, inputs)(captioner, generator, folder);
}

}  // namespace readback::workflow
