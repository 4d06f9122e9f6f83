// What every metric looks like; registry.h has the table of them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/image/image.h"

namespace readback::score {

enum class Direction { kLowerIsBetter, kHigherIsBetter };

// What a metric reads of a Comparison.
enum class Inputs {
  kImages,               // candidate image against original image
  kTexts,                // candidate text against original text
  kReferences,           // candidate text against reference texts
  kTextTruth,            // candidate text against the scene's truth
  kImageTruth,           // candidate image against the scene's truth
  kImageText,            // candidate text with original image, or candidate image with original text
  kImageTextReferences,  // candidate text with original image and reference texts
};

const char* inputs_name(Inputs inputs);  // "images", "texts", "references", "text truth", "image truth", …
// none: no inputs have that name.
std::optional<Inputs> parse_inputs(const std::string& name);

struct MetricInfo {
  std::string name;     // for people and in the store: "clip-image", "cider"
  std::string title;    // in tables: "CLIP image distance", "CIDEr"
  std::string formula;  // one line: variant, constants
  Direction direction;
  Inputs inputs;
  std::string checkpoint;  // the repository or file it reads, empty when none
  std::string option;      // of MetricCheckpoints that names it: "clip"; not stored
};

// One candidate with what it is compared to. Only the fields that Inputs names need to be set.
struct Comparison {
  const image::Image* candidate_image = nullptr;
  const image::Image* original_image = nullptr;
  std::string candidate_text;
  std::string original_text;
  std::vector<std::string> references;
  std::string truth;
};

class Metric {
 public:
  virtual ~Metric() = default;
  virtual const MetricInfo& info() const = 0;
  // One value per comparison; NaN where the inputs allow none. Independent of what else is in the batch.
  // Errors: DataError, CheckpointError, Interrupted.
  virtual std::vector<double> score(std::span<const Comparison> comparisons, const Context& context = {}) = 0;

  // Whether many comparisons cost much less at once. Who knows in advance what score() will be asked then gives it all
  // to prepare(), without images. Errors: as score()'s, and Interrupted.
  virtual bool prefers_all_at_once() const { return false; }
  virtual void prepare(std::span<const Comparison> /*comparisons*/, const Context& /*context*/) {}
};

}  // namespace readback::score
