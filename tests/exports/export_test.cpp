#include "readback/exports/export.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/files.h"
#include "readback/data/registry.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/curves.h"
#include "tests/roundtrip/fakes.h"

namespace readback::exports {
namespace {

namespace fakes = roundtrip::fakes;
namespace fs = std::filesystem;
using nlohmann::json;
using roundtrip::Direction;
using roundtrip::Store;

constexpr int64_t kSamples = 3, kCandidates = 4;

class Export : public testing::Test {
 protected:
  void SetUp() override {
    fakes::Dataset dataset(kSamples);
    dataset.has_domains = true;
    fakes::Captioner captioner;
    fakes::Generator generator;
    generator.spread = 9;
    fakes::run(run(), fakes::options(kCandidates), dataset, captioner, generator);
  }
  fs::path run() const { return folder_.path() / "run"; }
  fs::path output(const std::string& name) const { return folder_.path() / name; }
  Store store() const { return Store::open(run()); }
  Exported write(const std::string& format, Direction direction, const fs::path& path, ExportOptions options = {}) {
    const Store opened = store();
    return export_run(opened, direction, find_format(format), options, path);
  }
  // Candidates' numbers of a sample by how near they came back.
  std::vector<int64_t> ranked(Direction direction, size_t sample) const {
    return roundtrip::rankings(store(), direction,
                               direction == Direction::kI2T2I ? "shade-image" : "shade-text")[sample]
        .candidates;
  }
  std::string caption(size_t sample, int64_t candidate) const {
    const Store opened = store();
    return *opened.candidates(Direction::kI2T2I, opened.samples()[sample].id)[static_cast<size_t>(candidate)].text;
  }

