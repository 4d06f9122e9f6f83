#include "readback/workflow/learn_from_return.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/base/options_json.h"
#include "readback/checkpoint/repository.h"
#include "readback/data/dataset.h"
#include "readback/roundtrip/choices.h"
#include "readback/roundtrip/role.h"
#include "readback/roundtrip/store.h"
#include "readback/score/registry.h"
#include "readback/train/training_identity.h"
#include "readback/workflow/estimate.h"
#include "readback/workflow/guards.h"
#include "readback/workflow/run.h"

namespace readback::workflow {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using roundtrip::Direction;
using train::CaptionerMethod;
using train::GeneratorMethod;
using train::LessonSource;

namespace {

bool captioner_learns(const FinetuneOptions& options) {
  return options.task.returned.captioner_method != CaptionerMethod::kNone &&
         options.task.models.train_captioner != train::Selection::kNone;
}
bool generator_learns(const FinetuneOptions& options) {
  return options.task.returned.generator_method != GeneratorMethod::kNone &&
         options.task.models.train_generator != train::Selection::kNone;
}

// Whether a model learns from the candidates of a cycle: the image cycle is the captioner's own, the text cycle the
// generator's.
bool needs(const FinetuneOptions& options, Direction direction) {
  const auto uses = [](bool learns, LessonSource source, bool own) {
    return learns && (source == LessonSource::kBoth || (source == LessonSource::kOwn) == own);
  };
  const train::ReturnOptions& returned = options.task.returned;
  const bool images = direction == Direction::kI2T2I;
  return uses(captioner_learns(options), returned.captioner_source, images) ||
         uses(generator_learns(options), returned.generator_source, !images);
}

const std::string& given_run(const FinetuneOptions& options, Direction direction) {
  const train::ReturnOptions& returned = options.task.returned;
  return direction == Direction::kI2T2I ? returned.image_cycle_run : returned.text_cycle_run;
}

bool to_be_made(const FinetuneOptions& options, Direction direction) {
  return needs(options, direction) && given_run(options, direction).empty();
}

void add_new(std::vector<std::string>& names, const std::vector<std::string>& more) {
  for (const std::string& name : more) {
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
}

// The registry's metrics among what is chosen by.
std::vector<std::string> measured(const std::vector<std::string>& by) {
  std::vector<std::string> names;
  for (const std::string& name : by) {
    if (name != roundtrip::kLikelihood && name != roundtrip::kRandom) names.push_back(name);
  }
  return names;
}

// A data set and what is taken of it.
struct Source {
  std::string dataset;
  data::DatasetOptions options;
};

class Learning {
 public:
  Learning(const FinetuneOptions& options, const fs::path& folder, const Context& context, const Ranks& ranks)
      : options_(options),
        folder_(fs::absolute(folder).lexically_normal()),
        context_(context),
        ranks_(ranks),
        machine_(open_machine(options.machine, ranks.local_rank())) {
    check();
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      if (to_be_made(options_, direction)) directions_.push_back(direction);
    }
    hold_out();
  }

  FinetuneResult run() {
    ranks_.on_root([&] {
      fs::create_directories(folder_);
      lock_.emplace(folder_ / "learning.lock");
      keep_identity(folder_ / "learning.json", folder_, identity());
    });
    if (options_.guard.probe > 0) probe();
    judge(0);
    FinetuneResult result{.rounds = 0, .best = 0, .notes = {}};
    for (int64_t round = 1; round <= options_.rounds; ++round) {
      if (!finished(round)) {
        for (const Direction direction : directions_) collect(round, direction);
        learn(round);
      }
      judge(round);
      result.rounds = round;
      const std::vector<std::string> parted = partings(round);
      if (!parted.empty()) {
        result.notes.push_back(fmt::format("round {}: the reward and what is held out part ways:", round));
        result.notes.insert(result.notes.end(), parted.begin(), parted.end());
        break;
      }
      result.best = round;
    }
    if (result.best == 0) result.notes.push_back("No round is better than the starting models, which stay the best");
    ranks_.on_root([&] { publish(result.best); });
    return result;
  }

 private:
  // Before a model is opened.
  void check() const {
    check_options(options_);
    const bool whole_captioner =
        captioner_learns(options_) && options_.task.models.train_captioner < train::Selection::kLoraAll;
    if (!options_.machine.variant.empty() && whole_captioner) {
      throw UsageError(describe("variant", "none while a captioner learns whole, whose weights are then of no variant",
                                options_.machine.variant, "Leave variant out, or train adapters (lora)"));
    }
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      if (!needs(options_, direction)) continue;
      const bool images = direction == Direction::kI2T2I;
      if (!given_run(options_, direction).empty()) {
        if (options_.rounds == 1) continue;
        throw UsageError(describe("rounds", "1 with a run that is given, which only its own models can have made",
                                  std::to_string(options_.rounds)));
      }
      const roundtrip::ChoiceOptions& choice =
          images ? options_.task.returned.image_cycle : options_.task.returned.text_cycle;
      const auto expect = [&](const char* what, const char* why, bool given) {
        if (!given)
          throw UsageError(
              describe(std::string(images ? "image" : "text") + " cycle", why, "none", std::string("Give ") + what));
      };
      expect(images ? "pictures" : "texts", images ? "a data set of pictures" : "a data set of texts",
             !(images ? options_.collect.pictures : options_.collect.texts).empty());
      expect(images ? "image_cycle_by" : "text_cycle_by", "what its candidates are chosen by", !choice.by.empty());
      for (const std::string& name : measured(choice.by)) score::find_metric(name);
      for (const std::string& name : measured(choice.agree)) score::find_metric(name);
    }
  }

