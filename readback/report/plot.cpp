#include "readback/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace readback::report {

namespace {

constexpr double kWidth = 320, kHeight = 190, kLeft = 42, kRight = 308, kTop = 14, kBottom = 156;

std::string place(double x, double y) { return fmt::format("{:.1f},{:.1f}", x, y); }
std::string px(double value) { return fmt::format("{:.1f}", value); }

Markup label(double x, double y, const char* anchor, const Markup& text) {
  return element("text", Attributes{{"x", px(x)}, {"y", px(y)}, {"text-anchor", anchor}}, text);
}

// Values to pixels, better up.
class Axis {
 public:
  Axis(double low, double high, bool higher_is_better) : low_(low), high_(high), up_(higher_is_better) {}
  double y(double value) const {
    const double share = (value - low_) / (high_ - low_);
    return kBottom - (up_ ? share : 1 - share) * (kBottom - kTop);
  }

 private:
  double low_, high_;
  bool up_;
};

// As many decimals as tell the ticks apart.
std::string tick_label(double value, double step) {
  int decimals = 0;
  for (double scaled = step; decimals < 6 && std::abs(scaled - std::round(scaled)) > 1e-6; scaled *= 10) ++decimals;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.starts_with('-')) text.replace(0, 1, "−");
  return text;
}

}  // namespace

std::vector<double> ticks(double low, double high, int count) {
  if (!(high > low)) return {low};
  const double rough = (high - low) / count, unit = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * unit;
  for (double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * unit >= rough) {
      step = factor * unit;
      break;
    }
  }
  std::vector<double> result;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i)
    result.push_back(i * step + 0.0);  // never -0
  return result;
}

namespace {

// What an axis shows of values from low to high: a little more.
Range widened(double low, double high) {
  if (!(high > low)) {
    const double half = low == 0 ? 0.5 : std::abs(low) / 2;
    low -= half;
    high += half;
  }
  const double margin = 0.06 * (high - low);
  return {low - margin, high + margin};
}

// Lines at round values, with their numbers at the left.
Markup grid(const Range& range, const Axis& axis) {
  Markup drawing;
  const std::vector<double> marks = ticks(range.low, range.high, 4);
  const double step = marks.size() > 1 ? marks[1] - marks[0] : range.high - range.low;
  for (double mark : marks) {
    const double y = axis.y(mark);
    drawing += element("line.grid", Attributes{{"x1", px(kLeft)}, {"x2", px(kRight)}, {"y1", px(y)}, {"y2", px(y)}});
    drawing += label(kLeft - 7, y + 3.5, "end", tick_label(mark, step));
  }
  return drawing;
}

Markup plot(const std::string& description, const Markup& drawing) {
  return element(
      "svg.plot",
      Attributes{{"viewBox", fmt::format("0 0 {} {}", kWidth, kHeight)}, {"role", "img"}, {"aria-label", description}},
      drawing);
}

}  // namespace

Markup series_plot(const Series& series) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& [step, value] : series.points) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (!(high >= low)) return plot(series.name + ": no values", {});
  const Range range = widened(low, high);
  const Axis axis(range.low, range.high, /*higher_is_better=*/true);
  const double first = series.points.front().first, last = std::max(series.points.back().first, first + 1);
  const auto x = [&](double step) { return kLeft + (step - first) / (last - first) * (kRight - kLeft); };
  Markup drawing = grid(range, axis);
  std::string line;
  Markup dots;
  for (const auto& [step, value] : series.points) {
    if (!std::isfinite(value)) continue;
    line += place(x(step), axis.y(value)) + " ";
    if (series.points.size() > 60) continue;
    dots += element("circle.dot", Attributes{{"cx", px(x(step))}, {"cy", px(axis.y(value))}, {"r", "2.6"}},
                    element("title", fmt::format("step {:.0f}: {}", step, number(value))));
  }
  drawing += element("polyline.curve", Attributes{{"points", line}}) + dots;
  for (double mark : ticks(first, last, static_cast<int>(std::min(4.0, last - first)))) {  // whole steps
    drawing += label(x(mark), kBottom + 17, "middle", fmt::format("{:.0f}", mark));
  }
  drawing += label((kLeft + kRight) / 2, kHeight - 2, "middle", series.unit);
  return plot(fmt::format("{} from {} to {} over {:.0f} steps", series.name, number(series.points.front().second),
                          number(series.points.back().second), last - first),
              drawing);
}

