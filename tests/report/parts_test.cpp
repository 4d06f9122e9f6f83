// What pages are made of: markup, numbers, drawings, pictures, and the choice of samples.
#include <gtest/gtest.h>

#include <cmath>

#include "readback/base/random.h"
#include "readback/image/codec.h"
#include "readback/report/choose.h"
#include "readback/report/html.h"
#include "readback/report/pictures.h"
#include "readback/report/plot.h"

namespace readback::report {
namespace {

TEST(Markup, EscapesTextAndAttributes) {
  EXPECT_EQ(element("p.a.b", Attributes{{"title", "\"<&>'"}}, "1 < 2", element("br"), std::string("&")).html(),
            "<p class=\"a b\" title=\"&quot;&lt;&amp;&gt;&#39;\">1 &lt; 2<br>&amp;</p>");
}

TEST(Markup, ReplacesBytesThatAreNoText) {
  EXPECT_EQ(Markup(std::string("a\0b\x1F\x7F\n\t", 7)).html(), "a�b��\n\t");
  EXPECT_EQ(Markup("é 狐 🦊").html(), "é 狐 🦊");
  EXPECT_EQ(Markup("\xC0\xAF|\xED\xA0\x80|\xF0\x9F\xA6|\xF5\x80\x80\x80|\x80").html(), "��|���|���|����|�");
}

TEST(Numbers, KeepTheDigitsThatMatter) {
  EXPECT_EQ(number(0.12345), "0.123");
  EXPECT_EQ(number(-1.2345), "−1.23");
  EXPECT_EQ(number(12.345), "12.3");
  EXPECT_EQ(number(1234.5), "1234");
  EXPECT_EQ(number(0.9996), "1.00");
  EXPECT_EQ(number(-0.0001), "0.000");
  EXPECT_EQ(number(NAN), "–");
  EXPECT_EQ(signed_number(0.5), "+0.500");
  EXPECT_EQ(signed_number(0.0001), "0.000");
  EXPECT_EQ(signed_number(-0.5), "−0.500");
  EXPECT_EQ(percent(0.825), "82.5\u202F%");
  EXPECT_EQ(percent(1), "100\u202F%");
  EXPECT_EQ(counted(1, "sample", "samples"), "1 sample");
  EXPECT_EQ(counted(1234567, "sample", "samples"), "1,234,567 samples");
  EXPECT_EQ(counted(123, "sample", "samples"), "123 samples");
}

TEST(Ticks, AreRoundAndInside) {
  EXPECT_EQ(ticks(0.13, 0.92, 4), (std::vector<double>{0.2, 0.4, 0.6000000000000001, 0.8}));
  EXPECT_EQ(ticks(-3, 11, 4), (std::vector<double>{0, 5, 10}));
  EXPECT_EQ(ticks(7, 7, 4), (std::vector<double>{7}));
  for (double scale : {1e-6, 0.03, 4.0, 9e5}) {
    const auto marks = ticks(0.1 * scale, 0.9 * scale, 4);
    EXPECT_GE(marks.size(), 2u) << scale;
    EXPECT_LE(marks.size(), 6u) << scale;
    EXPECT_GE(marks.front(), 0.1 * scale * (1 - 1e-9));
    EXPECT_LE(marks.back(), 0.9 * scale * (1 + 1e-9));
  }
}

roundtrip::RankCurve curve(score::Direction direction) {
  roundtrip::RankCurve result;
  result.distance.title = "Distance";
  result.quality = {"q", "Quality", "", direction, score::Inputs::kReferences, ""};
  for (double mean : {3.0, 2.0, 1.0}) result.ranks.push_back({mean, mean - 0.5, mean + 0.5, 10});
  return result;
}

// y of the k-th dot.
double height(const std::string& svg, int k) {
  size_t at = 0;
  for (int i = 0; i <= k; ++i) at = svg.find("cy=\"", at) + 4;
  return std::stod(svg.substr(at));
}

TEST(RankPlot, PutsBetterUp) {
  const std::string higher = rank_plot(curve(score::Direction::kHigherIsBetter)).html();
  EXPECT_LT(height(higher, 0), height(higher, 2));  // y grows downwards
  const std::string lower = rank_plot(curve(score::Direction::kLowerIsBetter)).html();
  EXPECT_GT(height(lower, 0), height(lower, 2));
  EXPECT_NE(higher.find("aria-label=\"Quality by rank of Distance: 3.00 at rank 0, 1.00 at rank 2\""),
            std::string::npos);
  EXPECT_NE(higher.find("rank 1: 2.00 (1.50 to 2.50)"), std::string::npos);
}

TEST(RankPlot, LabelsTellTicksApart) {
  roundtrip::RankCurve narrow = curve(score::Direction::kHigherIsBetter);
  for (score::Interval& rank : narrow.ranks) rank = {rank.mean / 3.75, rank.low / 3.75, rank.high / 3.75, 10};
  const std::string svg = rank_plot(narrow).html();  // 0.13 to 0.93
  for (const char* label : {">0.25<", ">0.50<", ">0.75<"}) EXPECT_NE(svg.find(label), std::string::npos);
}

TEST(RankPlot, DrawsAConstantCurveAndASingleRank) {
  roundtrip::RankCurve flat = curve(score::Direction::kHigherIsBetter);
  flat.ranks.assign(1, {2, 2, 2, 1});
  const std::string svg = rank_plot(flat).html();
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_NE(svg.find("<circle"), std::string::npos);
}

TEST(Choice, ShowsAllOfAFew) {
  const auto chosen = choose({1, -1, 0}, {1, 1, 1}, 3);
  ASSERT_EQ(chosen.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(chosen[i].index, i);
    EXPECT_EQ(chosen[i].reason, Reason::kAll);
  }
}

TEST(Choice, OfManyTakesTheClearestTheContraryAndEvenSteps) {
  std::vector<double> gains(100, 0.1), spreads(100, 0.2);
  gains[60] = 3;
  gains[20] = 2;
  gains[90] = -2;
  const auto chosen = choose(gains, spreads, 6);
  ASSERT_EQ(chosen.size(), 6u);
  EXPECT_EQ(chosen[0].index, 60u);
  EXPECT_EQ(chosen[1].index, 20u);
  EXPECT_EQ(chosen[1].reason, Reason::kTelling);
  EXPECT_EQ(chosen[2].index, 90u);
  EXPECT_EQ(chosen[2].reason, Reason::kAgainst);
  for (size_t k = 3; k < 6; ++k) {
    EXPECT_EQ(chosen[k].reason, Reason::kEven);
    EXPECT_NEAR(static_cast<double>(chosen[k].index), 100 * (2.0 * static_cast<double>(k - 3) + 1) / 6, 3);
  }
}

TEST(Choice, WithoutGainsIsEvenThroughout) {
  const auto chosen = choose(std::vector<double>(50, 0), std::vector<double>(50, 0), 12);
  ASSERT_EQ(chosen.size(), 12u);
  for (const Choice& choice : chosen) EXPECT_EQ(choice.reason, Reason::kEven);
}

TEST(Base64, KnownAnswers) {
  for (const auto& [plain, coded] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xFF\xFE", "//4="}}) {
    EXPECT_EQ(base64(plain), coded);
  }
}

image::Image noise(int64_t width, int64_t height) {
  image::Image image(width, height);
  Random random(0, Purpose::kTest, "noise", width);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  return image;
}

TEST(Album, KeepsSmallPicturesAndShrinksPhotos) {
  PictureAlbum album(1'000'000);
  album.add(noise(32, 32), PictureSize::kFull);
  album.add(noise(800, 400), PictureSize::kFull);
  album.add(noise(400, 800), PictureSize::kThumbnail);
  const auto pictures = album.embed();
  EXPECT_EQ(pictures.at(0).uri, "data:image/png;base64," + base64(image::encode_png(noise(32, 32))));
  EXPECT_TRUE(pictures[0].pixelated);
  EXPECT_EQ(pictures.at(1).width, 384);
  EXPECT_EQ(pictures[1].height, 192);
  EXPECT_TRUE(pictures[1].uri.starts_with("data:image/jpeg;base64,"));
  EXPECT_EQ(pictures.at(2).width, 56);
  EXPECT_EQ(pictures[2].height, 112);
}

TEST(Album, GivesUpDetailToFit) {
  PictureAlbum album(300'000);
  for (int i = 0; i < 12; ++i) album.add(noise(512, 512), PictureSize::kFull);
  size_t total = 0;
  for (const Picture& picture : album.embed()) total += picture.uri.size() * 3 / 4;
  EXPECT_LT(total, 310'000u);
}

}  // namespace
}  // namespace readback::report
