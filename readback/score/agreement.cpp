#include "readback/score/agreement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/columns.h"
#include "readback/data/ids.h"
#include "readback/score/text/words.h"
#include "readback/text/unicode.h"

namespace readback::score {

namespace {

namespace fs = std::filesystem;

struct Line {
  std::string where;  // "FILE, line 3"
  std::vector<std::string> columns;

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw DataError(describe(where, expected, got));
  }
  // The column as a number from `least` to `most`.
  template <typename Number>
  Number number(size_t column, const char* what, Number least, Number most) const {
    const std::string& text = columns[column];
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= least && value <= most)) {
      fail(fmt::format("{} from {} to {} in column {}", what, least, most, column + 1), "\"" + text + "\"");
    }
    return value;
  }
};

// Lines with `count` columns between tabs; empty ones are left out, and so are blanks around columns.
std::vector<Line> read_columns(const fs::path& path, size_t count, const std::string& layout) {
  const std::string text = read_text(path);
  std::vector<Line> lines;
  int64_t number = 0;
  for (const std::string_view view : lines_of(text)) {
    const std::string line(view);
    ++number;
    Line columns{fmt::format("{}, line {}", path.string(), number), {}};
    if (text::encode_utf8(text::decode_utf8(line)) != line) columns.fail("text in UTF-8", "other bytes");
    for (size_t from = 0; from <= line.size();) {
      const size_t to = std::min(line.find('\t', from), line.size());
      columns.columns.push_back(fmt::format("{}", fmt::join(split_words(line.substr(from, to - from)), " ")));
      from = to + 1;
    }
    if (columns.columns == std::vector<std::string>{""}) continue;
    if (columns.columns.size() != count) {
      columns.fail(fmt::format("{} columns between tabs ({})", count, layout),
                   fmt::format("{}", columns.columns.size()));
    }
    lines.push_back(std::move(columns));
  }
  if (lines.empty()) throw DataError(describe(path.string(), "at least one line (" + layout + ")", "none"));
  return lines;
}

std::string image_key(const std::string& name) { return name.substr(0, name.find_first_of(".#")); }

struct CaptionsOfImages {
  std::unordered_map<std::string, std::string> by_id;                  // "IMAGE#2" → its text
  std::unordered_map<std::string, std::vector<std::string>> by_image;  // key → all of them
};

CaptionsOfImages read_captions(const fs::path& path) {
  CaptionsOfImages captions;
  for (const Line& line : read_columns(path, 2, "caption id, caption")) {
    const std::string& id = line.columns[0];
    if (id.find('#') == std::string::npos) line.fail("a caption id as IMAGE#0", "\"" + id + "\"");
    if (!captions.by_id.emplace(id, line.columns[1]).second) line.fail("each caption id once", "\"" + id + "\" again");
    captions.by_image[image_key(id)].push_back(line.columns[1]);
  }
  return captions;
}

struct JudgedCaption {
  std::string id, text;
  std::vector<double> ratings;
};

struct JudgedImage {
  std::string name;
  std::vector<std::string> references;
  std::vector<JudgedCaption> judged;
};

// The share of yes, which the two numbers beside it must give: an experts' file would pass for one of shares otherwise.
double share_of_yes(const Line& line) {
  constexpr int64_t kMost = 1'000'000;
  const double share = line.number<double>(2, "a share of yes", 0, 1);
  const int64_t yes = line.number<int64_t>(3, "a number of yes", 0, kMost);
  const int64_t no = line.number<int64_t>(4, "a number of no", 0, kMost);
  if (yes + no == 0) line.fail("at least one answer", "0 yes and 0 no");
  if (std::abs(share - static_cast<double>(yes) / static_cast<double>(yes + no)) > 1e-5) {
    line.fail("the share that the numbers of yes and no give", fmt::format("{} with {} yes and {} no", share, yes, no));
  }
  return share;
}