Markup rank_plot(const roundtrip::RankCurve& curve) {
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
  for (const score::Interval& rank : curve.ranks) {
    lowest = std::min({lowest, rank.low, rank.mean});
    highest = std::max({highest, rank.high, rank.mean});
  }
  const auto [low, high] = widened(lowest, highest);
  const Axis axis(low, high, curve.quality.direction == score::Direction::kHigherIsBetter);
  const size_t n = curve.ranks.size();
  const auto x = [&](size_t rank) {
    return n < 2 ? (kLeft + kRight) / 2
                 : kLeft + 8 + static_cast<double>(rank) * (kRight - kLeft - 16) / static_cast<double>(n - 1);
  };

  Markup drawing = grid({low, high}, axis);
  std::string upper, lower, line;
  const bool has_band = n > 0 && !std::isnan(curve.ranks.front().low);  // values of whole sets have none
  Markup dots;
  for (size_t i = 0; i < n; ++i) {
    const score::Interval& rank = curve.ranks[i];
    if (has_band) {
      upper += place(x(i), axis.y(rank.high)) + " ";
      lower = place(x(i), axis.y(rank.low)) + " " + lower;
    }
    line += place(x(i), axis.y(rank.mean)) + " ";
    dots += element("circle.dot", Attributes{{"cx", px(x(i))}, {"cy", px(axis.y(rank.mean))}, {"r", "3.2"}},
                    element("title", fmt::format("rank {}: {} ({} to {})", i, number(rank.mean), number(rank.low),
                                                 number(rank.high))));
    if (n <= 12 || i % ((n + 9) / 10) == 0) drawing += label(x(i), kBottom + 17, "middle", std::to_string(i));
  }
  if (has_band) drawing += element("polygon.band", Attributes{{"points", upper + lower}});
  drawing += element("polyline.curve", Attributes{{"points", line}});
  drawing += dots;
  drawing += label((kLeft + kRight) / 2, kHeight - 2, "middle", "← nearest · rank · farthest →");

  std::string description = fmt::format("{} by rank of {}", curve.quality.title, curve.distance.title);
  if (n > 0) {
    description += fmt::format(": {} at rank 0, {} at rank {}", number(curve.ranks.front().mean),
                               number(curve.ranks.back().mean), n - 1);
  }
  return plot(description, drawing);
}

