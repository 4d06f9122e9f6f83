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

// `label` names the table for those who do not see it.
Markup curve_table(const std::vector<RankCurve>& curves, const std::string& label) {
  Markup rows;
  for (const RankCurve& curve : curves) {
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
  return scrolling("Correlations, " + label, element("table", head, element("tbody", rows)));
}

// The first cards, and the others to be opened.
Markup cards(const std::vector<RankCurve>& curves) {
  Markup first, more;
  for (size_t i = 0; i < curves.size(); ++i) (i < kOpenCurves ? first : more) += curve_card(curves[i]);
  if (!more.empty()) {
    more =
        element("details.more",
                element("summary", fmt::format("{} more pairs of distance and quality", curves.size() - kOpenCurves)),
                element("div.plots", more));
  }
  return element("div.plots", first) + more;
}

Markup of_way(const Way& way, const Markup& body) {
  return element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                 element("h3", title(way.direction)), body);
}

// A domain's curves, in the order of the whole's, to be opened.
Markup of_domains(const Way& way) {
  Markup result;
  for (const DomainResults& domain : way.domains) {
    if (domain.curves.empty()) continue;
    result +=
        element("details.more",
                element("summary", element("strong", domain.name), ", ", counted(domain.samples, "sample", "samples")),
                cards(domain.curves), curve_table(domain.curves, title(way.direction) + ", " + domain.name));
  }
  return result;
}

}  // namespace

Markup curves(const ReportData& data) {
  Markup body, tables;
  for (const Way& way : data.ways) {
    if (way.curves.empty() || data.candidates < 2) continue;
    body += of_way(way, cards(way.curves) + of_domains(way));
    tables += of_way(way, curve_table(way.curves, title(way.direction)));
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