  // Where held-out samples come from: the evaluation's data set, or the first tenth of what is collected from. Judged
  // is each direction that is collected, and the captions or pictures of each model that learns.
  void hold_out() {
    for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
      const bool images = direction == Direction::kI2T2I;
      if (std::ranges::find(directions_, direction) != directions_.end()) {
        judged_.push_back(direction);
        hold_out_of_collected(direction);
      } else if (images ? captioner_learns(options_) : generator_learns(options_)) {
        hold_out_for_model(direction);
      }
    }
  }

  // The data set of the evaluation; empty: none.
  Source evaluation() const {
    const train::EvaluationOptions& evaluation = options_.task.evaluation;
    const bool scenes = std::ranges::any_of(directions_, [&](Direction direction) {
      return (direction == Direction::kI2T2I ? options_.collect.pictures : options_.collect.texts) == "emoji-scenes";
    });
    return {evaluation.dataset.empty() && scenes ? "emoji-scenes" : evaluation.dataset,
            {.split = evaluation.split, .limit = evaluation.samples, .image_size = evaluation.image_size}};
  }

  void hold_out_of_collected(Direction direction) {
    const bool images = direction == Direction::kI2T2I;
    const CollectOptions& collect = options_.collect;
    Source& source = images ? pictures_ : texts_;
    Source& held_out = images ? held_out_pictures_ : held_out_texts_;
    source = images ? Source{collect.pictures, collect.pictures_from} : Source{collect.texts, collect.texts_from};
    const auto dataset = data::open_dataset(source.dataset, source.options);
    if (held_out = evaluation(); !held_out.dataset.empty()) return;
    if (dataset->size() < 2) {
      throw DataError(describe(dataset->description(), "samples to learn from and one to hold out", "one"));
    }
    const int64_t most = options_.task.evaluation.samples, tenth = std::max<int64_t>(1, dataset->size() / 10);
    const int64_t count = most > 0 ? std::min(most, tenth) : tenth;
    held_out = source;
    held_out.options.limit = count;
    source.options.first += count;
    source.options.limit = dataset->size() - count;
    context_.progress().note(fmt::format("{}: the first {} are held out", dataset->description(), count));
  }

