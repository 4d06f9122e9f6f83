// The best of N by reading back: of a picture's captions the one that brings the picture back, of a text's pictures the
// one that is read as the text.
#pragma once
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/base/ranks.h"
#include "readback/roundtrip/options.h"
#include "readback/workflow/run.h"

namespace readback::workflow {

struct SelectOptions {
  std::vector<std::string> by;
  roundtrip::RunOptions run;  // its data set, directions and metrics follow from what is asked

  static constexpr auto options() {
    using O = SelectOptions;
    return std::tuple(option(&O::by, "by",
                             "What decides: metrics, likelihood or random; several by their mean rank. Default: "
                             "clip-image for pictures, clip-text for prompts"),
                      nested(&O::run, "run"));
  }
};

struct SelectedCandidate {
  int64_t candidate = 0;
  double reward = 0;              // what it is ranked by; higher is better
  std::string text;               // the caption, or what the picture was read as
  std::filesystem::path picture;  // in the run's folder: what the caption was drawn as, or the picture
  std::vector<double> values;     // by each of `by`
};

struct Selected {
  std::string sample;                         // the picture's path as given, or the prompt's id
  std::string prompt;                         // of pictures: empty
  std::vector<SelectedCandidate> candidates;  // the best first; none where the sample failed
};

struct Selection {
  std::vector<std::string> by;
  std::vector<Selected> samples;  // in the order given
  RunResult run;
};

// The run is an ordinary one: it goes on where it stopped, and `readback report` shows it.
// Errors: as run()'s; UsageError (a picture named twice, what `by` does not know), DataError (a picture's kind is not
// read).
Selection select_captions(const std::vector<std::string>& pictures, const SelectOptions& options,
                          const std::filesystem::path& folder, const Context& context = {}, const Ranks& ranks = {},
                          const std::string& command = "");
// `prompts`: a data set with texts, such as texts:FILE.
Selection select_pictures(const std::string& prompts, const SelectOptions& options, const std::filesystem::path& folder,
                          const Context& context = {}, const Ranks& ranks = {}, const std::string& command = "");

}  // namespace readback::workflow
