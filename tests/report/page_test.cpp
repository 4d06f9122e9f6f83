// Whole pages, of runs whose models are fakes.
#include "readback/report/page.h"

#include <gtest/gtest.h>

#include "readback/base/files.h"
#include "readback/data/dataset.h"
#include "readback/report/report.h"
#include "readback/roundtrip/database.h"
#include "readback/roundtrip/options.h"
#include "tests/source_dir.h"
#include "worlds.h"

namespace readback::report {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<data::Dataset> scenes(int64_t count) {
  data::DatasetOptions options;
  options.limit = count;
  return data::open_dataset("emoji-scenes", options);
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// Every element that is opened is closed, in order, and every link has its target. Text never holds '<', so every one
// begins a tag.
void expect_well_formed(const std::string& html) {
  std::vector<std::string> open;
  std::string raw;  // the element in which '<' means nothing
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const bool closing = html[at + 1] == '/';
    const size_t begin = at + (closing ? 2 : 1);
    const std::string name = html.substr(begin, html.find_first_of(" >", begin) - begin);
    if (name.starts_with("!") || name == "img" || name == "meta" || name == "br") continue;
    if (!raw.empty() && !(closing && name == raw)) continue;
    raw = !closing && (name == "script" || name == "style") ? name : "";
    if (!closing) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.back(), name) << "at " << html.substr(at, 80);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
  // Nothing links to a place that is not there.
  const std::string link = "href=\"#";
  for (size_t at = html.find(link); at != std::string::npos; at = html.find(link, at + 1)) {
    const size_t begin = at + link.size();
    const std::string target = html.substr(begin, html.find('"', begin) - begin);
    EXPECT_NE(html.find(" id=\"" + target + "\""), std::string::npos) << "#" << target;
  }
}

TEST(Page, ShowsARunOfTheSmallWorld) {
  worlds::Folder folder("scenes");
  const auto dataset = worlds::with_broken(scenes(24), 7);
  const auto store = worlds::make_run(folder, *dataset, 6);
  write_report(store, folder / "report.html");
  const std::string html = read_file(folder / "report.html");
  expect_well_formed(html);
  EXPECT_EQ(count(html, "<article class=\"exhibit\""), 18u);
  EXPECT_EQ(count(html, "<svg class=\"plot\""), 2u * (2 * 4));  // distances × qualities, both ways
  EXPECT_EQ(count(html, "<img"), count(html, "src=\"data:image/png;base64,"));
  EXPECT_EQ(count(html, "<img"), count(html, " alt="));
  EXPECT_NE(html.find("picture.png: expected an image"), std::string::npos);
  EXPECT_NE(html.find("0123456789abcdef"), std::string::npos);
  EXPECT_NE(html.find("readback run emoji-scenes --limit 24 --num-candidates 6"), std::string::npos);
  EXPECT_NE(html.find("semantic accuracy"), std::string::npos);
  EXPECT_EQ(html.find("http://"), std::string::npos);  // nothing from elsewhere
  EXPECT_EQ(html.find("https://"), std::string::npos);
  for (const char* nothing : {">nan", "\"nan", " nan", ",nan"}) EXPECT_EQ(html.find(nothing), std::string::npos);
}

TEST(Page, RanksByTheFirstDistanceAndJudgesByTheTruth) {
  worlds::Folder folder("ranks");
  const auto store = worlds::make_run(folder, *scenes(6), 4);
  const ReportData data = gather(store);
  ASSERT_EQ(data.ways.size(), 2u);
  EXPECT_EQ(data.ways[0].distance->name, "colour");
  EXPECT_EQ(data.ways[0].quality->name, "oracle-text");
  EXPECT_EQ(data.ways[1].distance->name, "word");
  EXPECT_EQ(data.ways[1].quality->name, "oracle-image");
  EXPECT_EQ(data.ways[1].back->metric.name, "oracle-text");
  double right = 0;
  for (const Exhibit& exhibit : data.ways[1].exhibits) {
    ASSERT_EQ(exhibit.trips.size(), 4u);
    for (size_t rank = 0; rank < 4; ++rank) {
      if (rank > 0) {
        EXPECT_GE(exhibit.trips[rank].distance, exhibit.trips[rank - 1].distance);
      }
      EXPECT_FALSE(exhibit.trips[rank].picture.uri.empty());
      right += exhibit.trips[rank].text_truth == 1.0;
    }
  }
  EXPECT_NEAR(data.ways[1].back->entirely.mean, right / 24, 1e-12);
  EXPECT_GT(data.ways[1].back->score.mean, data.ways[1].back->floor.mean);
}

TEST(Page, ShowsPhotosWithoutTruthAndStaysSmall) {
  SKIP_WITHOUT_SHARED_DATA("coco-mini");
  const fs::path photos = tests::shared_data("coco-mini");
  worlds::Folder folder("photos");
  const auto annotations = photos / "captions.json";
  data::DatasetOptions options;
  options.limit = 4;
  const auto dataset = data::open_dataset("coco:" + annotations.string() + ":" + (photos / "images").string(), options);
  const auto store = worlds::make_run(folder, *dataset, 3);
  write_report(store, folder / "report.html");
  const std::string html = read_file(folder / "report.html");
  expect_well_formed(html);
  EXPECT_LT(html.size(), 6'000'000u);
  EXPECT_GE(count(html, "class=\"photo\""), 2u * 4 * (1 + 3));
  EXPECT_EQ(html.find("entirely right"), std::string::npos);  // nothing knows the truth here
}

TEST(Page, SaysSoWhenThereIsNothingYet) {
  worlds::Folder folder("empty");
  const auto dataset = scenes(3);
  const auto store =
      roundtrip::Store::open_for_writing(folder, {roundtrip::identity(roundtrip::RunOptions(), {}), {}, {}});
  const std::string html = render(gather(store));
  expect_well_formed(html);
  EXPECT_NE(html.find("there are no scores yet"), std::string::npos);
  EXPECT_NE(html.find("No sample has all its candidates yet"), std::string::npos);
}

// Of whole pictures, where the run has drawn any without words.
TEST(Page, ShowsTheCeiling) {
  worlds::Folder folder("ceiling");
  const auto dataset = scenes(3);
  auto store = worlds::make_run(folder, *dataset, 2);
  write_report(store, folder / "report.html");
  EXPECT_EQ(read_file(folder / "report.html").find("ithout words"), std::string::npos);
  std::vector<roundtrip::CeilingRow> ceilings;
  for (const roundtrip::SampleRow& sample : store.samples()) {
    for (const char* metric : {"colour", "oracle-image"}) ceilings.push_back({sample.id, metric, 0.8125});
  }
  store.put_ceilings(ceilings);
  write_report(store, folder / "report.html");
  const std::string html = read_file(folder / "report.html");
  expect_well_formed(html);
  EXPECT_NE(html.find("drawn anew without words 81"), std::string::npos);
  EXPECT_EQ(count(html, ">without words<"), 1u);  // a column of one direction's table
  EXPECT_NE(html.find("0.812"), std::string::npos);
}

// The figures of each domain stand beside the whole's, and its curves are there to be opened.
TEST(Page, ShowsDomainsBesideTheWhole) {
  worlds::Folder folder("domains");
  auto store = worlds::make_run(folder, *scenes(6), 3);
  EXPECT_EQ(render(gather(store)).find("By domain"), std::string::npos);
  roundtrip::Database(fs::path(folder) / "run.sqlite", roundtrip::Database::Mode::kReadWrite)
      .execute("UPDATE samples SET domain = CASE WHEN position < 4 THEN 'near-domain' ELSE 'out<of>domain' END");
  write_report(store, folder / "report.html");
  const std::string html = read_file(folder / "report.html");
  expect_well_formed(html);
  const ReportData data = gather(store);
  ASSERT_EQ(data.ways[0].domains.size(), 2u);
  EXPECT_EQ(data.ways[0].domains[0].name, "near-domain");
  EXPECT_EQ(data.ways[0].domains[0].samples, 4);
  EXPECT_EQ(data.ways[0].domains[1].summaries.size(), data.ways[0].summaries.size());
  ASSERT_EQ(data.ways[0].domains[1].curves.size(), data.ways[0].curves.size());
  EXPECT_EQ(data.ways[0].domains[1].curves[0].quality.name, data.ways[0].curves[0].quality.name);
  EXPECT_EQ(count(html, ">By domain<"), 2u);  // a table each way
  EXPECT_NE(html.find("out&lt;of&gt;domain"), std::string::npos);
  EXPECT_EQ(count(html, "<svg class=\"plot\""), 3u * 2 * (2 * 4));
}

TEST(Page, OneCandidateIsBestAndOnly) {
  worlds::Folder folder("single");
  const auto store = worlds::make_run(folder, *scenes(3), 1);
  fs::remove(folder / store.samples().front().image);
  const std::string html = render(gather(store));
  expect_well_formed(html);
  EXPECT_NE(html.find("no picture"), std::string::npos);
  EXPECT_EQ(count(html, "class=\"outcome best\""), 6u);
  EXPECT_EQ(count(html, "class=\"outcome worst\""), 0u);
  EXPECT_EQ(count(html, "<svg class=\"plot\""), 0u);
}

TEST(Page, EscapesWhateverCaptionsHold) {
  const std::string hostile = "<script>alert('x')</script> \" onerror=\"y\" & \xFF\x01 \xE2\x80\xAE";
  ReportData data;
  data.manifest.options = {{"dataset", hostile}, {"num_candidates", 2}};
  data.manifest.about = {{"captioner", hostile}, {"command", hostile}};
  data.candidates = 2;
  Way way;
  way.exhibits.push_back({hostile, Reason::kAll, {}, {hostile}, {}});
  for (int64_t i = 0; i < 2; ++i) way.exhibits.back().trips.push_back({i, hostile, {}, 0.5, {}, {}, 0});
  data.ways.push_back(way);
  data.errors.push_back({hostile, {}, -1, hostile, hostile});
  const std::string html = render(data);
  expect_well_formed(html);
  EXPECT_EQ(count(html, "<script"), 1u);
  EXPECT_EQ(html.find("onerror=\"y"), std::string::npos);
  EXPECT_EQ(html.find('\xFF'), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  EXPECT_GE(count(html, "&lt;script&gt;alert(&#39;x&#39;)"), 8u);
}

}  // namespace
}  // namespace readback::report
