#include <fmt/format.h>

#include <cmath>

#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::RankCurve;

namespace {

constexpr size_t kOpenCurves = 6;

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

}  // namespace readback::report
