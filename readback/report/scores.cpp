#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::MetricSummary;
using roundtrip::Role;

namespace {

const char* better(const score::MetricInfo& metric) {
  return metric.direction == score::Direction::kHigherIsBetter ? "higher is better" : "lower is better";
}

Markup metric_name(const score::MetricInfo& metric) {
  Markup formula = metric.formula;
  if (!metric.checkpoint.empty()) formula += Markup("; ") + element("code", metric.checkpoint);
  return element("details.formula", element("summary", Attributes{{"title", metric.formula}}, metric.title),
                 element("p", element("code", metric.name), " ", formula));
}

// Whether the way's pictures were drawn anew without words, too.
bool has_ceiling(const Way& way) {
  return std::ranges::any_of(way.summaries, [](const MetricSummary& summary) { return summary.ceiling.count > 0; });
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
                    has_ceiling(way) ? element("td.n", number(summary.ceiling.mean)) : Markup(),
                    element("td.drawn", range_bar(summary.mean, summary.floor, range)),
                    element("td.n.soft", std::to_string(summary.mean.count)));
  }
  return rows;
}

// Each score of all samples, and beside it that of every domain.
Markup domain_table(const Way& way) {
  if (way.domains.empty()) return {};
  const auto cell = [](const std::vector<MetricSummary>& summaries, const MetricSummary& wanted) {
    const auto found =
        std::ranges::find(summaries, wanted.metric.name, [](const auto& row) { return row.metric.name; });
    if (found == summaries.end()) return element("td.n", "–");
    return element("td.n", Attributes{{"title", counted(found->mean.count, "sample", "samples")}},
                   element("strong", number(found->mean.mean)), element("div.soft", interval(found->mean)));
  };
  Markup rows, names = column("all");
  for (const DomainResults& domain : way.domains) {
    names += element("th.n", Attributes{{"scope", "col"}}, domain.name,
                     element("div.soft", counted(domain.samples, "sample", "samples")));
  }
  for (const MetricSummary& summary : way.summaries) {
    Markup cells = cell(way.summaries, summary);
    for (const DomainResults& domain : way.domains) cells += cell(domain.summaries, summary);
    rows += element("tr", element("th", Attributes{{"scope", "row"}}, summary.metric.title),
                    element("td", Attributes{{"title", better(summary.metric)}}, arrow(summary.metric)), cells);
  }
  const Markup head = element("thead", element("tr", column("By domain", false), column("", false), names));
  return scrolling("Scores by domain, " + title(way.direction), element("table", head, element("tbody", rows)));
}

Markup summary_table(const Way& way) {
  const auto group = [&](Role role, const std::string& name) {
    const Markup rows = summary_rows(way, role);
    if (rows.empty()) return rows;
    return element(
        "tbody",
        element("tr.group-row",
                element("th", Attributes{{"colspan", has_ceiling(way) ? "8" : "7"}, {"scope", "rowgroup"}}, name)),
        rows);
  };
  const Markup body = group(Role::kQuality, fmt::format("There: the {} in the middle", middle(way.direction))) +
                      group(Role::kDistance, fmt::format("And back: the {} at the end", end(way.direction)));
  if (body.empty()) return {};
  const Markup head =
      element("thead", element("tr", column("Score", false), column("", false), column("mean"), column("95 % interval"),
                               column("random pairs"), has_ceiling(way) ? column("without words") : Markup(),
                               column("", false), column("samples")));
  return element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                 element("h3", title(way.direction)),
                 scrolling("Scores, " + title(way.direction), element("table", head, body)), domain_table(way));
}

}  // namespace

Markup scores(const ReportData& data) {
  Markup tables;
  for (const Way& way : data.ways) tables += summary_table(way);
  if (tables.empty()) return {};
  Markup lead =
      "Means over samples, each the mean over its candidates, with 95 % bootstrap intervals. Random pairs are what "
      "models that understand nothing would get. A score’s name opens its formula.";
  if (std::ranges::any_of(data.ways, has_ceiling)) {
    lead +=
        " Without words: what an unCLIP brings back from each picture’s own embedding, the most that a description "
        "could do for it.";
  }
  return section("scores", "Every score", lead,
                 element("p.legend", element("span.key.dot", ""), " mean and interval ", element("span.key.floor", ""),
                         " random pairs") +
                     tables);
}

}  // namespace readback::report
