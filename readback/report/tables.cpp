#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::MetricSummary;
using roundtrip::RankCurve;
using roundtrip::Role;

namespace {

constexpr size_t kOpenCurves = 6;

Markup column(const char* name, bool numeric = true) {
  return element(numeric ? "th.n" : "th", Attributes{{"scope", "col"}}, name);
}

Markup scrolling(const std::string& label, const Markup& table) {
  return element("div.scroll", Attributes{{"tabindex", "0"}, {"role", "region"}, {"aria-label", label}}, table);
}

const char* arrow(const score::MetricInfo& metric) {
  return metric.direction == score::Direction::kHigherIsBetter ? "↑" : "↓";
}

const char* better(const score::MetricInfo& metric) {
  return metric.direction == score::Direction::kHigherIsBetter ? "higher is better" : "lower is better";
}

Markup metric_name(const score::MetricInfo& metric) {
  Markup formula = metric.formula;
  if (!metric.checkpoint.empty()) formula += Markup("; ") + element("code", metric.checkpoint);
  return element("details.formula", element("summary", Attributes{{"title", metric.formula}}, metric.title),
                 element("p", element("code", metric.name), " ", formula));
}

Markup curve_card(const RankCurve& curve) {
  Markup left_out;
  if (curve.left_out > 0) {
    std::string text = counted(curve.left_out, "sample", "samples") + " left out";
    if (curve.flagged > 0) text += fmt::format(", {} for a blanked picture", curve.flagged);
    left_out = element("span", text);
  }
  Markup detail;
  if (std::isnan(curve.difference.low)) {  // a value of whole sets
    detail = element("span", "Δ ", signed_number(curve.difference.mean), ", of sets: no interval, no correlation");
  } else {
    detail = element("span", "Δ ", signed_number(curve.difference.mean), " (", interval(curve.difference), ")") +
             element("span", "ρ ", number(curve.spearman)) + element("span", "τ ", number(curve.kendall)) +
             element("span", "ρ within ", number(curve.spearman_within.mean));
  }
  return element("figure.curve-card",
                 element("figcaption", element("strong", curve.quality.title, " ", arrow(curve.quality)),
                         element("span", "by ", curve.distance.title)),
                 rank_plot(curve), element("p.detail", detail, left_out));
}

Markup summary_rows(const Way& way, Role role) {
  Markup rows;
  for (const MetricSummary& summary : way.summaries) {
    if (summary.role != role) continue;
    const double floor_low = std::isnan(summary.floor.low) ? summary.mean.low : summary.floor.low;
    const double floor_high = std::isnan(summary.floor.high) ? summary.mean.high : summary.floor.high;
    const Range range = {std::min({0.0, summary.mean.low, floor_low}), std::max({summary.mean.high, floor_high, 1e-9})};
    rows += element("tr", element("th", Attributes{{"scope", "row"}}, metric_name(summary.metric)),
                    element("td", Attributes{{"title", better(summary.metric)}}, arrow(summary.metric)),
                    element("td.n", element("strong", number(summary.mean.mean))),
                    element("td.n.soft", interval(summary.mean)), element("td.n", number(summary.floor.mean)),
                    element("td.drawn", range_bar(summary.mean, summary.floor, range)),
                    element("td.n.soft", std::to_string(summary.mean.count)));
  }
  return rows;
}

Markup summary_table(const Way& way) {
  const auto group = [&](Role role, const std::string& name) {
    const Markup rows = summary_rows(way, role);
    if (rows.empty()) return rows;
    return element("tbody",
                   element("tr.group-row", element("th", Attributes{{"colspan", "7"}, {"scope", "rowgroup"}}, name)),
                   rows);
  };
  const Markup body = group(Role::kQuality, fmt::format("There: the {} in the middle", middle(way.direction))) +
                      group(Role::kDistance, fmt::format("And back: the {} at the end", end(way.direction)));
  if (body.empty()) return {};
  const Markup head =
      element("thead", element("tr", column("Score", false), column("", false), column("mean"), column("95 % interval"),
                               column("random pairs"), column("", false), column("samples")));
  return element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                 element("h3", title(way.direction)),
                 scrolling("Scores, " + title(way.direction), element("table", head, body)));
}

Markup curve_table(const Way& way) {
  Markup rows;
  for (const RankCurve& curve : way.curves) {
    rows += element(
        "tr", element("th", Attributes{{"scope", "row"}}, curve.distance.title),
        element("td", curve.quality.title, " ", arrow(curve.quality)),
        element("td.n", element("strong", signed_number(curve.difference.mean))),
        element("td.n.soft", interval(curve.difference)), element("td.n", number(curve.spearman)),
        element("td.n", number(curve.kendall)), element("td.n", number(curve.spearman_within.mean)),
        element("td.n.soft", interval(curve.spearman_within)), element("td.n", number(curve.kendall_within.mean)),
        element("td.n.soft", interval(curve.kendall_within)), element("td.n.soft", std::to_string(curve.samples)));
  }
  if (rows.empty()) return {};
  const Markup head = element("thead", element("tr", column("Distance", false), column("Quality", false),
                                               column("rank 0 − last"), column("95 % interval"), column("Spearman ρ"),
                                               column("Kendall τ"), column("ρ within samples"), column("95 % interval"),
                                               column("τ within samples"), column("95 % interval"), column("samples")));
  return element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                 element("h3", title(way.direction)),
                 scrolling("Correlations, " + title(way.direction), element("table", head, element("tbody", rows))));
}

}  // namespace

Markup curves(const ReportData& data) {
  Markup body, tables;
  for (const Way& way : data.ways) {
    if (way.curves.empty() || data.candidates < 2) continue;
    Markup first, more;
    for (size_t i = 0; i < way.curves.size(); ++i) (i < kOpenCurves ? first : more) += curve_card(way.curves[i]);
    if (!more.empty()) {
      more = element(
          "details.more",
          element("summary", fmt::format("{} more pairs of distance and quality", way.curves.size() - kOpenCurves)),
          element("div.plots", more));
    }
    body += element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                    element("h3", title(way.direction)), element("div.plots", first), more);
    tables += curve_table(way);
  }
  if (body.empty()) return {};
  const Markup lead =
      "The quality of what was in the middle, against the rank of what came back: where the line falls, the nearest "
      "reconstruction came from the best understanding. Better is up in every plot; the band is the 95 % bootstrap "
      "interval over samples. Δ is rank 0 minus the last rank; Spearman’s ρ and Kendall’s τ, over all candidates and "
      "within samples, are positive where nearer goes with better. The pairs that agree most within samples come "
      "first.";
  return section("curves", "Rank curves", lead,
                 body + element("details.more", element("summary", "All correlations as a table"), tables));
}

Markup scores(const ReportData& data) {
  Markup tables;
  for (const Way& way : data.ways) tables += summary_table(way);
  if (tables.empty()) return {};
  const Markup lead =
      "Means over samples, each the mean over its candidates, with 95 % bootstrap intervals. Random pairs are what "
      "models that understand nothing would get. A score’s name opens its formula.";
  return section("scores", "Every score", lead,
                 element("p.legend", element("span.key.dot", ""), " mean and interval ", element("span.key.floor", ""),
                         " random pairs") +
                     tables);
}

}  // namespace readback::report
