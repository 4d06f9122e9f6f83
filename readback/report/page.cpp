#include "readback/report/page.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::Direction;

std::string title(Direction direction) {
  return direction == Direction::kI2T2I ? "Picture → words → picture" : "Words → picture → words";
}
const char* middle(Direction direction) { return direction == Direction::kI2T2I ? "caption" : "picture"; }
const char* end(Direction direction) { return direction == Direction::kI2T2I ? "picture" : "caption"; }

Verdict verdict(const roundtrip::RankCurve& curve) {
  const bool higher = curve.quality.direction == score::Direction::kHigherIsBetter;
  const double low = higher ? curve.difference.low : -curve.difference.high;
  const double high = higher ? curve.difference.high : -curve.difference.low;
  return low > 0 ? Verdict::kYes : high < 0 ? Verdict::kNo : Verdict::kOpen;
}

Markup section(const std::string& id, const Markup& heading, const Markup& lead, const Markup& body) {
  return element("section", Attributes{{"id", id}, {"aria-labelledby", id + "-title"}},
                 element("h2", Attributes{{"id", id + "-title"}}, heading), element("p.lead", lead), body);
}

Markup column(const char* name, bool numeric) {
  return element(numeric ? "th.n" : "th", Attributes{{"scope", "col"}}, name);
}

Markup scrolling(const std::string& label, const Markup& table) {
  return element("div.scroll", Attributes{{"tabindex", "0"}, {"role", "region"}, {"aria-label", label}}, table);
}

Markup interval(const score::Interval& interval) {
  if (std::isnan(interval.mean)) return "–";
  return number(interval.low) + " to " + number(interval.high);
}

const char* arrow(const score::MetricInfo& metric) {
  return metric.direction == score::Direction::kHigherIsBetter ? "↑" : "↓";
}

Markup picture(const Picture& picture, const std::string& alt) {
  if (picture.uri.empty()) return element("div.missing", "no picture");
  return element("img", Attributes{{"class", picture.pixelated ? "pixels" : "photo"},
                                   {"src", picture.uri},
                                   {"alt", alt},
                                   {"width", std::to_string(picture.width)},
                                   {"height", std::to_string(picture.height)}});
}

Markup quote(const std::string& text) {
  if (text.find_first_not_of(" \t\n") == std::string::npos) return element("em.silent", "no words");
  return element("q", Attributes{{"dir", "auto"}}, text);
}

Markup pie(double share) {
  return element("span.pie",
                 Attributes{{"style", fmt::format("--share:{:.0f}%", 100 * share)}, {"aria-hidden", "true"}});
}

Markup mark(std::optional<double> truth) {
  if (!truth) return {};
  if (*truth >= 1 - 1e-9) {
    return element("span.mark.right", Attributes{{"title", "entirely right"}}, "✓",
                   element("span.unseen", " entirely right"));
  }
  const std::string share = fmt::format("{:.0f}\u202F%", 100 * *truth);
  return element(*truth > 0.5 ? "span.mark.partly" : "span.mark.wrong",
                 Attributes{{"title", share + " of the scene is right"}}, pie(*truth), share,
                 element("span.unseen", " of the scene is right"));
}

std::string text_of(const nlohmann::json& object, const char* key, const std::string& otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() && !found->get<std::string>().empty() ? found->get<std::string>()
                                                                                           : otherwise;
}

