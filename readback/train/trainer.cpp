#include "readback/train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/train/gradients.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// A file of JSON lines, each about a step.
class Log {
 public:
  // Opens `path` and keeps what it has of the steps before `step`.
  void open(const fs::path& path, int64_t step) {
    std::string kept;
    std::ifstream lines(path);
    for (std::string line; std::getline(lines, line);) {
      const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (entry.is_object() && entry.value("step", step) < step) kept += line + "\n";
    }
    write_file(path, kept);
    path_ = path;
    file_.open(path, std::ios::app);
  }

  void add(nlohmann::ordered_json line, const Metrics& metrics) {
    for (const auto& [name, figure] : metrics) line[name] = figure;
    file_ << line.dump() << std::endl;
    if (!file_) {
      throw StoreError(describe(path_.string(), "to be written", "an error",
                                "Free some space and start again; what was saved before is kept"));
    }
  }

 private:
  fs::path path_;
  std::ofstream file_;
};

// Where a training is.
struct Reached {
  int64_t step = 0;        // steps done
  int64_t evaluated = -1;  // of the latest evaluation, which may lag behind when that was interrupted
  int64_t best_step = -1;  // of the best evaluation, -1 before the first
  double best = 0;
};

// What a training keeps in its folder.
class Records {
 public:
  Records(const fs::path& folder, const TrainOptions& options, const TrainingIdentity& identity)
      : folder_(folder),
        training_(made(folder / "training")),
        lock_(training_ / "train.lock"),
        evaluates_(options.evaluate_every > 0) {
    expect_same(identity);
  }

  // Where the last start of this training stopped.
  Reached load(AdamW& optimizer) {
    Reached reached;
    if (const fs::path state = training_ / "state.safetensors"; fs::exists(state)) {
      std::map<std::string, std::string> metadata;
      optimizer.load_state(checkpoint::load_safetensors(state, &metadata));
      reached.step = std::stoll(metadata.at("step"));
      // States from before it was written were saved after their step's evaluation.
      reached.evaluated = metadata.contains("evaluated") ? std::stoll(metadata.at("evaluated")) : reached.step;
      if (metadata.contains("best_step")) {
        reached.best_step = std::stoll(metadata.at("best_step"));
        reached.best = std::stod(metadata.at("best"));
      }
    }
    losses_.open(training_ / "losses.jsonl", reached.step);
    if (evaluates_) evaluations_.open(training_ / "evaluations.jsonl", reached.evaluated + 1);
    return reached;
  }

  void save(const AdamW& optimizer, const Reached& reached) const {
    std::map<std::string, std::string> metadata = {{"step", std::to_string(reached.step)},
                                                   {"evaluated", std::to_string(reached.evaluated)}};
    if (reached.best_step >= 0) {
      metadata["best_step"] = std::to_string(reached.best_step);
      metadata["best"] = fmt::format("{}", reached.best);  // the shortest digits that give the same number
    }
    checkpoint::save_safetensors(optimizer.state(), training_ / "state.safetensors", metadata);
  }

  void log_loss(nlohmann::ordered_json line, const Metrics& metrics) { losses_.add(std::move(line), metrics); }
  void log_evaluation(int64_t step, const Metrics& metrics) { evaluations_.add({{"step", step}}, metrics); }
  const fs::path& folder() const { return folder_; }

 private:
  // Writes the identity at a training's first start, and refuses a start with another one.
  void expect_same(const TrainingIdentity& identity) const {
    const fs::path path = training_ / "identity.json";
    if (!fs::exists(path) && fs::exists(training_ / "state.safetensors")) {
      throw StoreError(describe(training_.string(), "a training of this version of readback",
                                "an older one, whose random numbers were others", "Choose another folder"));
    }
    keep_identity(path, training_, identity);
  }

  static fs::path made(const fs::path& folder) {
    fs::create_directories(folder);
    return folder;
  }

  fs::path folder_, training_;
  FolderLock lock_;
  bool evaluates_;
  Log losses_, evaluations_;
};

// What rank 0 has read or found out, on all ranks.
void share(Reached& reached, const Ranks& ranks) {
  const at::Tensor steps = at::tensor({reached.step, reached.evaluated, reached.best_step}),
                   best = at::tensor({reached.best});
  ranks.broadcast(steps);
  ranks.broadcast(best);
  reached = {steps[0].item<int64_t>(), steps[1].item<int64_t>(), steps[2].item<int64_t>(), best.item<double>()};
}

void share(AdamW& optimizer, const Ranks& ranks) {
  if (ranks.size() == 1) return;
  const checkpoint::TensorMap state = optimizer.state();
  for (const auto& [name, tensor] : state) ranks.broadcast(tensor);
  optimizer.load_state(state);
}

