// SPICE (Anderson, Fernando, Johnson, Gould 2016) by its authors' Java program.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/error.h"
#include "readback/score/metric.h"
#include "readback/score/text/spice/cache.h"
#include "readback/score/text/spice/install.h"
#include "readback/score/text/spice/result.h"

namespace readback::score {

// Texts as the program gets them: pycocoevalcap gives PTB tokens joined by spaces.
struct SpiceInput {
  std::string candidate;
  std::vector<std::string> references;  // their order decides which of their tuples are merged
};

struct SpiceOptions {
  std::filesystem::path folder = spice_folder();
  std::filesystem::path java = find_java();
  std::filesystem::path cache = spice_cache_folder();
  int64_t batch_size = 500;       // captions that one process scores; loading its models takes some seconds
  int64_t heap_megabytes = 4096;  // enough for captions of kSpiceMaxWords
  double patience = 1;            // multiplies the time after which a process is given up
};

// Its parser takes time with the cube of a sentence's length and memory with the square: longer texts are not tried.
inline constexpr int64_t kSpiceMaxWords = 200;

// SPICE cannot be computed on this machine, whatever the captions.
class SpiceUnusable : public DataError {
 public:
  using DataError::DataError;
};

class Spice {
 public:
  // Errors: SpiceUnusable with spice_absence() when something is missing.
  explicit Spice(SpiceOptions options = {});

  // One score per input. What an earlier run scored comes from the cache, the rest from Java in batches; a batch that
  // fails is halved until what fails is alone, and has its reason in SpiceScore::failure. Errors: Interrupted;
  // SpiceUnusable when the program cannot even score a simple caption.
  std::vector<SpiceScore> score(std::span<const SpiceInput> inputs, const Context& context);

 private:
  struct Task;
  void score_tasks(std::span<Task> tasks, const Context& context);
  std::string run(std::span<Task> tasks) const;  // why it failed, or empty and the tasks have their tables
  void check_program();

  SpiceOptions options_;
  SpiceCache cache_;
  bool works_ = false;
};

// The mean of the captions' SPICE, as pycocoevalcap gives it, over those that have one; NaN when none has.
double corpus_spice(std::span<const SpiceScore> scores);

}  // namespace readback::score
