#include "readback/report/telephone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <stdexcept>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/report/page.h"
#include "readback/report/plot.h"
#include "readback/roundtrip/store.h"

namespace readback::report {

namespace fs = std::filesystem;
using nlohmann::json;
using roundtrip::Direction;
using roundtrip::Store;

namespace {

constexpr size_t kShown = 9;   // chains a direction
constexpr size_t kWords = 12;  // at either end of the list
constexpr int64_t kPictureBytes = 4'000'000;

json read(const fs::path& folder) {
  const fs::path file = folder / "telephone.json";
  if (!fs::exists(file)) {
    throw DataError(describe(folder.string(), "a game that was played to its last round", "no telephone.json",
                             "Run the same command again: it goes on where it stopped"));
  }
  return read_json(file);
}

DataError damaged(const fs::path& folder, const std::exception& error) {
  return DataError(describe((folder / "telephone.json").string(), "what readback telephone writes", error.what(),
                            "Run the same command again"));
}

// Errors: json::exception where there is none.
const json& first_of(const json& list) { return list.at(0); }
const json& last_of(const json& list) { return list.at(list.size() - 1); }

Direction direction_of(const json& chain) {
  return roundtrip::parse_direction(chain.at("direction").get<std::string>());
}

score::Interval interval_of(const json& value) {
  if (value.is_null()) return {};
  const auto of = [&](const char* key) { return value.at(key).is_number() ? value.at(key).get<double>() : NAN; };
  return {of("mean"), of("low"), of("high"), 1};
}

// "2.4 rounds [2.1, 2.8]".
std::string half_life_of(const json& metric, size_t rounds) {
  const json& half = metric.at("half_life");
  const auto said = [&](const char* key) {
    const json& value = half.at(key);
    return value.is_number() ? fmt::format("{:.1f}", value.get<double>()) : fmt::format("over {}", rounds - 1);
  };
  if (half.at("rounds").is_null()) return "not defined";
  const std::string interval = fmt::format(" [{}, {}]", said("low"), said("high"));
  if (half.at("rounds").is_number()) return fmt::format("{} rounds{}", said("rounds"), interval);
  return fmt::format("not within {} rounds{}", rounds, half.at("low").is_number() ? interval : "");
}

Markup value_cell(const json& round) {
  const score::Interval value = interval_of(round.at("value"));
  const json& left = round.at("left");
  Markup below;
  if (left.is_number()) {
    below = element("div.soft", Attributes{{"title", "of the first round’s lead over random pairs"}},
                    percent(left.get<double>()));
  }
  return element("td.n", Attributes{{"title", interval(value).html()}}, element("strong", number(value.mean)), below);
}

Markup table_of(const json& metrics, size_t rounds, const std::string& label) {
  Markup heads = column("Metric", false) + column("half-life", false) + column("", false);
  for (size_t round = 1; round <= rounds; ++round) heads += column(std::to_string(round).c_str());
  heads += column("random pairs");
  Markup body;
  for (const json& metric : metrics) {
    Markup cells;
    for (const json& round : metric.at("rounds")) cells += value_cell(round);
    body +=
        element("tr", element("th", Attributes{{"scope", "row"}}, metric.at("title").get<std::string>()),
                element("td", half_life_of(metric, rounds)), element("td", metric.at("better") == "lower" ? "↓" : "↑"),
                cells, element("td.n", number(interval_of(last_of(metric.at("rounds")).at("floor")).mean)));
  }
  return scrolling(label, element("table", element("thead", element("tr", heads)), element("tbody", body)));
}

Markup plots_of(const json& metrics, size_t rounds) {
  Markup cards;
  for (const json& metric : metrics) {
    DriftCurve curve{metric.at("title"), metric.at("better") == "higher", {}, {}, NAN};
    for (const json& round : metric.at("rounds")) {
      curve.rounds.push_back(interval_of(round.at("value")));
      curve.floor.push_back(interval_of(round.at("floor")).mean);
    }
    const json& half = metric.at("half_life").at("rounds");
    if (half.is_number()) curve.half_life = half.get<double>();
    cards += element("figure.curve-card",
                     element("figcaption", element("strong", curve.name),
                             element("span", "half-life: " + half_life_of(metric, rounds))),
                     drift_plot(curve));
  }
  return element("div.plots", cards);
}

Markup words_of(const json& lives, size_t rounds) {
  if (lives.empty()) return {};
  // A word that hardly occurs says little.
  std::vector<const json*> words;
  for (int64_t least = 3; least >= 1 && words.empty(); --least) {
    for (const json& life : lives) {
      if (life.at("samples").get<int64_t>() >= least) words.push_back(&life);
    }
  }
  const auto table = [&](const char* heading, size_t begin, size_t end) {
    Markup rows;
    for (size_t i = begin; i < end; ++i) {
      const json& life = *words[i];
      rows += element("tr", element("th", Attributes{{"scope", "row"}}, life.at("word").get<std::string>()),
                      element("td.n", fmt::format("{:.1f}", life.at("mean_rounds").get<double>())),
                      element("td.n", percent(life.at("alive").get<double>())),
                      element("td.n", std::to_string(life.at("samples").get<int64_t>())));
    }
    const std::string at_end = fmt::format("in all {}", rounds);
    return element("div.card", element("h3", heading),
                   scrolling(heading, element("table",
                                              element("thead", element("tr", column("word", false), column("rounds"),
                                                                       column(at_end.c_str()), column("samples"))),
                                              element("tbody", rows))));
  };
  const size_t count = words.size();
  if (count <= 2 * kWords) return element("div.cards", table("All of them, the longest-lived first", 0, count));
  return element("div.cards", table("The longest-lived", 0, kWords),
                 table("The shortest-lived", count - kWords, count));
}

struct Chosen {
  const char* heading;
  std::vector<std::string> samples;
};

// By the share of words that survives, over all rounds.
std::vector<Chosen> choose_chains(const json& samples) {
  std::vector<std::string> ids;
  std::vector<double> kept;
  for (const json& sample : samples) {
    ids.push_back(sample.at("sample"));
    double sum = 0;
    for (const json& share : sample.at("words")) sum += share.is_number() ? share.get<double>() : 0;
    kept.push_back(sum);
  }
  if (ids.size() <= kShown) return {{"", ids}};
  std::vector<size_t> order(ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return kept[a] < kept[b]; });
  const size_t third = kShown / 3;
  std::vector<Chosen> chosen = {{"Soonest lost", {}}, {"Longest kept", {}}, {"Drawn evenly", {}}};
  for (size_t i = 0; i < third; ++i) {
    chosen[0].samples.push_back(ids[order[i]]);
    chosen[1].samples.push_back(ids[order[order.size() - 1 - i]]);
  }
  std::set<std::string> taken;
  for (const Chosen& group : chosen) taken.insert(group.samples.begin(), group.samples.end());
  std::erase_if(ids, [&](const std::string& id) { return taken.contains(id); });
  const size_t rest = std::min(third, ids.size());
  for (size_t k = 0; k < rest; ++k) chosen[2].samples.push_back(ids[(2 * k + 1) * ids.size() / (2 * rest)]);
  std::erase_if(chosen, [](const Chosen& group) { return group.samples.empty(); });
  return chosen;
}

// One sample through all rounds: pictures and words in turn.
class Gallery {
 public:
  Gallery(const fs::path& folder, const json& chain) : direction_(direction_of(chain)), chain_(chain) {
    for (const json& round : chain.at("folders")) stores_.push_back(Store::open(folder / round.get<std::string>()));
    for (const roundtrip::SampleRow& sample : stores_.at(0).samples()) starts_.emplace(sample.id, sample);
    for (const json& sample : chain.at("samples")) shares_[sample.at("sample")] = &sample.at("words");
    groups_ = choose_chains(chain.at("samples"));
    PictureAlbum album(kPictureBytes);
    for (const Chosen& group : groups_) {
      for (const std::string& sample : group.samples) load(sample, album);
    }
    pictures_ = album.embed();
  }