namespace {

std::string described(const ReportData& data, const char* key) {
  return text_of(data.manifest.about, key, text_of(data.manifest.options, key, std::string("an unnamed ") + key));
}

// One whole trip in a line: the first on show whose ends and middle are all right, or else the first.
Markup journey(const Way& way) {
  if (way.exhibits.empty() || way.exhibits.front().trips.empty()) return {};
  const Exhibit* shown = &way.exhibits.front();
  for (const Exhibit& exhibit : way.exhibits) {
    if (exhibit.trips.empty()) continue;
    const Trip& best = exhibit.trips.front();
    if (best.text_truth.value_or(0) >= 1 && best.picture_truth.value_or(0) >= 1) {
      shown = &exhibit;
      break;
    }
  }
  const Trip& best = shown->trips.front();
  const auto words = [](const std::string& text) { return element("div.words", quote(text)); };
  const auto image = [](const Picture& source, const std::string& alt) {
    return element("div.image", picture(source, alt));
  };
  const bool from_picture = way.direction == Direction::kI2T2I;
  const std::string said = shown->references.empty() ? "" : shown->references.front();
  const Markup stages =
      from_picture
          ? image(shown->original, "Original: " + (said.empty() ? shown->sample : said)) + arc() + words(best.text) +
                arc() + image(best.picture, "Drawn from the words: " + best.text)
          : words(said) + arc() + image(best.picture, "Drawn from the words: " + said) + arc() + words(best.text);
  return element("figure", Attributes{{"class", std::string("journey ") + roundtrip::name(way.direction)}},
                 element("figcaption", title(way.direction)), element("div.stages", stages));
}

// The answer in one sentence, in the run's own figures.
Markup answer(const ReportData& data) {
  Markup result;
  for (const Way& way : data.ways) {
    const std::string words =
        way.direction == Direction::kI2T2I ? "picture → words → picture" : "words → picture → words";
    Markup sentence;
    if (way.back) {
      sentence =
          element("strong", percent(way.back->score.mean)) + fmt::format(" of a scene’s content survives {}", words) +
          (std::isnan(way.back->floor.mean) ? "" : fmt::format(" (random pairs: {})", percent(way.back->floor.mean)));
    } else if (way.distance) {
      for (const auto& summary : way.summaries) {
        if (summary.metric.name != way.distance->name) continue;
        sentence =
            Markup(fmt::format("After {} the {} is ", words, summary.metric.title)) +
            element("strong", number(summary.mean.mean)) +
            (std::isnan(summary.floor.mean) ? "" : fmt::format(", of random pairs {}", number(summary.floor.mean)));
      }
    }
    if (!sentence.empty())
      result += element("span", Attributes{{"class", roundtrip::name(way.direction)}}, sentence, ". ");
  }
  return result.empty() ? result : element("p.answer", result);
}

}  // namespace

Markup opening(const ReportData& data) {
  Markup ways;
  for (const Way& way : data.ways) ways += journey(way);
  const std::string both = data.ways.size() == 2 ? " both ways" : "";
  const Markup what = element(
      "p.lede",
      "A captioner turns pictures into words, a generator turns words into pictures; where the two understand each "
      "other, going there and back brings you home. ",
      fmt::format("Here {} went{} ({}), {} each, with {} and {}. ", counted(data.samples, "sample", "samples"), both,
                  described(data, "dataset"), counted(data.candidates, "candidate", "candidates"),
                  described(data, "captioner"), described(data, "generator")),
      "The candidates of a sample are ranked by how near they came back, to see whether what returns best was also "
      "understood best.");
  return element("header.opening", element("p.brand", emblem(), "readback"), element("h1", "There and back"),
                 element("div.said", what, answer(data)), element("div.journeys", ways));
}

std::string document(const std::string& title, const Markup& body) {
  const Markup head =
      element("head", element("meta", Attributes{{"charset", "utf-8"}}),
              element("meta", Attributes{{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}}),
              element("meta", Attributes{{"name", "color-scheme"}, {"content", "light dark"}}),
              element("meta", Attributes{{"http-equiv", "Content-Security-Policy"},
                                         {"content",
                                          "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
                                          "script-src 'unsafe-inline'"}}),
              element("title", title), element("style", Markup::trusted(style())));
  return "<!doctype html>\n" + element("html", Attributes{{"lang", "en"}}, head, element("body", body)).html() + "\n";
}

std::string render(const ReportData& data) {
  Markup contents, galleries;
  for (const Way& way : data.ways) {
    contents += element("li", element("a", Attributes{{"href", std::string("#") + roundtrip::name(way.direction)}},
                                      title(way.direction)));
    galleries += gallery(way, data);
  }
  const auto entry = [&](const char* target, const char* name) {
    contents += element("li", element("a", Attributes{{"href", target}}, name));
  };
  const Markup curve_section = curves(data), score_section = scores(data), error_section = errors(data);
  if (!curve_section.empty()) entry("#curves", "Rank curves");
  if (!score_section.empty()) entry("#scores", "Scores");
  if (!error_section.empty()) entry("#errors", "Errors");
  entry("#particulars", "How it was made");

  return document("There and back: " + described(data, "dataset"),
                  element("a.skip", Attributes{{"href", "#figures"}}, "To the figures") + opening(data) +
                      element("nav", Attributes{{"aria-label", "Contents"}}, element("ul", contents)) +
                      element("main", headlines(data), galleries, curve_section, score_section, error_section) +
                      particulars(data) + element("script", Markup::trusted(script())));
}

}  // namespace readback::report
