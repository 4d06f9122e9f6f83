#include "readback/train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// A file of JSON lines, of which a resume keeps those from steps before `step`.
std::ofstream continue_log(const fs::path& path, int64_t step) {
  std::string kept;
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("step", step) < step) kept += line + "\n";
  }
  write_file(path, kept);
  return std::ofstream(path, std::ios::app);
}

// Where a training is.
struct Reached {
  int64_t step = 0;        // steps done
  int64_t best_step = -1;  // of the best evaluation, -1 before the first
  double best = 0;
};

class State {
 public:
  State(const fs::path& folder, const TrainOptions& options) : path_(folder / "state.safetensors") {
    const fs::path recipe = folder / "options.txt";
    if (!fs::exists(recipe)) {
      write_file(recipe, options.recipe);
    } else if (const std::string before = read_file(recipe); before != options.recipe) {
      throw StoreError(describe(folder.string(), "the options that it was begun with:\n" + before,
                                "\n" + options.recipe, "Choose another --output, or the same options"));
    }
  }

  Reached load(AdamW& optimizer) const {
    if (!fs::exists(path_)) return {};
    std::map<std::string, std::string> metadata;
    optimizer.load_state(checkpoint::load_safetensors(path_, &metadata));
    Reached reached{.step = std::stoll(metadata.at("step"))};
    if (metadata.contains("best_step")) {
      reached.best_step = std::stoll(metadata.at("best_step"));
      reached.best = std::stod(metadata.at("best"));
    }
    return reached;
  }

  void save(const AdamW& optimizer, const Reached& reached) const {
    std::map<std::string, std::string> metadata = {{"step", std::to_string(reached.step)}};
    if (reached.best_step >= 0) {
      metadata["best_step"] = std::to_string(reached.best_step);
      metadata["best"] = fmt::format("{}", reached.best);  // the shortest digits that give the same number
    }
    checkpoint::save_safetensors(optimizer.state(), path_, metadata);
  }

 private:
  fs::path path_;
};

struct Gathered {
  double loss;
  Figures figures;  // each the mean over the batches that have it
};

// The gradients of the mean loss over `count` batches.
Gathered gather_gradients(Task& task, int64_t step, int64_t count) {
  Gathered sum{0, {}};
  std::map<std::string, int64_t> seen;
  for (int64_t i = 0; i < count; ++i) {
    Figures figures;
    const at::Tensor loss = task.loss(step * count + i, figures) / count;
    loss.backward();
    sum.loss += loss.item<double>();
    for (const auto& [name, value] : figures) {
      if (seen[name]++ == 0) sum.figures.emplace_back(name, 0.0);
      const auto known = std::find_if(sum.figures.begin(), sum.figures.end(),
                                      [&name = name](const auto& figure) { return figure.first == name; });
      known->second += value;
    }
  }
  for (auto& [name, value] : sum.figures) value /= static_cast<double>(seen[name]);
  return sum;
}

// Evaluates, logs, and keeps the weights when they are the best so far.
void evaluate(Task& task, const AdamW& optimizer, Reached& reached, const fs::path& folder, std::ofstream& log) {
  const checkpoint::TensorMap weights = optimizer.averaged();
  const Figures figures = task.evaluate(weights);
  if (figures.empty()) throw UsageError(describe("evaluation", "a task that can be evaluated", "one that cannot"));
  nlohmann::ordered_json line = {{"step", reached.step}};
  for (const auto& [name, figure] : figures) line[name] = figure;
  log << line.dump() << std::endl;
  if (reached.best_step < 0 || figures.front().second > reached.best) {
    task.save(folder / "best", weights);
    reached.best_step = reached.step;
    reached.best = figures.front().second;
  }
}

bool out_of_patience(const TrainOptions& options, const Reached& reached) {
  return options.evaluate_every > 0 && options.patience > 0 && reached.best_step >= 0 &&
         reached.step - reached.best_step >= options.patience * options.evaluate_every;
}

}  // namespace

void train(Task& task, const TrainOptions& options, const fs::path& folder, Progress& progress) {
  const fs::path training = folder / "training";
  fs::create_directories(training);
  const FolderLock lock(training / "train.lock");
  const State state(training, options);
  AdamW optimizer(task.parameters(), options.optimizer);
  Reached reached = state.load(optimizer);
  if (reached.step > 0) {
    progress.note(fmt::format("{}: resuming at step {} of {}", folder.string(), reached.step, options.steps));
  }
  std::ofstream log = continue_log(training / "losses.jsonl", reached.step), evaluations;
  if (options.evaluate_every > 0) {
    // The evaluation after a step belongs to what that step's state holds.
    evaluations = continue_log(training / "evaluations.jsonl", reached.step > 0 ? reached.step + 1 : 0);
    if (reached.step == 0) evaluate(task, optimizer, reached, folder, evaluations);
  }

  using Clock = std::chrono::steady_clock;
  Clock::time_point saved = Clock::now();
  int64_t not_finite = 0;
  progress.begin("train", options.steps);
  progress.advance(reached.step);
  while (reached.step < options.steps && !out_of_patience(options, reached)) {
    if (interrupt_requested()) {
      state.save(optimizer, reached);
      check_interrupt();
    }
    const int64_t step = reached.step;
    const double rate = options.learning_rate * schedule_factor(options.schedule, step, options.warmup, options.steps,
                                                                options.final_learning_rate);
    optimizer.zero_grad();
    const auto [value, figures] = gather_gradients(task, step, options.accumulation);
    const double norm = optimizer.step(rate);
    if (!std::isfinite(norm)) {
      progress.note(fmt::format("step {}: loss {}, gradient norm {}: update skipped", step, value, norm));
      if (++not_finite == 3) {
        throw Error(describe("training", "finite losses", "three in a row that are not",
                             "The last saved state is kept; lower the learning rate and start in another folder"));
      }
    } else {
      not_finite = 0;
    }
    if (step % options.log_every == 0 || step + 1 == options.steps) {
      nlohmann::ordered_json line = {{"step", step}, {"loss", value}, {"learning_rate", rate}, {"gradient_norm", norm}};
      for (const auto& [name, figure] : figures) line[name] = figure;
      log << line.dump() << std::endl;
    }
    ++reached.step;
    if (options.evaluate_every > 0 && reached.step % options.evaluate_every == 0) {
      evaluate(task, optimizer, reached, folder, evaluations);
    }
    progress.advance(1, fmt::format("loss {:.4f}", value));
    if (std::chrono::duration<double>(Clock::now() - saved).count() >= options.checkpoint_seconds) {
      state.save(optimizer, reached);
      saved = Clock::now();
    }
  }
  progress.end();
  state.save(optimizer, reached);
  task.save(folder, optimizer.averaged());
}

}  // namespace readback::train