  Markup render() const {
    Markup body;
    size_t next = 0;
    for (const Chosen& group : groups_) {
      Markup cards;
      for (const std::string& sample : group.samples) cards += card(sample, links_.at(sample), next);
      if (*group.heading) body += element("div.group", element("h3", group.heading));
      body += element("div.exhibits", cards);
    }
    return body;
  }

 private:
  struct Link {
    std::string text;
    bool has_picture = false;
  };

  void load(const std::string& sample, PictureAlbum& album) {
    std::vector<Link>& links = links_[sample];
    const roundtrip::SampleRow& start = starts_.at(sample);
    const bool from_picture = direction_ == Direction::kI2T2I;
    links.push_back({from_picture ? "" : start.prompt(), from_picture && !start.image.empty()});
    if (links.back().has_picture) album.add(stores_.at(0).load_image(start.image), PictureSize::kThumbnail);
    for (const Store& store : stores_) {
      Link link;
      for (const roundtrip::CandidateRow& row : store.candidates(direction_, sample)) {
        link.text = row.text.value_or("");
        if (!row.image) continue;
        link.has_picture = true;
        album.add(store.load_image(*row.image), PictureSize::kThumbnail);
      }
      links.push_back(std::move(link));
    }
  }

  Markup card(const std::string& sample, const std::vector<Link>& links, size_t& next) const {
    const bool from_picture = direction_ == Direction::kI2T2I;
    Markup cells;
    for (size_t round = 0; round < links.size(); ++round) {
      const Link& link = links[round];
      Markup heading = "start";
      if (round > 0) {
        const json& share = shares_.at(sample)->at(round - 1);
        heading = Markup(std::to_string(round)) +
                  (share.is_number() ? element("span.distance", percent(share.get<double>())) : Markup());
      }
      Markup image, words;
      if (link.has_picture) {
        image = picture(pictures_.at(next++),
                        round == 0 ? "The start: " + sample : fmt::format("Round {}: {}", round, link.text));
      }
      if (round > 0 || !from_picture) words = quote(link.text);
      const Markup picture_cell = element("div.image", image), words_cell = element("div.words", words);
      cells += element("h5", heading) + (from_picture ? words_cell + picture_cell : picture_cell + words_cell);
    }
    return element("article.exhibit.chain", Attributes{{"aria-label", sample}},
                   scrolling(sample, element("div.links", cells)), element("p.sample", sample));
  }