  void hold_out_for_model(Direction direction) {
    const bool images = direction == Direction::kI2T2I;
    const Source source = evaluation();
    if (!source.dataset.empty()) {
      const data::Sample sample = data::open_dataset(source.dataset, source.options)->sample(0);
      if (images ? sample.has_image() : !sample.references.empty()) {
        (images ? held_out_pictures_ : held_out_texts_) = source;
        judged_.push_back(direction);
        return;
      }
    }
    context_.progress().note(images ? "no evaluate_dataset with pictures: captions of pictures are not judged"
                                    : "no evaluate_dataset with texts: pictures of texts are not judged");
  }

  train::TrainingIdentity identity() const {
    nlohmann::json start = nlohmann::json::object();
    start["captioner"] = checkpoint::Repository(options_.task.models.captioner, machine_.variant).digest();
    start["generator"] = checkpoint::Repository(options_.task.models.generator, machine_.variant).digest();
    return train::TrainingIdentity::of(options_identity(options_), options_identity(FinetuneOptions()), machine_,
                                       std::move(start));
  }

  fs::path round_folder(int64_t round) const { return folder_ / "rounds" / std::to_string(round); }
  static const char* name_of(Direction direction) { return direction == Direction::kI2T2I ? "pictures" : "texts"; }

  // The models as round `round` left them.
  train::PairOfRepositories models(int64_t round) const {
    const fs::path trained = round_folder(round) / "trained";
    return {.captioner = round > 0 && captioner_learns(options_) ? (trained / "captioner").string()
                                                                 : options_.task.models.captioner,
            .generator = round > 0 && generator_learns(options_) ? (trained / "generator").string()
                                                                 : options_.task.models.generator};
  }

  // A run of `models` over `source`, in one direction.
  roundtrip::RunOptions run_options(const Source& source, Direction direction,
                                    const train::PairOfRepositories& models) const {
    const CollectOptions& collect = options_.collect;
    roundtrip::RunOptions run;
    run.dataset = source.dataset;
    run.dataset_options = source.options;
    run.directions = {direction};
    run.num_candidates = collect.num_candidates;
    run.captioner = direction == Direction::kT2I2T && !collect.reader.empty() ? collect.reader : models.captioner;
    run.generator = direction == Direction::kI2T2I && !collect.drawer.empty() ? collect.drawer : models.generator;
    run.sampling = collect.sampling;
    run.reading = collect.reading;
    run.generation = collect.generation;
    run.checkpoints = collect.checkpoints;
    run.batch_size = collect.batch_size;
    run.machine = options_.machine;
    const roundtrip::ChoiceOptions& choice = this->choice(direction);
    run.metrics = measured(choice.by);
    add_new(run.metrics, measured(choice.agree));
    return run;
  }

  const roundtrip::ChoiceOptions& choice(Direction direction) const {
    const train::ReturnOptions& returned = options_.task.returned;
    return direction == Direction::kI2T2I ? returned.image_cycle : returned.text_cycle;
  }

  Rewards rewards() const {
    return {.image_cycle = options_.task.returned.image_cycle.by, .text_cycle = options_.task.returned.text_cycle.by};
  }

  roundtrip::RunOptions collecting_options(int64_t round, Direction direction) const {
    roundtrip::RunOptions run =
        run_options(direction == Direction::kI2T2I ? pictures_ : texts_, direction, models(round - 1));
    run.seed = options_.task.batches.seed * 1024 + static_cast<uint64_t>(round);  // other candidates in each round
    add_new(run.metrics, options_.collect.metrics);
    return run;
  }

  RunResult collect(int64_t round, Direction direction) {
    context_.progress().note(fmt::format("round {}: collecting from {}", round, name_of(direction)));
    return tell(workflow::run(collecting_options(round, direction), round_folder(round) / name_of(direction), context_,
                              ranks_));
  }

