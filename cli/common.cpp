#include "common.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <thread>

#include "flags.h"
#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/lines.h"

namespace readback::cli {

void MachineFlags::add_to(CLI::App& verb) {
  add_options(verb, options);
  add_recipe_flag(verb, recipe);
}

Machine MachineFlags::open(int64_t local_rank) const {
  const Machine machine = open_machine(options, local_rank);
  if (local_rank == 0) note_unused_gpu(options);
  return machine;
}

void add_recipe_flag(CLI::App& verb, std::string& recipe) {
  verb.add_option("--recipe", recipe, "File of the same flags; the command line wins over it");
}

void note_unused_gpu(const MachineOptions& options) {
  static std::once_flag said;
  if (options.device != "auto" || !cuda().gpu || open_machine(options).device.is_cuda()) return;
  std::call_once(said, [] {
    fmt::print(stderr, "readback: --device auto takes the CPU, though there is a GPU: {}\n", cuda().reason);
  });
}

namespace {

constexpr int kInterrupted = 130;

std::stop_source& stop_source() {
  static std::stop_source source;
  return source;
}

}  // namespace

void stop_on_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // All threads inherit that these are blocked, but for one that waits for them.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  stop_source();
  std::thread([signals] {
    int signal = 0;
    for (bool again = false; sigwait(&signals, &signal) == 0; again = true) {
      if (again) std::_Exit(kInterrupted);  // does not wait for the unit of work at hand
      stop_source().request_stop();
    }
  }).detach();
}

Context context_with(Progress& progress) { return Context(stop_source().get_token(), &progress); }

std::vector<std::string> with_recipe(std::vector<std::string> arguments) {
  std::string path;
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i] == "--recipe" && i + 1 < arguments.size()) path = arguments[i + 1];
    if (arguments[i].starts_with("--recipe=")) path = arguments[i].substr(9);
  }
  // A recipe that stands alone: before the flags, or between them and no flag's value.
  if (path.empty() && !arguments.empty() && (arguments[0] == "train" || arguments[0] == "finetune")) {
    for (size_t i = 1; i < arguments.size() && path.empty(); ++i) {
      const bool alone = i == 1 || (arguments[i].ends_with(".toml") && !arguments[i - 1].starts_with("-"));
      if (alone && !arguments[i].starts_with("-")) path = arguments[i];
    }
  }
  if (path.empty()) return arguments;

  std::stringstream file;
  try {
    const std::string text = read_text(path);
    for (const std::string_view line : lines_of(text)) file << line << '\n';
  } catch (const DataError& error) {
    throw UsageError(error.what());
  }
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(file);
  } catch (const CLI::Error& error) {
    throw UsageError(describe(path, "a recipe of `flag = value` lines", error.what()));
  }
  std::vector<std::string> flags;
  for (const CLI::ConfigItem& item : items) {
    const std::string flag = "--" + item.name;
    if (!item.parents.empty()) throw UsageError(describe(path, "flags only", "the section " + item.parents.front()));
    const bool given = std::any_of(arguments.begin(), arguments.end(), [&](const std::string& argument) {
      return argument == flag || argument.starts_with(flag + "=");
    });
    if (given) continue;
    // `flag = true` and `flag = false` are how a recipe sets and clears a switch.
    if (item.inputs.size() == 1 && item.inputs[0] == "false") continue;
    flags.push_back(flag);
    if (item.inputs.size() == 1 && item.inputs[0] == "true") continue;
    flags.insert(flags.end(), item.inputs.begin(), item.inputs.end());
  }
  // Behind the verb and what stands alone there, which a list at the recipe's end would take for its own.
  const auto first_flag =
      std::ranges::find_if(arguments, [](const std::string& argument) { return argument.starts_with("-"); });
  arguments.insert(first_flag, flags.begin(), flags.end());
  return arguments;
}

namespace {

std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(seconds);
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

class Bar : public Progress {
 public:
  Bar() : terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Bar() override { clear(); }

  void begin(const std::string& label, int64_t total) override {
    label_ = label;
    total_ = total;
    done_ = first_ = 0;
    started_ = drawn_ = Clock::now();
    draw(true);
  }

  void advance(int64_t units, const std::string& status) override {
    // What a resume finds done already says nothing about the pace.
    if (done_ == 0 && status.empty() && units > 1) first_ = units;
    done_ += units;
    status_ = status;
    draw(false);
  }

  void end() override {
    draw(true);
    if (terminal_) std::fputc('\n', stderr);
    label_.clear();
  }

  void note(const std::string& message) override {
    clear();
    fmt::print(stderr, "{}\n", message);
    if (terminal_ && !label_.empty()) draw(true);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void clear() {
    if (terminal_ && !label_.empty()) std::fputs("\r\033[K", stderr);
  }

  void draw(bool now) {
    const auto time = Clock::now();
    const double interval = terminal_ ? 0.1 : 15.0;
    if (!now && std::chrono::duration<double>(time - drawn_).count() < interval) return;
    drawn_ = time;
    const double elapsed = std::chrono::duration<double>(time - started_).count();
    const int64_t fresh = done_ - first_;
    const std::string left =
        fresh > 0 && done_ < total_
            ? duration(elapsed * static_cast<double>(total_ - done_) / static_cast<double>(fresh)) + " left"
            : duration(elapsed);
    const std::string figures = fmt::format("{}/{}  {}{}{}", done_, total_, left, status_.empty() ? "" : "  ", status_);
    if (!terminal_) {
      fmt::print(stderr, "{}: {}\n", label_, figures);
      return;
    }
    constexpr int kWidth = 30;
    const int filled = total_ > 0 ? static_cast<int>(kWidth * done_ / total_) : 0;
    std::string bar;
    for (int i = 0; i < kWidth; ++i) bar += i < filled ? "━" : "╌";
    fmt::print(stderr, "\r\033[K{} {} {}", label_, bar, figures);
    std::fflush(stderr);
  }

  bool terminal_;
  std::string label_, status_;
  int64_t total_ = 0, done_ = 0, first_ = 0;
  Clock::time_point started_, drawn_;
};

// Of all ranks but the first, which says what they have in common.
class Warnings : public Progress {
 public:
  void warn(const std::string& message) override { fmt::print(stderr, "{}\n", message); }
};

}  // namespace

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+=@%";
  if (!text.empty() && text.find_first_not_of(kSafe) == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string& command_line() {
  static std::string line;
  return line;
}

std::unique_ptr<Progress> make_progress(const Ranks& ranks) {
  if (ranks.is_root()) return std::make_unique<Bar>();
  return std::make_unique<Warnings>();
}

}  // namespace readback::cli
