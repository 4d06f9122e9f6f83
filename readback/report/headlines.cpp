#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::Direction;
using roundtrip::RankCurve;

namespace {

// A large figure, what it is, and how sure.
Markup figure(const std::string& where, const std::string& value, const Markup& meaning, const Markup& detail,
              const Markup& bar) {
  return element("div.figure", element("h4", where), element("p.value", value), element("p.meaning", meaning), bar,
                 element("p.detail", detail));
}

// Of a floor or a ceiling, where there is one.
template <typename Shown>
Markup bound(const char* what, const score::Interval& interval, const Shown& shown) {
  return std::isnan(interval.mean) ? Markup() : element("span.bound", std::string(what) + " " + shown(interval.mean));
}

constexpr const char* kRandomPairs = "random pairs";
constexpr const char* kWithoutWords = "drawn anew without words";

Markup accuracy_figure(const std::string& where, const std::string& what, const Accuracy& accuracy) {
  Markup detail =
      element("span", fmt::format("95 %: {} to {}", percent(accuracy.score.low), percent(accuracy.score.high)));
  detail += bound(kRandomPairs, accuracy.floor, percent) + bound(kWithoutWords, accuracy.ceiling, percent);
  detail += element("span", percent(accuracy.entirely.mean) + " entirely right");
  return figure(where, percent(accuracy.score.mean), "semantic accuracy of the " + what + "s", detail,
                range_bar(accuracy.score, accuracy.floor, {0, 1}));
}

Markup metric_figure(const std::string& where, const roundtrip::MetricSummary& summary) {
  Markup detail = element("span", "95 %: ", interval(summary.mean));
  detail += bound(kRandomPairs, summary.floor, number) + bound(kWithoutWords, summary.ceiling, number);
  const double top = std::max({summary.mean.high, std::isnan(summary.floor.high) ? 0 : summary.floor.high, 1e-9});
  const double bottom = std::min({0.0, summary.mean.low, std::isnan(summary.floor.low) ? 0 : summary.floor.low});
  const bool higher = summary.metric.direction == score::Direction::kHigherIsBetter;
  return figure(where, number(summary.mean.mean),
                summary.metric.title + (higher ? ", higher is better" : ", lower is better"), detail,
                range_bar(summary.mean, summary.floor, {bottom, 1.1 * top}));
}

Markup figures(const Way& way) {
  const auto one = [&](const char* where, const char* what, const std::optional<Accuracy>& accuracy,
                       const std::optional<score::MetricInfo>& metric) {
    if (accuracy) return accuracy_figure(where, what, *accuracy);
    const auto found = std::ranges::find_if(way.summaries, [&](const roundtrip::MetricSummary& summary) {
      return metric && summary.metric.name == metric->name;
    });
    return found == way.summaries.end() ? Markup() : metric_figure(where, *found);
  };
  return one("There", middle(way.direction), way.there, way.quality) +
         one("and back", end(way.direction), way.back, way.distance);
}

// What the rank says about the middle, for every quality, by the distance that candidates are ranked by.
Markup ranks(const Way& way, int64_t candidates) {
  Markup rows;
  for (const roundtrip::MetricSummary& summary : way.summaries) {
    const auto found = std::ranges::find_if(way.curves, [&](const RankCurve& curve) {
      return way.distance && curve.distance.name == way.distance->name && curve.quality.name == summary.metric.name;
    });
    if (found == way.curves.end()) continue;
    const Verdict said = verdict(*found);
    const auto [style, word] = said == Verdict::kYes  ? std::pair("span.verdict.yes", "better")
                               : said == Verdict::kNo ? std::pair("span.verdict.no", "worse")
                                                      : std::pair("span.verdict.open", "undecided");
    rows += element("tr", element("th", Attributes{{"scope", "row"}}, summary.metric.title),
                    element("td.n", element("strong", signed_number(found->difference.mean))),
                    element("td.n.soft", interval(found->difference)), element("td", element(style, word)));
  }
  if (rows.empty() || candidates < 2) return {};
  return element("div.ranks",
                 element("h4", fmt::format("Did the nearest {} come from the better {}?", end(way.direction),
                                           middle(way.direction))),
                 element("p.meaning", fmt::format("Quality at rank 0 minus rank {}, ranked by {}.", candidates - 1,
                                                  way.distance->title)),
                 scrolling("Rank differences",
                           element("table",
                                   element("thead", element("tr", column("Quality", false), column("difference"),
                                                            column("95 % interval"), column("nearest is", false))),
                                   element("tbody", rows))));
}

}  // namespace

Markup headlines(const ReportData& data) {
  Markup cards;
  for (const Way& way : data.ways) {
    const Markup shown = figures(way), table = ranks(way, data.candidates);
    if (shown.empty() && table.empty()) continue;
    cards += element("article", Attributes{{"class", std::string("card ") + roundtrip::name(way.direction)}},
                     element("h3", title(way.direction)), element("div.figures", shown), table);
  }
  if (cards.empty()) {
    cards = element("p.meaning", "This run has not been measured: there are no scores yet.");
  }
  Markup notes;
  if (data.truncated_prompts > 0) {
    notes += element("li", counted(data.truncated_prompts, "text was", "texts were") +
                               " longer than the generator’s text encoder and cut.");
  }
  if (data.flagged_images > 0) {
    notes += element("li", counted(data.flagged_images, "picture was", "pictures were") +
                               " blanked by the generator’s safety checker, of " +
                               counted(data.flagged_samples, "sample", "samples") +
                               ". They are in no mean, and their samples in no rank curve.");
  }
  if (data.failed_samples > 0) {
    notes += element(
        "li",
        fmt::format("{} of {} failed. The first: ", counted(data.failed_samples, "sample", "samples"), data.samples),
        element("em", data.errors.front().sample), ", ", data.errors.front().message, ". ",
        element("a", Attributes{{"href", "#errors"}}, "All of them"));
  }
  for (const std::string& note : data.notes) notes += element("li", note);
  return element("section", Attributes{{"id", "figures"}, {"aria-label", "Headline figures"}},
                 element("div.cards", cards), notes.empty() ? notes : element("ul.notes", notes));
}

}  // namespace readback::report
