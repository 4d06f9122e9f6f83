#include "readback/score/text/spice/spice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "readback/base/files.h"
#include "readback/base/process.h"
#include "readback/base/sha256.h"

namespace readback::score {

namespace fs = std::filesystem;
using nlohmann::json;

struct Spice::Task {
  const SpiceInput* input;
  std::string key;
  SpiceScore score;
};

namespace {

// spice-1.0.jar keeps its parses with a serialiser that reads private fields of these packages of java.base.
constexpr const char* kOpenedPackages[] = {"java.lang", "java.math", "java.net",
                                           "java.text", "java.util", "java.util.concurrent"};
// The native library of its store is for this platform only.
#if defined(__x86_64__) && defined(__linux__)
constexpr bool kKeepsParses = true;
#else
constexpr bool kKeepsParses = false;
#endif

class TemporaryFolder {
 public:
  TemporaryFolder() : path_((fs::temp_directory_path() / "readback-spice-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw StoreError(describe(path_, "to be made", std::strerror(errno)));
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return fs::path(path_) / name; }

 private:
  std::string path_;
};

int64_t count_words(const std::string& text) {
  std::istringstream stream(text);
  int64_t count = 0;
  for (std::string word; stream >> word;) ++count;
  return count;
}

// A digest of JSON, which is unambiguous about where texts begin and end. Errors: json::exception if not UTF-8.
std::string key_of(const SpiceInput& input) {
  return sha256_hex(json::array({spice_jars()[0].digest, input.candidate, input.references}).dump());
}

// Why an input cannot be given to the program.
std::string objection(const SpiceInput& input) {
  if (input.references.empty()) return "no references";
  int64_t longest = count_words(input.candidate);
  for (const std::string& reference : input.references) longest = std::max(longest, count_words(reference));
  if (longest > kSpiceMaxWords) {
    return fmt::format("a caption of {} words: SPICE's parser takes {} at most", longest, kSpiceMaxWords);
  }
  return "";
}

// Starting and loading, and for each caption several times what it took on one slow core.
std::chrono::milliseconds time_limit(const SpiceInput& input) {
  const auto seconds = [](const std::string& text) {
    return 2 + 300 * std::pow(static_cast<double>(count_words(text)) / 100, 3);
  };
  double total = seconds(input.candidate);
  for (const std::string& reference : input.references) total += seconds(reference);
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * total));
}

// What the parser prints when the heap is too small for a sentence; it goes on without the sentence.
constexpr const char* kOutOfMemory = "OutOfMemoryError";

// What Java says when it fails: the first exception, else the last line.
std::string reason_in(const std::string& errors) {
  std::istringstream lines(errors);
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("Exception") != std::string::npos || line.find(kOutOfMemory) != std::string::npos) {
      const size_t name = line.find("java.");
      return name == std::string::npos ? line : line.substr(name);
    }
    if (!line.empty()) last = line;
  }
  return last.empty() ? "no message" : last;
}

SpiceTable parse_table(const json& scores) {
  SpiceTable table;
  for (size_t i = 0; i < table.size(); ++i) {
    const json& counts = scores.at(kSpiceCategories[i]);
    table[i] = {counts.at("tp").get<int>(), counts.at("fp").get<int>(), counts.at("fn").get<int>()};
  }
  return table;
}

}  // namespace

Spice::Spice(SpiceOptions options) : options_(std::move(options)), cache_(options_.cache / "scores.txt") {
  if (const std::string absence = spice_absence(options_.folder, options_.java); !absence.empty())
    throw SpiceUnusable(absence);
}

std::vector<SpiceScore> Spice::score(std::span<const SpiceInput> inputs, const Context& context) {
  std::vector<SpiceScore> scores(inputs.size());
  std::vector<Task> tasks;
  std::map<std::string, std::vector<size_t>> users;  // by key, so that equal inputs are scored once
  for (size_t i = 0; i < inputs.size(); ++i) {
    try {
      scores[i].failure = objection(inputs[i]);
      if (!scores[i].failure.empty()) continue;
      std::string key = key_of(inputs[i]);
      if (const SpiceTable* known = cache_.find(key)) {
        scores[i].table = *known;
        continue;
      }
      auto& same = users[key];
      if (same.empty()) tasks.push_back({&inputs[i], std::move(key), {}});
      same.push_back(i);
    } catch (const json::exception&) {
      scores[i].failure = "not UTF-8";
    }
  }

  if (tasks.empty()) return scores;
  context.progress().begin("SPICE", static_cast<int64_t>(tasks.size()));
  const auto batch_size = static_cast<size_t>(options_.batch_size);
  for (std::span<Task> rest = tasks; !rest.empty(); rest = rest.subspan(std::min(batch_size, rest.size()))) {
    score_tasks(rest.first(std::min(batch_size, rest.size())), context);
  }
  context.progress().end();
  for (const Task& task : tasks) {
    for (const size_t i : users[task.key]) scores[i] = task.score;
  }
  return scores;
}

