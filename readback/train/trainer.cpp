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

// Lines of the log that come from steps before `step`: what a resume keeps.
std::string kept_log(const fs::path& path, int64_t step) {
  std::string kept;
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("step", step) < step) kept += line + "\n";
  }
  return kept;
}

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

  int64_t load(AdamW& optimizer) const {  // steps done
    if (!fs::exists(path_)) return 0;
    std::map<std::string, std::string> metadata;
    optimizer.load_state(checkpoint::load_safetensors(path_, &metadata));
    return std::stoll(metadata.at("step"));
  }

  void save(const AdamW& optimizer, int64_t step) const {
    checkpoint::save_safetensors(optimizer.state(), path_, {{"step", std::to_string(step)}});
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

}  // namespace

void train(Task& task, const TrainOptions& options, const fs::path& folder, Progress& progress) {
  const fs::path training = folder / "training";
  fs::create_directories(training);
  const FolderLock lock(training / "train.lock");
  const State state(training, options);
  AdamW optimizer(task.parameters(), options.optimizer);
  const int64_t begin = state.load(optimizer);
  if (begin > 0) progress.note(fmt::format("{}: resuming at step {} of {}", folder.string(), begin, options.steps));

  const fs::path log_path = training / "losses.jsonl";
  write_file(log_path, kept_log(log_path, begin));
  std::ofstream log(log_path, std::ios::app);

  using Clock = std::chrono::steady_clock;
  Clock::time_point saved = Clock::now();
  int64_t not_finite = 0;
  progress.begin("train", options.steps);
  progress.advance(begin);
  for (int64_t step = begin; step < options.steps; ++step) {
    if (interrupt_requested()) {
      state.save(optimizer, step);
      check_interrupt();
    }
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
    progress.advance(1, fmt::format("loss {:.4f}", value));
    if (std::chrono::duration<double>(Clock::now() - saved).count() >= options.checkpoint_seconds) {
      state.save(optimizer, step + 1);
      saved = Clock::now();
    }
  }
  progress.end();
  state.save(optimizer, options.steps);
  task.save(folder, optimizer.averaged());
}

}  // namespace readback::train