  Direction direction_;
  const json& chain_;
  std::vector<Store> stores_;
  std::map<std::string, roundtrip::SampleRow> starts_;
  std::map<std::string, const json*> shares_;
  std::vector<Chosen> groups_;
  std::map<std::string, std::vector<Link>> links_;
  std::vector<Picture> pictures_;  // in the order of the cards' pictures
};

std::string lost_on_the_way(const json& chain) {
  const auto begun = first_of(chain.at("begun")).get<int64_t>();
  const auto left = static_cast<int64_t>(chain.at("samples").size());
  return left == begun ? fmt::format("{}.", counted(begun, "sample", "samples"))
                       : fmt::format("{}, of which {} came through all rounds; the figures are theirs.",
                                     counted(begun, "sample", "samples"), left);
}

Markup way(const fs::path& folder, const json& chain) {
  const Direction direction = direction_of(chain);
  const std::string name = roundtrip::name(direction);
  const bool from_picture = direction == Direction::kI2T2I;
  const size_t rounds = chain.at("folders").size();
  const json& metrics = chain.at("metrics");
  const Markup drift = section(
      name, title(direction),
      lost_on_the_way(chain) +
          (from_picture
               ? " Each round captions the picture that came back, and draws the caption. Everything is measured "
                 "against the start: pictures against the first one, captions against the first caption, or the "
                 "references where a metric reads these."
               : " Each round draws the text that came back, and reads the picture. Everything is measured "
                 "against the start: texts against the first one, pictures against the start’s.") +
          " Dashed: random pairs of the same round. The half-life is the number of rounds after the first until half "
          "of "
          "the lead over them is gone; the marked dot.",
      plots_of(metrics, rounds) + element("details.more", Attributes{{"open", ""}},
                                          element("summary", "All rounds in figures"),
                                          table_of(metrics, rounds, title(direction))));
  const Markup words = section(
      name + "-words", "Words that survive",
      fmt::format("The content words of the {}, and in how many rounds they are there from the first on without a gap.",
                  from_picture ? "first caption" : "starting text"),
      words_of(chain.at("words"), rounds));
  const Markup chains = section(name + "-chains", "From round to round",
                                "Some messages on their way. Per cent: how many of the first words are still there.",
                                Gallery(folder, chain).render());
  return element("div", Attributes{{"class", "way " + name}}, drift, words, chains);
}

Markup answer(const json& chain) {
  const json& words = first_of(chain.at("metrics"));
  const size_t rounds = chain.at("folders").size();
  const score::Interval last = interval_of(last_of(words.at("rounds")).at("value"));
  const score::Interval floor = interval_of(last_of(words.at("rounds")).at("floor"));
  const Direction direction = direction_of(chain);
  return element("span", Attributes{{"class", roundtrip::name(direction)}}, element("strong", percent(last.mean)),
                 fmt::format(" of the {} words survive {} of {}{}. Half-life: {}. ",
                             direction == Direction::kI2T2I ? "first caption’s" : "first text’s",
                             counted(static_cast<int64_t>(rounds), "round", "rounds"), title(direction),
                             std::isnan(floor.mean) ? "" : fmt::format(" (random pairs: {})", percent(floor.mean)),
                             half_life_of(words, rounds)));
}

std::string text_at(const json& telephone, const char* key) { return text_of(telephone, key, "unnamed"); }

}  // namespace

