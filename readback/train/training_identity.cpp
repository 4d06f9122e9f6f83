#include "readback/train/training_identity.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/options_difference.h"
#include "readback/base/random.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// Errors: StoreError when a training in `folder` was begun with others than it is asked for now.
void expect_equal(const fs::path& folder, const char* what, const nlohmann::json& before, const nlohmann::json& now,
                  const nlohmann::json& defaults, const char* hint) {
  std::vector<std::string> were, are;
  for (const OptionDifference& difference : option_differences(before, now, defaults)) {
    were.push_back(difference.name + " = " + difference.before);
    are.push_back(difference.name + " = " + difference.now);
  }
  if (were.empty()) return;
  throw StoreError(describe(folder.string(),
                            fmt::format("the {} that it was begun with, {}", what, fmt::join(were, ", ")),
                            fmt::format("{}", fmt::join(are, ", ")), hint));
}

}  // namespace

TrainingIdentity TrainingIdentity::of(nlohmann::json options, nlohmann::json defaults, const Machine& machine,
                                      nlohmann::json start) {
  options["device"] = machine.device_class();
  options["dtype"] = machine.dtype_name();
  options["streams"] = kStreamsVersion;
  return {std::move(options), std::move(defaults), std::move(start)};
}

void keep_identity(const fs::path& file, const fs::path& folder, const TrainingIdentity& identity) {
  if (!fs::exists(file)) {
    write_file(file, nlohmann::json{{"options", identity.options}, {"start", identity.start}}.dump(2) + "\n");
    return;
  }
  const nlohmann::json stored = read_json(file);
  if (!stored.is_object() || !stored.value("options", nlohmann::json()).is_object() ||
      !stored.value("start", nlohmann::json()).is_object()) {
    throw StoreError(describe(file.string(), "the options and the start of a training", stored.dump()));
  }
  expect_equal(folder, "options", stored["options"], identity.options, identity.defaults,
               "Choose another folder, or the same options");
  expect_equal(folder, "models", stored["start"], identity.start, nlohmann::json::object(),
               "They were written anew since; choose another folder, or restore them");
}

}  // namespace readback::train
