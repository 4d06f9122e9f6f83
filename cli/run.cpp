#include "run.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/hardware.h"
#include "readback/checkpoint/repository.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/set_curves.h"
#include "readback/roundtrip/shared_models.h"
#include "readback/score/registry.h"
#include "readback/version.h"

namespace readback::cli {

namespace {

nlohmann::json about(const RunFlags& flags, const data::Dataset& dataset, const caption::Captioner& captioner,
                     const generate::Generator& generator) {
  utsname system{};
  uname(&system);
  const std::time_t now = std::time(nullptr);
  char created[32];
  std::strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return {{"version", READBACK_VERSION},
          {"dataset", dataset.description()},
          {"captioner", captioner.description()},
          {"generator", generator.description()},
          {"machine",
           fmt::format("{}, {} threads, {} {}", processor_name(), at::get_num_threads(), system.sysname, system.machine)},
          {"device", flags.machine.resolve_device().str()},
          {"batch_size", flags.options.batch_size},
          {"processes", flags.options.processes},
          {"command", command_line()},
          {"created", created}};
}

// What to measure, checked before anything is made. Errors: UsageError.
std::vector<std::string> metric_names(const RunFlags& flags, const roundtrip::Plan& plan) {
  bool has_references = false, has_truth = false;
  for (const data::Sample& sample : plan.samples) {
    has_references = has_references || !sample.references.empty();
    has_truth = has_truth || !sample.truth.empty();
  }
  const std::set<std::string> given = flags.checkpoints.given();
  if (flags.options.metrics.empty()) return score::default_metrics(has_references, has_truth, given);
  for (const std::string& name : flags.options.metrics) {
    const std::string flag = score::find_metric(name).flag;
    if (!flag.empty() && !given.contains(flag)) {
      throw UsageError(describe(name, "a checkpoint to measure with", "none", "Give one with " + flag));
    }
  }
  return flags.options.metrics;
}

void measure(roundtrip::Store& store, const std::vector<std::string>& names, const RunFlags& flags,
             const roundtrip::Plan& plan, Progress& progress) {
  score::MetricContext context = flags.checkpoints.context(flags.machine, score::EmbeddingCache::Originals::kOneByOne);
  for (const data::Sample& sample : plan.samples) context.corpus.push_back(sample.references);
  std::vector<std::unique_ptr<score::Metric>> metrics;
  for (const std::string& name : names) metrics.push_back(score::make_metric(name, context));
  roundtrip::measure(store, metrics, progress);
  if (context.inception.given()) roundtrip::measure_sets(store, *context.inception.get(), progress);
}

void lend_models(const RunFlags& flags, const Ranks& ranks) {
  flags.machine.apply_threads();
  const auto captioner = load_captioner(flags.options.captioner, flags.machine);
  const auto generator = load_generator(flags.options.generator, flags.machine);
  roundtrip::serve_models(ranks, *captioner, *generator);
}

}  // namespace

roundtrip::Store run_roundtrip(RunFlags& flags, const Ranks& ranks) {
  flags.machine.apply_threads();
  auto& options = flags.options;
  options.dtype = dtype_name(flags.machine.resolve_dtype());
  options.processes = ranks.size();

  const auto dataset = data::open_dataset(options.dataset, options.dataset_options);
  const roundtrip::Plan plan = roundtrip::make_plan(options, *dataset);
  const std::vector<std::string> names = metric_names(flags, plan);
  nlohmann::json digests = flags.checkpoints.digests();
  digests["dataset"] = dataset->digest();
  digests["captioner"] = checkpoint::Repository(options.captioner).digest();
  digests["generator"] = checkpoint::Repository(options.generator).digest();
  const auto captioner = load_captioner(options.captioner, flags.machine);
  const auto generator = load_generator(options.generator, flags.machine);
  const roundtrip::Manifest manifest = {roundtrip::identity(options), digests,
                                        about(flags, *dataset, *captioner, *generator)};
  roundtrip::Store store = roundtrip::Store::open_for_writing(flags.output, manifest);
  const auto progress = make_progress();
  roundtrip::Summary summary;
  {
    roundtrip::SharedModels models(ranks, *captioner, *generator);
    summary = roundtrip::execute(plan, *dataset, models.captioner(), models.generator(), store, *progress);
  }
  measure(store, names, flags, plan, *progress);

  fmt::print(stderr, "{} round trips over {} samples in {:.1f} s", summary.units, plan.samples.size(), summary.seconds);
  if (summary.done_before > 0) fmt::print(stderr, ", {} of them done before", summary.done_before);
  if (summary.failed_samples > 0)
    fmt::print(stderr, "; {} samples failed, see the table `errors`", summary.failed_samples);
  if (summary.truncated_prompts > 0) fmt::print(stderr, "; {} prompts truncated", summary.truncated_prompts);
  if (summary.flagged_images > 0)
    fmt::print(stderr, "; {} pictures blanked by the safety checker", summary.flagged_images);
  fmt::print(stderr, "\n");
  const auto curves = roundtrip::rank_curves(store);
  write_file(store.folder() / "results.json",
             roundtrip::to_json(store, roundtrip::summarize(store), curves).dump(2) + "\n");
  return store;
}

void add_run(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  auto directions = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"i2t2i", "t2i2t"});
  CLI::App* verb =
      app.add_subcommand("run", "Both round trips over a data set: N candidates each, distances, rank curves");
  verb->footer(
      "Examples:\n"
      "  readback run emoji-scenes --limit 200 --output runs/scenes\n"
      "  readback run photos/ --captioner Salesforce/blip-image-captioning-base \\\n"
      "      --generator CompVis/stable-diffusion-v1-4 --clip openai/clip-vit-base-patch32 --output runs/photos\n"
      "  readback run coco:captions.json:val2017 --directions i2t2i --num-candidates 4 --output runs/coco\n"
      "  readback run photos/ --dino facebook/dino-vitb8 --dino-size 384 --sbert "
      "sentence-transformers/all-MiniLM-L6-v2 "
      "\\\n"
      "      --vectors glove.6B.200d.txt --output runs/photos\n"
      "  torchrun --no-python --nproc-per-node 8 readback run photos/ --output runs/photos   # srun, mpirun too\n"
      "The same command again goes on where it stopped.");
  auto& options = flags->options;
  verb->add_option("DATASET", options.dataset, "emoji-scenes, a folder of images, or coco:ANNOTATIONS.json:IMAGES")
      ->required();
  verb->add_option("--split", options.dataset_options.split, "emoji-scenes: train, validation, test or novel-pairs")
      ->capture_default_str();
  verb->add_option("--limit", options.dataset_options.limit, "The first N samples; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--directions", *directions, "i2t2i, t2i2t")->capture_default_str()->delimiter(',');
  verb->add_option("--num-candidates", options.num_candidates, "Candidates a sample and direction")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--captioner", options.captioner, "Repository")->capture_default_str();
  verb->add_option("--generator", options.generator, "Repository")->capture_default_str();
  verb->add_option("--metrics", options.metrics,
                   "Names by comma (readback score list); default: what the data set and the checkpoints allow")
      ->delimiter(',');
  verb->add_option("--seed", options.seed)->capture_default_str();
  verb->add_option("--batch-size", options.batch_size, "Pictures or texts a model gets at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--max-errors", options.max_errors, "End when more samples than this failed; -1: never")
      ->capture_default_str();
  verb->add_option("--output", flags->output, "Run folder")->required();
  add_generation_flags(*verb, options.generation);
  add_decoding_flags(*verb, options.sampling);
  flags->checkpoints.add_to(*verb);
  flags->machine.add_to(*verb);
  verb->callback([flags, directions] {
    flags->options.directions.clear();
    for (const std::string& direction : *directions)
      flags->options.directions.push_back(roundtrip::parse_direction(direction));
    flags->options.reading.prompt = flags->options.sampling.prompt;
    const Ranks ranks(find_launch());
    flags->machine.local_rank = ranks.local_rank();
    if (!ranks.first()) return lend_models(*flags, ranks);
    const roundtrip::Store store = run_roundtrip(*flags, ranks);
    fmt::print("{}\n", store.folder().string());
  });
}

}  // namespace readback::cli
