#include "readback/report/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

namespace fs = std::filesystem;

namespace {

constexpr const char *kLosses = "training/losses.jsonl", *kEvaluations = "training/evaluations.jsonl",
                     *kIdentity = "training/identity.json", *kOlderOptions = "training/options.txt";

// Every number of the file's lines by its name, over the lines' "step".
std::vector<Series> read_series(const fs::path& file) {
  std::vector<Series> all;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    const auto entry = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step")) continue;  // the last line of a training that was killed
    for (const auto& [name, value] : entry.items()) {
      if (name == "step") continue;
      auto found = std::find_if(all.begin(), all.end(), [&name = name](const Series& s) { return s.name == name; });
      if (found == all.end()) found = all.insert(all.end(), {name, {}});
      found->points.emplace_back(entry["step"].get<double>(), value.is_number() ? value.get<double>() : NAN);
    }
  }
  return all;
}

Markup card(const Series& series) {
  return element("figure.curve-card",
                 element("figcaption", element("strong", series.name),
                         element("span", fmt::format("{:.4g} at last", series.points.back().second))),
                 series_plot(series));
}

Markup cards(const std::string& id, const std::string& heading, const std::string& lead,
             const std::vector<Series>& all) {
  Markup body;
  for (const Series& series : all) body += card(series);
  return body.empty() ? body : section(id, heading, lead, element("div.plots.i2t2i", body));
}

}  // namespace

std::string options_of(const fs::path& identity_file) {
  if (!fs::exists(identity_file)) return {};
  std::string lines;
  const nlohmann::json identity = nlohmann::json::parse(read_file(identity_file), nullptr, /*allow_exceptions=*/false);
  if (!identity.is_object() || !identity.contains("options")) return {};
  const nlohmann::json options = identity["options"].flatten();
  for (const auto& [pointer, value] : options.items()) {
    if (value.is_null()) continue;  // left open
    std::string name = pointer.substr(1);
    std::replace(name.begin(), name.end(), '/', '.');
    lines += fmt::format("{} = {}\n", name, value.dump());
  }
  return lines;
}

bool is_training(const fs::path& folder) { return fs::exists(folder / kLosses); }

std::string render_training(const fs::path& folder) {
  const std::vector<Series> losses = read_series(folder / kLosses);
  if (losses.empty()) {
    throw DataError(describe((folder / kLosses).string(), "losses", "none yet", "Wait for the first logged step"));
  }
  const std::vector<Series> evaluations =
      fs::exists(folder / kEvaluations) ? read_series(folder / kEvaluations) : std::vector<Series>{};
  const std::string steps = fmt::format("{:.0f}", losses.front().points.back().first + 1);
  const Markup opening =
      element("header.opening", element("p.brand", emblem(), "readback"), element("h1", "A training"),
              element("div.said", element("p.lede", folder.string() + ": what " + steps + " steps taught.")));
  const std::string names_and_values =
      fs::exists(folder / kOlderOptions) ? read_file(folder / kOlderOptions) : options_of(folder / kIdentity);
  const Markup options = section("options", "Options", "All that decide its weights, given or by default.",
                                 element("pre", names_and_values));
  return document(
      "Training: " + folder.string(),
      opening + element("main", cards("evaluations", "Evaluations", "On samples that are not trained on.", evaluations),
                        cards("losses", "Losses", "Of logged steps, each the mean over its batches.", losses),
                        options));
}

}  // namespace readback::report
