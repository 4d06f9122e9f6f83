// Drawings of numbers as inline SVG; colours come from the style sheet.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "readback/report/html.h"
#include "readback/roundtrip/curves.h"

namespace readback::report {

// About `count` round numbers within [low, high]. Errors: none; low == high gives one.
std::vector<double> ticks(double low, double high, int count);

// Quality against rank with its 95 % band. Better is always up: the axis runs downwards for metrics where lower is
// better. Every point says its value when pointed at.
Markup rank_plot(const roundtrip::RankCurve& curve);

// Values over a training's steps, or whatever `unit` counts, in their order; NaN where there was none.
struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // step, value
  std::string unit = "step";
};
Markup series_plot(const Series& series);

// A metric against the rounds of a message, [0] is round 1, with its 95 % band; random pairs of each round dashed; and
// where the half-life ends (workflow/telephone_summary.h). Better is always up.
struct DriftCurve {
  std::string name;
  bool higher_is_better = true;
  std::vector<score::Interval> rounds;
  std::vector<double> floor;  // NaN: none
  double half_life = 0;       // in rounds after the first; NaN: none to mark
};
Markup drift_plot(const DriftCurve& curve);

// A line from `low` to `high` with the mean's dot and its interval, and the floor of random pairs as a hollow mark.
struct Range {
  double low = 0, high = 1;
};
Markup range_bar(const score::Interval& mean, const score::Interval& floor, const Range& range);

// An arc that leads from one thing to the next: the page's emblem.
Markup arc();
Markup emblem();

}  // namespace readback::report