Markup drift_plot(const DriftCurve& curve) {
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
  for (size_t i = 0; i < curve.rounds.size(); ++i) {
    for (const double value : {curve.rounds[i].low, curve.rounds[i].mean, curve.rounds[i].high, curve.floor[i]}) {
      if (std::isnan(value)) continue;
      lowest = std::min(lowest, value);
      highest = std::max(highest, value);
    }
  }
  if (!(highest >= lowest)) return plot(curve.name + ": no values", {});
  const auto [low, high] = widened(lowest, highest);
  const Axis axis(low, high, curve.higher_is_better);
  const size_t n = curve.rounds.size();
  const auto x = [&](double place) {  // 0: round 1
    return n < 2 ? (kLeft + kRight) / 2 : kLeft + 8 + place * (kRight - kLeft - 16) / static_cast<double>(n - 1);
  };
  Markup drawing = grid({low, high}, axis), dots;
  std::string upper, lower, line, floor;
  for (size_t i = 0; i < n; ++i) {
    const score::Interval& round = curve.rounds[i];
    const double at = x(static_cast<double>(i));
    if (n <= 12 || i % ((n + 9) / 10) == 0) drawing += label(at, kBottom + 17, "middle", std::to_string(i + 1));
    if (!std::isnan(curve.floor[i])) floor += place(at, axis.y(curve.floor[i])) + " ";
    if (std::isnan(round.mean)) continue;
    upper += place(at, axis.y(round.high)) + " ";
    lower = place(at, axis.y(round.low)) + " " + lower;
    line += place(at, axis.y(round.mean)) + " ";
    if (n <= 60) {
      dots +=
          element("circle.dot", Attributes{{"cx", px(at)}, {"cy", px(axis.y(round.mean))}, {"r", "2.6"}},
                  element("title", fmt::format("round {}: {} ({} to {}), random pairs {}", i + 1, number(round.mean),
                                               number(round.low), number(round.high), number(curve.floor[i]))));
    }
  }
  drawing += element("polygon.band", Attributes{{"points", upper + lower}}) +
             element("polyline.pairs", Attributes{{"points", floor}}) +
             element("polyline.curve", Attributes{{"points", line}}) + dots;
  double half = std::numeric_limits<double>::quiet_NaN();  // the curve's value there
  if (std::isfinite(curve.half_life) && n > 1) {
    const auto before = std::min(static_cast<size_t>(curve.half_life), n - 2);
    const double share = curve.half_life - static_cast<double>(before);
    half = (1 - share) * curve.rounds[before].mean + share * curve.rounds[before + 1].mean;
  }
  if (!std::isnan(half)) {
    const std::string at = px(x(curve.half_life)), height = px(axis.y(half));
    drawing += element("line.half", Attributes{{"x1", at}, {"x2", at}, {"y1", height}, {"y2", px(kBottom)}}) +
               element("circle.half", Attributes{{"cx", at}, {"cy", height}, {"r", "4.5"}},
                       element("title", fmt::format("half-life: {:.1f} rounds after the first", curve.half_life)));
  }
  drawing += label((kLeft + kRight) / 2, kHeight - 2, "middle", "round");
  return plot(fmt::format("{}: {} after round 1, {} after round {}", curve.name, number(curve.rounds.front().mean),
                          number(curve.rounds.back().mean), n),
              drawing);
}

Markup range_bar(const score::Interval& mean, const score::Interval& floor, const Range& range) {
  const double span = range.high > range.low ? range.high - range.low : 1;
  const auto x = [&](double value) { return px(4 + 152 * std::clamp((value - range.low) / span, 0.0, 1.0)); };
  Markup drawing = element("line.grid", Attributes{{"x1", "4"}, {"x2", "156"}, {"y1", "10"}, {"y2", "10"}});
  if (!std::isnan(floor.mean)) {
    drawing +=
        element("line.floor", Attributes{{"x1", x(floor.low)}, {"x2", x(floor.high)}, {"y1", "10"}, {"y2", "10"}});
    drawing += element("circle.floor", Attributes{{"cx", x(floor.mean)}, {"cy", "10"}, {"r", "3.5"}});
  }
  if (!std::isnan(mean.mean)) {
    drawing +=
        element("line.interval", Attributes{{"x1", x(mean.low)}, {"x2", x(mean.high)}, {"y1", "10"}, {"y2", "10"}});
    drawing += element("circle.dot", Attributes{{"cx", x(mean.mean)}, {"cy", "10"}, {"r", "4"}});
  }
  return element("svg.range", Attributes{{"viewBox", "0 0 160 20"}, {"aria-hidden", "true"}}, drawing);
}

Markup arc() {
  return Markup::trusted(
      "<svg class=\"arc\" viewBox=\"0 0 56 22\" aria-hidden=\"true\"><path d=\"M3 18C14 3 40 3 51 15\"></path>"
      "<path d=\"M43.5 14.5 51.5 15.8 52 7.6\"></path></svg>");
}

Markup emblem() {
  return Markup::trusted(
      "<svg class=\"emblem\" viewBox=\"0 0 40 40\" aria-hidden=\"true\"><path class=\"there\" d=\"M7 16C11 5 29 5 33 "
      "16\"></path>"
      "<path class=\"there\" d=\"M27.5 14.5 33.3 16.5 35 10.6\"></path><path class=\"back\" d=\"M33 24C29 35 11 35 7 "
      "24\"></path>"
      "<path class=\"back\" d=\"M12.5 25.5 6.7 23.5 5 29.4\"></path></svg>");
}

}  // namespace readback::report