bool is_telephone(const fs::path& folder) {
  return fs::exists(folder / "telephone.json") || fs::exists(folder / "telephone.lock");
}

std::string render_telephone(const fs::path& folder) try {
  const json telephone = read(folder);
  Markup answers, ways, contents, lines;
  for (const json& chain : telephone.at("chains")) {
    answers += answer(chain);
    ways += way(folder, chain);
    const std::string name = roundtrip::name(direction_of(chain));
    for (const auto& [target, label] :
         {std::pair(name, title(direction_of(chain))), std::pair(name + "-words", std::string("Words")),
          std::pair(name + "-chains", std::string("From round to round"))}) {
      contents += element("li", element("a", Attributes{{"href", "#" + target}}, label));
    }
    for (const json& round : chain.at("folders")) {
      lines += "readback report " + (folder / round.get<std::string>()).string() + "\n";
    }
  }
  const std::string lede = fmt::format(
      "A captioner and a generator pass a message on and on, and forget a little each time. Here {} for {}, "
      "with {} and {}.",
      text_at(telephone, "dataset"), counted(telephone.at("rounds").get<int64_t>(), "round", "rounds"),
      text_at(telephone, "captioner"), text_at(telephone, "generator"));
  const Markup opening =
      element("header.opening", element("p.brand", emblem(), "readback"), element("h1", "Passed on and on"),
              element("div.said", element("p.lede", lede), element("p.answer", answers)));
  const Markup made =
      section("rounds", "How it was made", "Each round is a run of its own.",
              element("pre", text_at(telephone, "command")) +
                  element("details.more", element("summary", "A page for each round"), element("pre", lines)));
  return document("Telephone: " + text_at(telephone, "dataset"),
                  opening + element("nav", Attributes{{"aria-label", "Contents"}}, element("ul", contents)) +
                      element("main", ways, made));
} catch (const json::exception& error) {
  throw damaged(folder, error);
} catch (const std::out_of_range& error) {  // a sample that its runs lack
  throw damaged(folder, error);
}

std::vector<std::string> telephone_sentences(const fs::path& folder) try {
  const json telephone = read(folder);
  std::vector<std::string> sentences;
  for (const json& chain : telephone.at("chains")) {
    const size_t count = chain.at("folders").size();
    for (const json& metric : chain.at("metrics")) {
      const json& rounds = metric.at("rounds");
      const auto mean = [](const json& value) { return number(interval_of(value).mean); };
      sentences.push_back(fmt::format("{}, {}: {} after round 1, {} after round {} (random pairs {}); half-life {}",
                                      chain.at("direction").get<std::string>(), metric.at("title").get<std::string>(),
                                      mean(first_of(rounds).at("value")), mean(last_of(rounds).at("value")), count,
                                      mean(last_of(rounds).at("floor")), half_life_of(metric, count)));
    }
  }
  return sentences;
} catch (const json::exception& error) {
  throw damaged(folder, error);
}

}  // namespace readback::report