  // Notes what a run could not do; candidates that failed do not teach.
  RunResult tell(RunResult result) const {
    for (const std::string& note : result.notes) context_.progress().note(note);
    if (!result.failures.empty()) {
      const roundtrip::ErrorRow& first = result.failures.front();
      context_.progress().note(fmt::format("{} failures, which teach nothing; the first: {}, {}",
                                           result.failures.size(), first.sample, first.message));
    }
    return result;
  }

  FinetuneOptions learning_options(int64_t round, const fs::path& collected) const {
    FinetuneOptions options = options_;
    const train::PairOfRepositories start = models(round - 1);
    options.task.models.captioner = start.captioner;
    options.task.models.generator = start.generator;
    options.rounds = 1;
    train::ReturnOptions& returned = options.task.returned;
    for (const Direction direction : directions_) {
      (direction == Direction::kI2T2I ? returned.image_cycle_run : returned.text_cycle_run) =
          (collected / name_of(direction)).string();
    }
    return options;
  }

  void learn(int64_t round) {
    context_.progress().note(fmt::format("round {}: learning", round));
    finetune(learning_options(round, round_folder(round)), round_folder(round) / "trained", context_, ranks_);
  }

  bool finished(int64_t round) const { return fs::exists(round_folder(round) / "judgement.json"); }

  // What is not the reward and says how good captions or pictures are; where nothing does, every other metric.
  std::vector<std::string> guard_metrics(const Source& source, Direction direction) const {
    if (!options_.guard.metrics.empty()) return options_.guard.metrics;
    const auto dataset = data::open_dataset(source.dataset, source.options);
    const data::Sample sample = dataset->sample(0);
    std::vector<std::string> names = score::default_metrics(!sample.references.empty(), !sample.truth.empty(),
                                                            score::given(options_.collect.checkpoints));
    const std::vector<std::string>& by = choice(direction).by;
    std::erase_if(names, [&](const std::string& name) { return std::ranges::find(by, name) != by.end(); });
    std::vector<std::string> of_quality;
    for (const std::string& name : names) {
      if (roundtrip::role(direction, score::find_metric(name).inputs) == roundtrip::Role::kQuality)
        of_quality.push_back(name);
    }
    return of_quality.empty() ? names : of_quality;
  }

  fs::path held_out_folder(int64_t round, Direction direction) const {
    return round_folder(round) / "held_out" / name_of(direction);
  }

  void judge(int64_t round) {
    if (finished(round)) return;
    for (const Direction direction : judged_) {
      const Source& source = direction == Direction::kI2T2I ? held_out_pictures_ : held_out_texts_;
      roundtrip::RunOptions run = run_options(source, direction, models(round));
      run.num_candidates = 1;
      run.sampling = options_.task.evaluation.decoding;
      run.seed = options_.task.batches.seed * 1024;  // the same in each round
      add_new(run.metrics, guard_metrics(source, direction));
      tell(workflow::run(run, held_out_folder(round, direction), context_, ranks_));
    }
    ranks_.on_root([&] { write_file(round_folder(round) / "judgement.json", judgement(round).dump(2) + "\n"); });
  }

  ordered_json judgement(int64_t round) const {
    ordered_json all = {{"round", round}, {"metrics", ordered_json::array()}, {"parted", ordered_json::array()}};
    const ordered_json first = round > 0 ? read_ordered(round_folder(0) / "judgement.json") : ordered_json::object();
    for (const Direction direction : judged_) {
      const auto store = [&](int64_t number) { return roundtrip::Store::open(held_out_folder(number, direction)); };
      const roundtrip::Store run = store(round);
      ordered_json one;
      if (round == 0) {
        one = workflow::judge({models(0), run}, nullptr, nullptr, first, rewards(), options_.guard,
                              options_.collect.checkpoints, machine_, context_);
      } else {
        const roundtrip::Store before = store(round - 1), begin = store(0);
        const Judged previous{models(round - 1), before}, start{models(0), begin};
        one = workflow::judge({models(round), run}, &previous, &start, first, rewards(), options_.guard,
                              options_.collect.checkpoints, machine_, context_);
      }
      for (const char* list : {"metrics", "parted"}) {
        for (const ordered_json& item : one[list]) all[list].push_back(item);
      }
      for (const char* part : {"drift", "captions", "pictures"}) {
        if (one.contains(part)) all[part].update(one[part]);
      }
    }
    return all;
  }

