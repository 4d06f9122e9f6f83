#include "readback/report/learning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/report/page.h"
#include "readback/report/plot.h"
#include "readback/report/training.h"

namespace readback::report {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// The judgements of rounds 0, 1, … as far as there are any.
std::vector<json> read_rounds(const fs::path& folder) {
  std::vector<json> rounds;
  for (int64_t number = 0;; ++number) {
    const fs::path file = folder / "rounds" / std::to_string(number) / "judgement.json";
    if (!fs::exists(file)) return rounds;
    rounds.push_back(read_json(file));
    if (!rounds.back().is_object() || !rounds.back().contains("metrics")) {
      throw DataError(describe(file.string(), "a judgement of a round", rounds.back().dump()));
    }
  }
}

double number_of(const json& value) { return value.is_number() ? value.get<double>() : NAN; }

// One metric in all rounds.
struct Row {
  json about;                // of its first round
  std::vector<json> rounds;  // null where it was not measured
};

std::vector<Row> rows_of(const std::vector<json>& rounds, const std::string& direction) {
  std::vector<Row> rows;
  for (size_t round = 0; round < rounds.size(); ++round) {
    for (const json& metric : rounds[round]["metrics"]) {
      if (metric.at("direction") != direction) continue;
      auto row = std::ranges::find_if(rows, [&](const Row& r) { return r.about["metric"] == metric["metric"]; });
      if (row == rows.end()) row = rows.insert(rows.end(), {metric, std::vector<json>(rounds.size())});
      row->rounds[round] = metric;
    }
  }
  std::ranges::stable_sort(rows, {}, [](const Row& row) { return row.about["role"] != "reward"; });
  return rows;
}

Markup cell(const json& metric) {
  if (metric.is_null()) return element("td.n", "–");
  const json& value = metric["value"];
  const std::string verdict = metric.value("verdict", "");
  const char* sign = verdict == "better" ? " ✓" : verdict == "worse" ? " ✗" : "";
  return element(
      "td.n", Attributes{{"title", verdict.empty() ? "no change that its interval excludes" : verdict}},
      element("strong", number(number_of(value["mean"])) + sign),
      element("div.soft", fmt::format("{} to {}", number(number_of(value["low"])), number(number_of(value["high"])))));
}

Markup round_heads(size_t rounds) {
  Markup heads;
  for (size_t i = 0; i < rounds; ++i) heads += column(i == 0 ? "start" : ("round " + std::to_string(i)).c_str());
  return heads;
}

Markup table_of(const std::vector<Row>& rows, size_t rounds, const std::string& label) {
  Markup body;
  for (const Row& row : rows) {
    Markup cells;
    for (const json& round : row.rounds) cells += cell(round);
    body += element("tr", element("th", Attributes{{"scope", "row"}}, row.about["title"].get<std::string>()),
                    element("td", row.about["role"].get<std::string>()),
                    element("td", row.about["better"] == "lower" ? "↓" : "↑"),
                    element("td.n", number(number_of(row.about["floor"]))), cells);
  }
  const Markup head = element("thead", element("tr", column("Metric", false), column("role", false), column("", false),
                                               column("random pairs"), round_heads(rounds)));
  return scrolling(label, element("table", head, element("tbody", body)));
}

Markup plots_of(const std::vector<Row>& rows) {
  Markup cards;
  for (const Row& row : rows) {
    Series series{row.about["title"], {}, "round"};
    for (size_t i = 0; i < row.rounds.size(); ++i) {
      const json& round = row.rounds[i];
      series.points.emplace_back(static_cast<double>(i), round.is_null() ? NAN : number_of(round["value"]["mean"]));
    }
    cards += element(
        "figure.curve-card",
        element("figcaption", element("strong", series.name), element("span", row.about["role"].get<std::string>())),
        series_plot(series));
  }
  return element("div.plots.i2t2i", cards);
}

Markup direction_section(const std::vector<json>& rounds, roundtrip::Direction direction) {
  const std::vector<Row> rows = rows_of(rounds, roundtrip::name(direction));
  if (rows.empty()) return {};
  return section(roundtrip::name(direction), title(direction),
                 "Of held-out samples, one candidate each. The reward is what candidates were chosen by; the other "
                 "metrics were not looked at while learning. ✓ and ✗: better or worse than the round before, by an "
                 "interval that holds for all held-out metrics together.",
                 table_of(rows, rounds.size(), title(direction)) + (rounds.size() > 1 ? plots_of(rows) : Markup()));
}

// Drift and variety.
Markup other_section(const std::vector<json>& rounds) {
  const std::tuple<const char*, const char*, const char*> kinds[] = {
      {"drift", "captioner", "Captioner’s divergence from the start, nats a token"},
      {"drift", "generator", "Generator’s squared difference from the start"},
      {"captions", "distinct_texts", "Distinct captions by all captions"},
      {"captions", "distinct_1", "Distinct words by all words"},
      {"captions", "distinct_2", "Distinct bigrams by all bigrams"},
      {"captions", "entropy_2", "Entropy of bigrams, bits"},
      {"pictures", "precision", "Precision of pictures"},
      {"pictures", "recall", "Recall of pictures"}};
  Markup body;
  for (const auto& [part, name, label] : kinds) {
    Markup cells;
    bool any = false;
    for (const json& round : rounds) {
      const double value = round.contains(part) ? number_of(round[part].value(name, json())) : NAN;
      any = any || !std::isnan(value);
      cells += element("td.n", std::isnan(value) ? std::string("–") : number(value));
    }
    if (any) body += element("tr", element("th", Attributes{{"scope", "row"}}, label), cells);
  }
  if (body.empty()) return {};
  const Markup head = element("thead", element("tr", column("", false), round_heads(rounds.size())));
  return section("drift", "How far, and how varied",
                 "How far the models moved, and whether what they make is as varied as before.",
                 scrolling("Drift and variety", element("table", head, element("tbody", body))));
}

Markup parting_section(const std::vector<json>& rounds) {
  Markup items;
  for (size_t i = 0; i < rounds.size(); ++i) {
    for (const json& sentence : rounds[i].value("parted", json::array())) {
      items += element("li", fmt::format("Round {}: {}", i, sentence.get<std::string>()));
    }
  }
  if (items.empty()) return {};
  return section("parted", "Where reward and held-out metrics part ways",
                 "Learning ended here, and the models of the round before were kept.", element("ul", items));
}

Markup folders_section(const fs::path& folder, size_t rounds) {
  std::string lines;
  for (size_t round = 1; round < rounds; ++round) {
    for (const char* part : {"pictures", "texts", "trained"}) {
      const fs::path path = folder / "rounds" / std::to_string(round) / part;
      if (fs::exists(path)) lines += "readback report " + path.string() + "\n";
    }
  }
  return lines.empty()
             ? Markup()
             : section("rounds", "Each round by itself", "What was collected, and its losses.", element("pre", lines));
}

std::string lede(const std::vector<json>& rounds) {
  const size_t made = rounds.size() - 1;
  const bool parted = !rounds.back().value("parted", json::array()).empty();
  if (made == 0) return "the models before they learned from what returned.";
  return fmt::format("{} round{} of learning from what returned{}.", made, made == 1 ? "" : "s",
                     !parted     ? ""
                     : made == 1 ? ", which did harm"
                                 : ", the last of which did harm");
}

}  // namespace

bool is_learning(const fs::path& folder) { return fs::exists(folder / "learning.json"); }

std::string render_learning(const fs::path& folder) try {
  const std::vector<json> rounds = read_rounds(folder);
  if (rounds.empty()) {
    throw DataError(describe(folder.string(), "a judged round", "none yet", "Wait until the start is judged"));
  }
  const Markup opening =
      element("header.opening", element("p.brand", emblem(), "readback"), element("h1", "Learning from what returned"),
              element("div.said", element("p.lede", folder.string() + ": " + lede(rounds))));
  const Markup options = section("options", "Options", "All that decide the results, given or by default.",
                                 element("pre", options_of(folder / "learning.json")));
  return document(
      "Learning: " + folder.string(),
      opening + element("main", parting_section(rounds), direction_section(rounds, roundtrip::Direction::kI2T2I),
                        direction_section(rounds, roundtrip::Direction::kT2I2T), other_section(rounds),
                        folders_section(folder, rounds.size()), options));
} catch (const json::exception& error) {
  throw DataError(describe(folder.string(), "judgements of rounds as readback finetune writes them", error.what()));
}

}  // namespace readback::report