std::vector<double> ratings_of(JudgementLayout layout, const Line& line) {
  if (layout == JudgementLayout::kFlickr8kCrowdFlower) return {share_of_yes(line)};
  std::vector<double> scores;
  for (size_t column = 2; column < 5; ++column) {
    scores.push_back(static_cast<double>(line.number<int64_t>(column, "an expert's score", 1, 4)));
  }
  return scores;
}

const char* columns_of(JudgementLayout layout) {
  return layout == JudgementLayout::kFlickr8kExpert ? "image, caption id, three experts' scores"
                                                    : "image, caption id, share of yes, number of yes, number of no";
}

std::vector<JudgedImage> read_judged_images(JudgementLayout layout, const fs::path& path,
                                            const CaptionsOfImages& captions) {
  std::vector<JudgedImage> images;
  std::unordered_map<std::string, size_t> indices;
  for (const Line& line : read_columns(path, 5, columns_of(layout))) {
    const std::string &name = line.columns[0], &id = line.columns[1];
    const auto own = captions.by_image.find(image_key(name));
    if (own == captions.by_image.end()) line.fail("an image that has captions", "\"" + name + "\"");
    const auto caption = captions.by_id.find(id);
    if (caption == captions.by_id.end()) line.fail("a caption id of the captions' file", "\"" + id + "\"");
    const auto [index, is_new] = indices.try_emplace(own->first, images.size());
    if (is_new) images.push_back({name, own->second, {}});
    images[index->second].judged.push_back({name + " " + id, caption->second, ratings_of(layout, line)});
  }
  return images;
}

// Lower-case letters and digits: what is left of a caption that was written down elsewhere.
std::string words_of(const std::string& text) {
  std::string words;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      words += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!words.empty() && words.back() != ' ') {
      words += ' ';
    }
  }
  return std::string(trimmed(words));
}

std::optional<double> rating_in(const std::string& field) {
  const std::string_view text = trimmed(field);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 5)) return std::nullopt;
  return value;
}

// Composite's captions and ratings of one line. How many there are is seen from where the ratings begin.
std::vector<JudgedCaption> composite_captions(const Line& line) {
  constexpr size_t kFirst = 28;
  const std::vector<std::string>& fields = line.columns;
  size_t ratings = kFirst;
  while (ratings < fields.size() && !rating_in(fields[ratings])) ++ratings;
  const size_t count = std::max(ratings, kFirst) - kFirst;
  std::vector<JudgedCaption> judged;
  for (size_t i = 0; i < count && ratings + i < fields.size(); ++i) {
    if (const auto rating = rating_in(fields[ratings + i])) judged.push_back({"", fields[kFirst + i], {*rating}});
  }
  if (judged.size() < count || judged.empty()) {
    line.fail(
        "28 columns between semicolons, captions and as many ratings from 0 to 5",
        fmt::format("{} columns and {} ratings. Take lines away that are no judgements", fields.size(), judged.size()));
  }
  return judged;
}

std::vector<JudgedImage> read_composite(const fs::path& path, const fs::path& captions) {
  const data::CaptionFile own = data::read_caption_file(captions);
  std::unordered_map<std::string, size_t> places, indices;
  for (size_t i = 0; i < own.ids.size(); ++i) places.emplace(data::image_key(own.ids[i]), i);
  const std::string text = read_text(path);
  std::vector<JudgedImage> images;
  int64_t number = 0;
  for (const std::string_view view : lines_of(text)) {
    if (++number == 1 || is_blank(view)) continue;
    Line line{fmt::format("{}, line {}", path.string(), number), data::split_fields(view, ';')};
    std::vector<JudgedCaption> judged = composite_captions(line);
    const std::string& address = line.columns[27];
    const std::string name = address.substr(address.find_last_of('/') + 1);
    const auto place = places.find(data::image_key(name));
    if (place == places.end()) line.fail("an image that has captions in " + captions.string(), "\"" + name + "\"");
    const auto [index, is_new] = indices.try_emplace(place->first, images.size());
    if (is_new) images.push_back({name, own.captions[place->second], {}});
    JudgedImage& image = images[index->second];
    for (JudgedCaption& caption : judged) {
      caption.id = fmt::format("{} {}", name, image.judged.size());
      image.judged.push_back(std::move(caption));
    }
  }
  return images;
}