 private:
  fakes::Folder folder_;
};

std::vector<json> lines_of(const fs::path& file) {
  std::vector<json> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST_F(Export, LinesHaveEveryCandidateAndAreADataSetAgain) {
  const Exported exported = write("jsonl", Direction::kI2T2I, {});
  EXPECT_EQ(exported.path, run() / "export-i2t2i.jsonl");
  EXPECT_EQ(exported.records, kSamples);
  const std::vector<json> lines = lines_of(exported.path);
  ASSERT_EQ(std::ssize(lines), kSamples);
  ASSERT_EQ(std::ssize(lines[1]["candidates"]), kCandidates);
  const json& candidate = lines[1]["candidates"][2];
  EXPECT_EQ(candidate["candidate"], 2);
  EXPECT_EQ(candidate["text"], caption(1, 2));
  EXPECT_TRUE(candidate["scores"].contains("shade-image"));
  EXPECT_TRUE(fs::exists(run() / candidate["image"].get<std::string>()));
  const auto dataset =
      data::open_dataset("jsonl:" + exported.path.string() + ":" + run().string(), data::DatasetOptions());
  ASSERT_EQ(dataset->size(), kSamples);
  EXPECT_EQ(dataset->sample(1).id, "s/1");
  EXPECT_EQ(dataset->sample(1).references, store().samples()[1].references);
  EXPECT_EQ(dataset->sample(1).domain, "odd");
  EXPECT_EQ(fakes::shade(dataset->load_image(1)), fakes::Dataset::original(1));
}

TEST_F(Export, ATableHasARowACandidate) {
  const Exported exported = write("csv", Direction::kT2I2T, output("all.csv"));
  EXPECT_EQ(exported.records, kSamples * kCandidates);
  const std::string table = read_file(exported.path);
  EXPECT_TRUE(
      table.starts_with("sample,original,reference,candidate,text,image,seed,flagged,tokens,log_probability,"
                        "shade-image,shade-text\r\n"))
      << table.substr(0, 200);
  EXPECT_EQ(std::ranges::count(table, '\n'), kSamples * kCandidates + 1);
}

TEST_F(Export, ResultsForCocoAreTheChosenCaptions) {
  write("coco-results", Direction::kI2T2I, output("results.json"));
  const json results = read_json(output("results.json"));
  ASSERT_EQ(std::ssize(results), kSamples);
  for (size_t s = 0; s < results.size(); ++s) {
    EXPECT_EQ(results[s]["image_id"], "s/" + std::to_string(s));
    EXPECT_EQ(results[s]["caption"], caption(s, ranked(Direction::kI2T2I, s).front()));
  }
  EXPECT_THROW(write("coco-results", Direction::kT2I2T, output("no.json")), UsageError);
}

TEST_F(Export, SideFilesStandBesideThePicturesThatTheyBelongTo) {
  write("side-files", Direction::kT2I2T, output("pairs/"));
  const auto dataset = data::open_dataset(output("pairs").string(), data::DatasetOptions());
  ASSERT_EQ(dataset->size(), kSamples);
  const Store opened = store();
  for (size_t s = 0; s < kSamples; ++s) {
    const roundtrip::SampleRow sample = opened.samples()[s];
    const auto rows = opened.candidates(Direction::kT2I2T, sample.id);
    const std::string picture = *rows[static_cast<size_t>(ranked(Direction::kT2I2T, s).front())].image;
    const fs::path exported = output("pairs") / fs::path(picture).filename();
    EXPECT_EQ(read_file(exported), read_file(run() / picture));
    EXPECT_EQ(read_file(fs::path(exported).replace_extension(".txt")), sample.prompt() + "\n");
  }
}

TEST_F(Export, SideFilesOfOriginalsHaveTheNamesThatPeopleKnow) {
  write("side-files", Direction::kI2T2I, output("captioned"));
  for (size_t s = 0; s < kSamples; ++s) {  // the id is "s/0"
    const fs::path picture = output("captioned") / (std::to_string(s) + ".png");
    EXPECT_EQ(read_file(picture), read_file(run() / store().samples()[s].image));
    EXPECT_EQ(read_file(fs::path(picture).replace_extension(".txt")),
              caption(s, ranked(Direction::kI2T2I, s).front()) + "\n");
  }
}

TEST_F(Export, AnArchiveIsADataSetAgain) {
  const Exported exported = write("webdataset", Direction::kI2T2I, {});
  EXPECT_EQ(exported.path, run() / "chosen-i2t2i.tar");
  const auto dataset = data::open_dataset(exported.path.string(), data::DatasetOptions());
  ASSERT_EQ(dataset->size(), kSamples);
  for (int64_t s = 0; s < kSamples; ++s) {
    EXPECT_EQ(fakes::shade(dataset->load_image(s)), fakes::Dataset::original(s));
    const std::string best = caption(static_cast<size_t>(s), ranked(Direction::kI2T2I, static_cast<size_t>(s)).front());
    EXPECT_EQ(dataset->sample(s).references.front(), best);
    EXPECT_EQ(dataset->sample(s).domain, s % 2 == 0 ? "even" : "odd");
  }
}

TEST_F(Export, PreferencesOfCaptionsAreConversations) {
  write("preferences", Direction::kI2T2I, output("pairs"), {.question = "What is it?"});
  const std::vector<json> lines = lines_of(output("pairs") / "train/metadata.jsonl");
  ASSERT_EQ(std::ssize(lines), kSamples);
  for (size_t s = 0; s < lines.size(); ++s) {
    const std::vector<int64_t> order = ranked(Direction::kI2T2I, s);
    EXPECT_EQ(lines[s]["prompt"], json::parse(R"([{"role": "user", "content": "What is it?"}])"));
    EXPECT_EQ(lines[s]["chosen"][0]["content"], caption(s, order.front()));
    EXPECT_EQ(lines[s]["rejected"][0]["content"], caption(s, order.back()));
    EXPECT_GT(lines[s]["margin"], 0);
    EXPECT_TRUE(fs::exists(output("pairs") / "train" / lines[s]["file_name"].get<std::string>()));
  }
}

TEST_F(Export, PreferencesOfPicturesHaveTwoOfThem) {
  ExportOptions options;
  options.choice.margin = 5;
  const Exported exported = write("preferences", Direction::kT2I2T, output("pairs"), options);
  const std::vector<json> lines = lines_of(output("pairs") / "train/metadata.jsonl");
  EXPECT_EQ(std::ssize(lines), exported.records);
  EXPECT_FALSE(exported.choices.empty());
  for (const json& line : lines) {
    EXPECT_GE(line["margin"], 5);
    EXPECT_EQ(line["label_0"], 1);
    EXPECT_NE(line["jpg_0_file_name"], line["jpg_1_file_name"]);
    EXPECT_TRUE(fs::exists(output("pairs") / "train" / line["jpg_0_file_name"].get<std::string>()));
  }
}

TEST_F(Export, SamplesWhoseCandidatesAreAlikeAreCounted) {
  Store written = Store::open_for_writing(run(), fakes::manifest(fakes::options(kCandidates)));
  std::vector<roundtrip::ScoreRow> same;
  for (const auto& row : written.candidates(Direction::kI2T2I, "s/0")) same.push_back({row.key, "shade-image", 1.0});
  written.put_scores(same, {});
  const Exported exported =
      export_run(written, Direction::kI2T2I, find_format("preferences"), ExportOptions(), output("pairs"));
  EXPECT_EQ(exported.records, kSamples - 1);
  EXPECT_EQ(exported.alike, 1);
}

TEST_F(Export, PicturesHoldTheirParameters) {
  const Exported exported = write("pictures", Direction::kI2T2I, output("pictures"));
  EXPECT_EQ(exported.records, kSamples * kCandidates);
  const Store opened = store();
  const roundtrip::CandidateRow row = opened.candidates(Direction::kI2T2I, "s/1")[2];
  const fs::path file = output("pictures") / fs::path(*row.image).filename();
  const std::string bytes = read_file(file);
  EXPECT_NE(bytes.find("parameters" + std::string(1, '\0') + *row.text +
                       "\nSteps: 50, Seed: " + std::to_string(*row.image_seed) + ", Size: 4x4, Version: readback"),
            std::string::npos)
      << bytes;
  EXPECT_EQ(image::load(file, image::Alpha::kOnWhite).pixels, opened.load_image(*row.image).pixels);
}

TEST_F(Export, AFolderWithSomethingInItIsLeftAlone) {
  write_file(output("pairs") / "mine.txt", "mine");
  EXPECT_THROW(write("side-files", Direction::kI2T2I, output("pairs")), StoreError);
  EXPECT_EQ(read_file(output("pairs") / "mine.txt"), "mine");
  EXPECT_THROW(write("side-files", Direction::kI2T2I, {}), UsageError);
  ExportOptions unknown;
  unknown.choice.by = {"beauty"};
  EXPECT_THROW(write("side-files", Direction::kI2T2I, output("other"), unknown), UsageError);
  EXPECT_FALSE(fs::exists(output("other")));
  EXPECT_THROW(find_format("parquet"), UsageError);
}

}  // namespace
}  // namespace readback::exports