void Spice::score_tasks(std::span<Task> tasks, const Context& context) {
  context.check();
  const std::string failure = run(tasks);
  if (failure.empty()) {
    works_ = true;
    std::vector<std::pair<std::string, SpiceTable>> results;
    for (const Task& task : tasks) results.emplace_back(task.key, task.score.table);
    cache_.put(results);
    context.progress().advance(static_cast<int64_t>(tasks.size()));
    return;
  }
  if (!works_) check_program();
  if (tasks.size() == 1) {
    tasks[0].score.failure = failure;
    context.progress().note(fmt::format("SPICE has no value for \"{}\": {}", tasks[0].input->candidate, failure));
    context.progress().advance(1);
    return;
  }
  score_tasks(tasks.first(tasks.size() / 2), context);
  score_tasks(tasks.subspan(tasks.size() / 2), context);
}

// Tells a caption that fails from a program that does not work at all.
void Spice::check_program() {
  const SpiceInput simple{"a dog", {"a dog on a mat"}};
  Task task{&simple, "", {}};
  if (const std::string failure = run(std::span(&task, 1)); !failure.empty()) {
    throw SpiceUnusable(describe("SPICE", "a program that scores \"a dog\"", failure,
                                 fmt::format("Try `{} -version`; Java 17 is known to work", options_.java.string())));
  }
  works_ = true;
}

std::string Spice::run(std::span<Task> tasks) const {
  const TemporaryFolder folder;
  const fs::path input = folder / "input.json", output = folder / "output.json", parses = options_.cache / "parses";
  json captions = json::array();
  std::chrono::milliseconds limit = std::chrono::minutes(2);
  for (size_t i = 0; i < tasks.size(); ++i) {
    captions.push_back({{"image_id", i}, {"test", tasks[i].input->candidate}, {"refs", tasks[i].input->references}});
    limit += time_limit(*tasks[i].input);
  }
  // In ASCII, since the program reads its file in the locale's encoding.
  write_file(input, captions.dump(-1, ' ', true));

  // A single caption gets the whole heap for one sentence at a time.
  const unsigned threads = tasks.size() == 1 ? 1 : std::clamp(std::thread::hardware_concurrency(), 1U, 4U);
  std::string classes = options_.folder / spice_jars()[0].name;
  for (const SpiceJar& jar : spice_jars()) {
    if (jar.maven_path != nullptr) classes += ":" + (options_.folder / jar.name).string();
  }
  ProcessRequest request;
  request.arguments = {options_.java.string(),
                       fmt::format("-Xmx{}m", options_.heap_megabytes),
                       "-cp",
                       classes,
                       "edu.anu.spice.SpiceScorer",
                       input.string(),
                       "-out",
                       output.string(),
                       "-subset",
                       "-silent",
                       "-threads",
                       std::to_string(threads)};
  if (std::error_code error; kKeepsParses && (fs::create_directories(parses, error), !error)) {
    request.arguments.insert(request.arguments.end(), {"-cache", parses.string()});
  }
  // Java 8 does not know the option, nor does it read this variable.
  const char* inherited = std::getenv("JDK_JAVA_OPTIONS");
  std::string java_options = inherited ? inherited : "";
  for (const char* package : kOpenedPackages) {
    java_options += fmt::format(" --add-opens=java.base/{}=ALL-UNNAMED", package);
  }
  request.environment = {"JDK_JAVA_OPTIONS=" + java_options};
  request.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(limit * options_.patience);

  const ProcessResult result = run_process(request);
  if (result.timed_out)
    return fmt::format("no answer in {:.1f} s", static_cast<double>(request.timeout.count()) / 1000);
  if (result.status != 0) return fmt::format("{} (exit status {})", reason_in(result.errors), result.status);
  if (result.errors.find(kOutOfMemory) != std::string::npos) return reason_in(result.errors);
  try {
    const json scored = json::parse(read_file(output));
    if (scored.size() != tasks.size()) return fmt::format("{} results for {} captions", scored.size(), tasks.size());
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (scored[i].at("image_id") != i) return "results in another order";
      tasks[i].score.table = parse_table(scored[i].at("scores"));
    }
  } catch (const json::exception& error) {
    return fmt::format("results that are not as expected: {}", error.what());
  } catch (const DataError&) {
    return fmt::format("no results: {}", reason_in(result.errors));
  }
  return "";
}

double corpus_spice(std::span<const SpiceScore> scores) {
  double sum = 0;
  int64_t count = 0;
  for (const SpiceScore& score : scores) {
    if (!score.failure.empty()) continue;
    sum += score.f();
    ++count;
  }
  return count == 0 ? std::nan("") : sum / static_cast<double>(count);
}

}  // namespace readback::score