// Removes what the layout's protocol does not compare; returns how many judged captions that takes away.
int64_t separate_own_captions(JudgementLayout layout, JudgedImage& image) {
  if (layout == JudgementLayout::kFlickr8kExpert) {
    return static_cast<int64_t>(std::erase_if(image.judged, [&](const JudgedCaption& caption) {
      return std::ranges::find(image.references, caption.text) != image.references.end();
    }));
  }
  if (layout == JudgementLayout::kComposite) {
    for (const JudgedCaption& caption : image.judged) {
      std::erase_if(image.references, [&](const std::string& own) { return words_of(own) == words_of(caption.text); });
    }
    return 0;
  }
  for (const JudgedCaption& caption : image.judged) {
    const auto own = std::ranges::find(image.references, caption.text);
    if (own != image.references.end()) image.references.erase(own);
  }
  return 0;
}

}  // namespace

JudgementLayout parse_judgement_layout(const std::string& name) {
  if (name == "flickr8k-expert") return JudgementLayout::kFlickr8kExpert;
  if (name == "flickr8k-crowdflower") return JudgementLayout::kFlickr8kCrowdFlower;
  if (name == "composite") return JudgementLayout::kComposite;
  throw UsageError(describe("layout", "flickr8k-expert, flickr8k-crowdflower or composite", "\"" + name + "\""));
}

Judgements read_judgements(JudgementLayout layout, const fs::path& judgements, const fs::path& captions) {
  Judgements result;
  std::vector<JudgedImage> images = layout == JudgementLayout::kComposite
                                        ? read_composite(judgements, captions)
                                        : read_judged_images(layout, judgements, read_captions(captions));
  for (JudgedImage& image : images) {
    result.left_out += separate_own_captions(layout, image);
    if (image.judged.empty()) continue;
    if (image.references.empty()) {
      throw DataError(describe(judgements.string(), "a caption of image " + image.name + " that is not judged",
                               "none, so nothing to compare with"));
    }
    for (const JudgedCaption& caption : image.judged) {
      for (const double rating : caption.ratings) {
        result.captions.ids.push_back(caption.id);
        result.image_names.push_back(image.name);
        result.captions.candidates.push_back(caption.text);
        result.captions.references.push_back(image.references);
        result.ratings.push_back(rating);
        result.image.push_back(result.images);
      }
    }
    ++result.images;
  }
  if (result.ratings.empty()) {
    throw DataError(describe(judgements.string(), "captions that are not their image's own", "none"));
  }
  return result;
}

void append(Judgements& judgements, const Judgements& more) {
  const auto join = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  join(judgements.captions.ids, more.captions.ids);
  join(judgements.captions.candidates, more.captions.candidates);
  join(judgements.captions.references, more.captions.references);
  join(judgements.image_names, more.image_names);
  join(judgements.ratings, more.ratings);
  for (const int64_t image : more.image) judgements.image.push_back(judgements.images + image);
  judgements.images += more.images;
  judgements.left_out += more.left_out;
}

Agreement agreement(std::span<const double> values, const Judgements& judgements, const BootstrapOptions& options) {
  if (values.size() != judgements.ratings.size()) {
    throw DataError(describe("agreement", fmt::format("{} values, one a judgement", judgements.ratings.size()),
                             fmt::format("{}", values.size())));
  }
  std::vector<double> measured, ratings;
  std::vector<int64_t> image;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    measured.push_back(values[i]);
    ratings.push_back(judgements.ratings[i]);
    image.push_back(judgements.image[i]);
  }
  return {bootstrap_correlations(measured, ratings, image, judgements.images, options),
          static_cast<int64_t>(measured.size())};
}

}  // namespace readback::score