// Evaluates, logs, and keeps the weights when they are the best so far.
void evaluate(Task& task, const AdamW& optimizer, Reached& reached, Records& records) {
  const checkpoint::TensorMap weights = optimizer.averaged();
  const Metrics metrics = task.evaluate(weights);
  if (metrics.empty()) throw UsageError(describe("evaluation", "a task that can be evaluated", "one that cannot"));
  records.log_evaluation(reached.step, metrics);
  reached.evaluated = reached.step;
  if (reached.best_step < 0 || metrics.front().second > reached.best) {
    task.save(records.folder() / "best", weights);
    reached.best_step = reached.step;
    reached.best = metrics.front().second;
  }
}

bool out_of_patience(const TrainOptions& options, const Reached& reached) {
  return options.evaluate_every > 0 && options.patience > 0 && reached.best_step >= 0 &&
         reached.step - reached.best_step >= options.patience * options.evaluate_every;
}

Error diverged(const std::string& got) {
  return Error(describe("training", "finite numbers", got,
                        "What was saved before is kept; lower the learning rate and start in another folder"));
}

}  // namespace

void train(Task& task, const TrainOptions& options, const TrainingIdentity& identity, const fs::path& folder,
           const Context& context, const Ranks& ranks, const std::vector<ParameterGroup>& groups) {
  check_options(options);
  AdamW optimizer(task.parameters(), options.optimizer, groups);
  std::optional<Records> records;  // on rank 0
  Reached reached;
  ranks.on_root([&] {
    TrainingIdentity ranked = identity;
    // A batch is as many rows as all ranks have.
    if (ranks.size() > 1) ranked.options["ranks"] = ranks.size();
    records.emplace(folder, options, ranked);
    reached = records->load(optimizer);
  });
  share(reached, ranks);
  share(optimizer, ranks);
  if (reached.step > 0) {
    context.progress().note(fmt::format("{}: resuming at step {} of {}", folder.string(), reached.step, options.steps));
  }
  using Clock = std::chrono::steady_clock;
  Clock::time_point saved = Clock::now();
  int64_t not_finite = 0;  // losses in a row, up to now
  const auto save_state = [&] {
    if (not_finite == 0) records->save(optimizer, reached);  // else what was saved before is better
    saved = Clock::now();
  };
  const auto evaluate_when_due = [&] {
    if (options.evaluate_every == 0 || reached.step % options.evaluate_every != 0) return;
    if (reached.evaluated == reached.step) return;
    try {
      ranks.on_root([&] { evaluate(task, optimizer, reached, *records); });
    } catch (const Interrupted&) {
      if (records) save_state();  // a resume begins with this evaluation
      throw;
    }
    share(reached, ranks);
  };
  task.updated(optimizer);
  evaluate_when_due();
  context.progress().begin("train", options.steps);
  context.progress().advance(reached.step);
  while (reached.step < options.steps && !out_of_patience(options, reached)) {
    if (ranks.any(context.stopped())) {
      ranks.on_root(save_state);
      throw Interrupted("interrupted");
    }
    const int64_t step = reached.step;
    const double rate = options.learning_rate * schedule_factor(options.schedule, step, options.warmup, options.steps,
                                                                options.final_learning_rate);
    // Two in a row: the losses of unified fine-tuning's two cycles differ.
    const bool logged = step % options.log_every < 2 || step + 1 == options.steps;
    optimizer.zero_grad();
    const auto [loss, metrics] =
        gather_gradients(task, step, {.accumulation = options.accumulation, .metrics = logged}, ranks);
    const double norm = optimizer.step(rate);
    task.updated(optimizer);
    if (!std::isfinite(norm)) {
      context.progress().note(fmt::format("step {}: loss {}, gradient norm {}: update skipped", step, loss, norm));
      if (++not_finite == 3) throw diverged("three losses in a row that are not");
    } else {
      not_finite = 0;
    }
    if (logged && records) {
      records->log_loss({{"step", step}, {"loss", loss}, {"learning_rate", rate}, {"gradient_norm", norm}}, metrics);
    }
    ++reached.step;
    evaluate_when_due();
    context.progress().advance(1, fmt::format("loss {:.4f}", loss));
    if (records && std::chrono::duration<double>(Clock::now() - saved).count() >= options.checkpoint_seconds) {
      save_state();
    }
  }
  context.progress().end();
  const checkpoint::TensorMap weights = optimizer.averaged();
  for (const auto& [name, tensor] : weights) {
    if (!tensor.isfinite().all().item<bool>()) throw diverged("weights that are not, " + name);
  }
  ranks.on_root([&] {
    save_state();
    task.save(folder, weights);
  });
}

}  // namespace readback::train
