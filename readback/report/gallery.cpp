#include <fmt/format.h>

#include <array>
#include <cmath>

#include "readback/report/page.h"
#include "readback/report/plot.h"

namespace readback::report {

using roundtrip::Direction;

namespace {

bool from_picture(const Way& way) { return way.direction == Direction::kI2T2I; }

Markup distance(const Trip& trip) {
  return std::isnan(trip.distance) ? Markup() : element("span.distance", number(trip.distance));
}

Markup remarks(const Trip& trip) {
  Markup result;
  if (trip.truncated_tokens > 0) {
    result += element("p.remark", counted(trip.truncated_tokens, "token", "tokens") + " of the text did not fit");
  }
  return result;
}

std::string drawn_from(const Way& way, const Exhibit& exhibit, const Trip& trip) {
  const std::string prompt = from_picture(way)            ? trip.text
                             : exhibit.references.empty() ? ""
                                                          : exhibit.references.front();
  return "Drawn from the words: " + prompt;
}

// Best or worst: the two stages after the start, and how far from it they ended.
Markup outcome(const Way& way, const Exhibit& exhibit, const Trip& trip, const char* style, const std::string& name) {
  const Markup words = element("p.words", quote(trip.text), " ", mark(trip.text_truth));
  const Markup image =
      element("div.image", picture(trip.picture, drawn_from(way, exhibit, trip)), mark(trip.picture_truth));
  return element("div", Attributes{{"class", std::string("outcome ") + style}},
                 element("h5", name, " ", distance(trip)),
                 from_picture(way) ? words + arc() + image : image + arc() + words, remarks(trip));
}

Markup start(const Way& way, const Exhibit& exhibit) {
  const std::string said = exhibit.references.empty() ? "" : exhibit.references.front();
  const Markup image =
      element("div.image", picture(exhibit.original, "Original: " + (said.empty() ? exhibit.sample : said)));
  const Markup name = element("p.sample", exhibit.sample);
  if (from_picture(way)) {
    Markup people;
    if (!said.empty()) people = element("p.reference", quote(said));
    return element("div.start", element("h5", "Original"), image, people, name);
  }
  return element("div.start", element("h5", "Original"), element("p.prompt", quote(said)),
                 element("div.aside", image, element("p.reference", "the picture that it describes")), name);
}

// The ranks between the best and the worst, small.
Markup between(const Way& way, const Exhibit& exhibit) {
  if (exhibit.trips.size() < 3) return {};
  Markup items;
  for (size_t rank = 1; rank + 1 < exhibit.trips.size(); ++rank) {
    const Trip& trip = exhibit.trips[rank];
    const double right = trip.picture_truth.value_or(1);
    const std::string name =
        fmt::format("rank {}{}: {}", rank, std::isnan(trip.distance) ? "" : ", " + number(trip.distance), trip.text);
    items += element("li", Attributes{{"title", name}}, picture(trip.picture, drawn_from(way, exhibit, trip)),
                     right < 1 ? pie(right) : Markup());
  }
  return element(
      "div.between",
      element("h5", exhibit.trips.size() == 3 ? "rank 1" : fmt::format("ranks 1 to {}", exhibit.trips.size() - 2)),
      element("ol", items));
}

// Candidates without a rank, since the safety checker blanked their pictures.
Markup blanked(const Exhibit& exhibit) {
  if (exhibit.blanked.empty()) return {};
  Markup items;
  for (const Trip& trip : exhibit.blanked) {
    items += element("li", fmt::format("candidate {}: ", trip.candidate), quote(trip.text));
  }
  return element(
      "div.blanked",
      element("p.remark", counted(static_cast<int64_t>(exhibit.blanked.size()), "picture was", "pictures were"),
              " blanked by the safety checker, and so the sample is in no rank curve."),
      element("ul", items));
}

Markup all_words(const Way& way, const Exhibit& exhibit) {
  Markup items;
  for (const Trip& trip : exhibit.trips) {
    items += element("li", quote(trip.text), " ", mark(trip.text_truth), " ", distance(trip));
  }
  Markup references;
  for (size_t i = from_picture(way) ? 0 : 1; i < exhibit.references.size(); ++i) {
    references += element("li", quote(exhibit.references[i]));
  }
  if (!references.empty()) references = element("h5", "References") + element("ul", references);
  return element("details.words-of-all", element("summary", "All words, nearest first"),
                 element("div", element("ol", Attributes{{"start", "0"}}, items), element("div", references)));
}

Markup exhibit_card(const Way& way, const Exhibit& exhibit) {
  const size_t last = exhibit.trips.size() - 1;
  Markup stages = start(way, exhibit) + outcome(way, exhibit, exhibit.trips.front(), "best", "Nearest");
  if (last > 0) {
    stages += between(way, exhibit) + outcome(way, exhibit, exhibit.trips.back(), "worst",
                                              last == 1 ? "Farther" : fmt::format("Farthest", last));
  }
  return element("article.exhibit", Attributes{{"aria-label", exhibit.sample}}, element("div.stages", stages),
                 blanked(exhibit), all_words(way, exhibit));
}

struct Group {
  Reason reason;
  const char* heading;
  std::string explanation;
};

}  // namespace

Markup gallery(const Way& way, const ReportData& data) {
  const std::string thing = middle(way.direction), result = end(way.direction);
  const std::array<Group, 4> groups = {
      {{Reason::kAll, "", ""},
       {Reason::kTelling, "The clearest",
        fmt::format("Where the nearest {} came from a much better {} than the farthest.", result, thing)},
       {Reason::kAgainst, "Against the rule",
        fmt::format("Where the nearest {} came from a worse {} than the farthest.", result, thing)},
       {Reason::kEven, "Drawn evenly", "From the rest of the data set, at equal steps."}}};
  Markup body;
  for (const Group& group : groups) {
    Markup cards;
    for (const Exhibit& exhibit : way.exhibits) {
      if (exhibit.reason == group.reason && !exhibit.trips.empty()) cards += exhibit_card(way, exhibit);
    }
    if (cards.empty()) continue;
    if (*group.heading) {
      body += element("div.group", element("h3", group.heading), element("p.meaning", group.explanation));
    }
    body += element("div.exhibits", cards);
  }
  if (body.empty()) body = element("p.meaning", "No sample has all its candidates yet.");
  const std::string ranked =
      way.distance ? fmt::format("ranked by {}", way.distance->title) : "in the order they were made";
  const Markup lead =
      way.direction == Direction::kI2T2I
          ? fmt::format("Each picture got {}; each was drawn again. The pictures that came back, {}.",
                        counted(data.candidates, "caption", "captions"), ranked)
          : fmt::format("Each text was drawn {}; each picture was read again. The texts that came back, {}.",
                        data.candidates == 1 ? "once" : counted(data.candidates, "time", "times"), ranked);
  Markup legend;
  if (way.there || way.back) {
    legend = element("p.legend", mark(1.0), " every object, its place and the background are right; ", mark(0.75),
                     " so much of them is.");
  }
  return element("div", Attributes{{"class", std::string("way ") + roundtrip::name(way.direction)}},
                 section(roundtrip::name(way.direction), title(way.direction), lead, legend + body));
}

}  // namespace readback::report