  static ordered_json read_ordered(const fs::path& path) { return ordered_json::parse(read_file(path)); }

  // On all ranks the same, since all see the folder.
  std::vector<std::string> partings(int64_t round) const {
    return read_ordered(round_folder(round) / "judgement.json").at("parted").get<std::vector<std::string>>();
  }

  // Tries a small sample: says what all of it will cost, and stops where the return knows too little to teach.
  void probe() {
    const fs::path folder = folder_ / "probe", file = folder / "estimate.json";
    if (fs::exists(file)) return;
    context_.progress().note(fmt::format("trying {} samples", options_.guard.probe));
    Estimate estimate;
    std::vector<Signal> found;
    for (const Direction direction : directions_) {
      roundtrip::RunOptions run = collecting_options(1, direction);
      const int64_t all = data::open_dataset(run.dataset, run.dataset_options)->size();
      run.dataset_options.limit = std::min(all, options_.guard.probe);
      const RunResult result = tell(workflow::run(run, folder / name_of(direction), context_, ranks_));
      if (!ranks_.is_root()) continue;
      const double times = static_cast<double>(all) / static_cast<double>(run.dataset_options.limit);
      estimate.collecting_seconds += times * (result.summary.seconds + result.measuring_seconds);
      estimate.picture_bytes += times * static_cast<double>(bytes_in(folder / name_of(direction) / "images"));
      estimate.captions += all * options_.collect.num_candidates;
      estimate.pictures += all * options_.collect.num_candidates;
      const auto more = signals(roundtrip::Store::open(folder / name_of(direction)), rewards());
      found.insert(found.end(), more.begin(), more.end());
    }
    ranks_.on_root([&] {
      expect_signal(found, options_.guard, context_);
      estimate.learning_seconds = seconds_of_learning(learning_options(1, folder), machine_, context_);
      context_.progress().note(estimate.sentence(options_.rounds));
      write_file(file, estimate.to_json(options_.rounds).dump(2) + "\n");
    });
  }

  void publish(int64_t best) const {
    for (const auto& [name, learned] :
         {std::pair("captioner", captioner_learns(options_)), std::pair("generator", generator_learns(options_))}) {
      if (!learned) continue;
      const fs::path link = folder_ / name, beside = folder_ / (std::string(name) + ".new");
      fs::remove(link);
      if (best == 0) continue;
      fs::remove(beside);
      fs::create_directory_symlink(fs::path("rounds") / std::to_string(best) / "trained" / name, beside);
      fs::rename(beside, link);
    }
  }

  FinetuneOptions options_;
  fs::path folder_;
  Context context_;
  Ranks ranks_;
  Machine machine_;
  std::vector<Direction> directions_;  // that are collected
  std::vector<Direction> judged_;      // over held-out samples
  Source pictures_, texts_, held_out_pictures_, held_out_texts_;
  std::optional<FolderLock> lock_;  // on rank 0
};

}  // namespace

bool collects(const FinetuneOptions& options) {
  return options.task.losses == train::Losses::kReturn &&
         (to_be_made(options, Direction::kI2T2I) || to_be_made(options, Direction::kT2I2T));
}

FinetuneResult learn_from_return(const FinetuneOptions& options, const fs::path& folder, const Context& context,
                                 const Ranks& ranks) {
  return Learning(options, folder, context, ranks).run();
}

}  // namespace readback::workflow
