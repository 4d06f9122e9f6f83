// Every layout is read from a small file of its real shape, told by what it is, and chosen from alike.
#include <algorithm>
#include <set>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/data/digest.h"
#include "readback/data/registry.h"
#include "tests/data/sound_sets.h"
#include "tests/source_dir.h"

namespace readback::data {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

class Layouts : public SoundSets {
 protected:
  static OpenedDataset open(const std::string& spec, const DatasetOptions& options = {}) {
    ThrownProblems problems;
    return open_dataset(spec, options, problems, {});
  }
  static std::unique_ptr<Dataset> dataset(const std::string& spec, const DatasetOptions& options = {}) {
    return open_dataset(spec, options);
  }
  static Texts ids(const Dataset& dataset) {
    Texts ids;
    for (int64_t i = 0; i < dataset.size(); ++i) ids.push_back(dataset.sample(i).id);
    return ids;
  }
  template <typename E>
  static std::string message(const std::string& spec, const DatasetOptions& options = {}) {
    try {
      open_dataset(spec, options);
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << spec << " was opened";
    return "";
  }
};

TEST_F(Layouts, TheTableNamesEachOnce) {
  std::set<std::string> names, made;
  for (const Layout& layout : data::layouts()) {
    EXPECT_TRUE(names.insert(layout.name).second) << layout.name;
    EXPECT_TRUE(std::string(layout.example).starts_with(layout.name));
    EXPECT_TRUE(names_layout(layout.example)) << layout.example;
  }
  for (const std::string& layout : layouts()) EXPECT_TRUE(names.contains(layout)) << layout;
  EXPECT_EQ(names.size(), layouts().size() + 1);  // the emoji scenes need no files
}

TEST_F(Layouts, EachReadsItsPicturesAndCaptionsAndIsRecognised) {
  for (const std::string& layout : layouts()) {
    clear();
    const std::string spec = make(layout);
    const auto [opened, data] = open(spec, {.split = "all"});
    EXPECT_EQ(opened->name, layout);
    ASSERT_EQ(data->size(), 4) << layout;
    EXPECT_TRUE(data->remarks().empty()) << data->remarks();
    for (int64_t i = 0; i < 4; ++i) {
      const Sample sample = data->sample(i);
      const std::string name(1, static_cast<char>('a' + i));
      if (layout == "texts") {
        EXPECT_EQ(sample.references, Texts{name + " one"});
        continue;
      }
      EXPECT_EQ(sample.references, (Texts{name + " one", name + " two"})) << layout;
      EXPECT_TRUE(contains(sample.id, name)) << layout;
      EXPECT_EQ(data->load_image(i).width, 8) << layout;
      EXPECT_TRUE(contains(data->place(i),
                           layout == "folder" || layout == "tree" || layout == "imagefolder" ? "images" : "set."));
    }
    EXPECT_TRUE(contains(data->description(), ", 4 ")) << data->description();
    // Without its name, and without the folder of pictures behind it: the layout is seen from the file.
    if (spec.starts_with(layout + ":")) {
      const std::string file = path(file_of(layout));
      EXPECT_EQ(open(file, {.split = "all"}).layout->name, layout);
      fs::copy_file(file, path("images/") + file_of(layout));
      const auto beside = dataset(path("images/") + file_of(layout), {.split = "all"});
      EXPECT_EQ(beside->load_image(3).width, 8) << layout;
    }
  }
}

TEST_F(Layouts, LimitShuffleAndShardWorkForAllOfThem) {
  for (const std::string& layout : layouts()) {
    clear();
    const std::string spec = make(layout);
    const auto all = dataset(spec, {.split = "all"});
    const Texts whole = ids(*all);
    DatasetOptions options{.split = "all", .first = 1, .limit = 2};
    EXPECT_EQ(ids(*dataset(spec, options)), (Texts{whole[1], whole[2]})) << layout;
    EXPECT_TRUE(contains(dataset(spec, options)->description(), "2 of 4")) << layout;
    EXPECT_NE(dataset(spec, options)->digest(), all->digest());
    options = {.split = "all", .shuffle = 3};
    const auto shuffled = dataset(spec, options);
    const Texts order = ids(*shuffled);
    EXPECT_NE(order, whole);
    EXPECT_EQ(ids(*dataset(spec, options)), order);
    for (int64_t i = 0; i < 4; ++i) {
      const auto place = std::ranges::find(whole, order[i]) - whole.begin();
      EXPECT_EQ(shuffled->sample(i).references, all->sample(place).references) << layout;
      EXPECT_EQ(shuffled->sample(i).image_name, all->sample(place).image_name) << layout;
    }
    Texts parts;
    for (const char* shard : {"1/3", "2/3", "3/3"}) {
      options.shard = shard;
      for (const std::string& id : ids(*dataset(spec, options))) parts.push_back(id);
    }
    EXPECT_EQ(parts, (Texts{order[0], order[3], order[1], order[2]})) << layout;
    options.shard = "1/3";
    options.first = 1;
    EXPECT_EQ(ids(*dataset(spec, options)), Texts{order[3]}) << layout;
  }
}

TEST_F(Layouts, ShardsThatAreNoneAreRefused) {
  for (const char* shard : {"0/4", "5/4", "2", "1/x", "/", "-1/2", "1/2/3", "1/0"}) {
    EXPECT_TRUE(contains(message<UsageError>("emoji-scenes", {.shard = shard}), "I/N")) << shard;
  }
  EXPECT_TRUE(contains(message<UsageError>(make("texts"), {.shard = "5/9"}), "at most 4 parts"));
  EXPECT_TRUE(contains(message<UsageError>(make("texts"), {.first = 2, .shard = "2/2"}), "first_sample"));
  EXPECT_EQ(dataset("emoji-scenes", {.limit = 3, .shuffle = 1, .shard = "7/10"})->size(), 3);
}

// Runs of before there was a registry go on by these; a change here ends them.
TEST_F(Layouts, DigestsAreThoseOfStoredRuns) {
  const fs::path files = tests::source_dir() / "tests/goldens/image/files";
  fs::create_directory(path("f"));
  for (const char* name : {"444.jpg", "rgb.png"}) fs::copy_file(files / name, folder_ / "f" / name);
  write("f/444.txt", "one caption\n\n two \n");
  write("t.txt", "a red fox\n\n  a blue fox \r\nlast");
  write("c.json",
        R"({"images": [{"id": 7, "file_name": "rgb.png"}, {"id": 3, "file_name": "444.jpg"}], "annotations": [)"
        R"({"image_id": 3, "caption": "x "}, {"image_id": 7, "caption": "y"}, {"image_id": 99, "caption": "q"}, )"
        R"({"image_id": 7, "caption": ""}]})");
  EXPECT_EQ(dataset("emoji-scenes", {.split = "validation", .first = 3, .limit = 7})->digest(), "b7de5f4f927e05e7");
  EXPECT_EQ(dataset(path("f"))->digest(), "4a051af8852633de");
  EXPECT_EQ(dataset("coco:" + path("c.json") + ":" + path("f"))->digest(), "7d86a3463d18af8d");
  EXPECT_EQ(dataset("texts:" + path("t.txt"))->digest(), "112dcb38851a544b");
  EXPECT_EQ(dataset("texts:" + path("t.txt"), {.first = 1})->digest(), "d4c018366ad1c464");
  SampleDigest digest("kind");
  digest.add({"id", "", {"one", "two"}, "truth"});
  const std::string bytes("kind\0id\0truth\0one\0two\0\0", 23);
  EXPECT_EQ(digest.text(), fmt::format("{:016x}", fnv1a(bytes)));
}

TEST_F(Layouts, WhatSeveralRecogniseOrNoneIsRefusedWithTheList) {
  make("folder");
  write("images/captions.jsonl", "{\"image\": \"a.png\", \"caption\": \"x\"}\n");
  const std::string both = message<UsageError>(path("images"));
  EXPECT_TRUE(contains(both, "folder:" + path("images")) && contains(both, "jsonl:" + path("images"))) << both;
  EXPECT_EQ(open("folder:" + path("images")).dataset->size(), 4);
  EXPECT_EQ(open("jsonl:" + path("images")).dataset->size(), 1);
  write("what.bin",
        "\x7F"
        "ELF");
  EXPECT_TRUE(contains(message<DataError>(path("what.bin")), "karpathy:dataset_coco.json:coco"));
  EXPECT_TRUE(contains(message<UsageError>(path("nothing")), "webdataset:"));
  write("hub/train-00000.parquet", "PAR1");
  for (const char* name : {"hub", "hub/train-00000.parquet"}) {
    EXPECT_TRUE(contains(message<DataError>(path(name)), "got Parquet. Write its rows as JSON Lines"));
  }
  EXPECT_TRUE(contains(message<UsageError>("jsonl:"), "jsonl:captions.jsonl"));
}

TEST_F(Layouts, KarpathysSplitsAreChosenFrom) {
  const std::string spec = make("karpathy");
  EXPECT_EQ(ids(*dataset(spec)), (Texts{"a", "b", "c"}));
  EXPECT_EQ(ids(*dataset(spec, {.split = "train"})), (Texts{"d"}));
  EXPECT_EQ(dataset(spec, {.split = "train+test"})->size(), 4);
  const std::string refused = message<UsageError>(spec, {.split = "val"});
  EXPECT_TRUE(contains(refused, "test (3), train (1)")) << refused;
  // Pictures lie in folders by year, or all in one.
  replace("set.json", R"({"filename":"a.png")", R"({"filepath":"val2014","filename":"a.png")");
  EXPECT_EQ(dataset(spec)->sample(0).image_name, "a.png");
  fs::create_directory(path("images/val2014"));
  fs::rename(path("images/a.png"), path("images/val2014/a.png"));
  EXPECT_EQ(dataset(spec)->sample(0).image_name, "val2014/a.png");
}

TEST_F(Layouts, NoCapsHasDomains) {
  const auto data = dataset(make("nocaps"));
  EXPECT_EQ(data->sample(0).domain, "in-domain");
  EXPECT_EQ(data->sample(1).domain, "out-domain");
  // COCO's layout reads the same file as it always did.
  EXPECT_EQ(dataset("coco:" + path("set.json") + ":" + path("images"))->sample(0).domain, "");
}

TEST_F(Layouts, LavisTrainingListsHaveOneCaptionAnEntry) {
  make("lavis");
  write("set.json", R"([{"image": "a.png", "caption": "x", "image_id": "coco_1"},
    {"image": "b.png", "caption": "y", "image_id": "coco_2"}, {"image": "a.png", "caption": "z", "image_id": "coco_1"}])");
  const auto data = dataset(spec("lavis"));
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->sample(0).references, (Texts{"x", "z"}));
}

TEST_F(Layouts, FlickrsThreeFiles) {
  make("flickr");
  write("captions.txt", "image,caption\na.png,A child .\na.png,\"Two dogs , one red .\"\nb.png,x\n");
  auto data = dataset(path("captions.txt") + ":" + path("images"));
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->sample(0).references, (Texts{"A child .", "Two dogs , one red ."}));
  // Flickr30k's, with the one line that its authors broke.
  write("results.csv",
        "image_name| comment_number| comment\na.png| 0| Two men , \"one\" tall .\na.png| 4   A dog runs .\n"
        "b.png| 0| x\n");
  data = dataset(path("results.csv") + ":" + path("images"));
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->sample(0).references, (Texts{"Two men , \"one\" tall .", "A dog runs ."}));
  EXPECT_EQ(open(path("results.csv")).layout->name, std::string("flickr"));
  EXPECT_TRUE(contains(data->remarks(), "1 record"));
}

TEST_F(Layouts, TablesNameTheirColumns) {
  make("table");
  write("set.tsv", "url\tcomment_en\tphoto\nu\ta \"5 inch plate\tb.png\nu\tsecond\tb.png\n");
  EXPECT_TRUE(contains(message<DataError>(path("set.tsv")), "option columns"));
  const auto data =
      dataset("table:" + path("set.tsv") + ":" + path("images"), {.columns = {"image=photo", "caption=comment_en"}});
  ASSERT_EQ(data->size(), 1);
  EXPECT_EQ(data->sample(0).references, (Texts{"a \"5 inch plate", "second"}));
  write("multi.csv",
        "\xEF\xBB\xBF"
        "Image,Caption,domain\r\na.png,\"two\nlines, \"\"quoted\"\"\",near\r\n\r\nb.png,x,far\r\n");
  const auto quoted = dataset(path("multi.csv"));
  ASSERT_EQ(quoted->size(), 2);
  EXPECT_EQ(quoted->sample(0).references, Texts{"two\nlines, \"quoted\""});
  EXPECT_EQ(quoted->sample(0).domain, "near");
  EXPECT_EQ(quoted->place(1), path("multi.csv") + ":5");
  EXPECT_TRUE(contains(message<UsageError>(path("multi.csv"), {.columns = {"picture=x"}}), "ROLE=COLUMN"));
  write("pairs.tsv", "a.png\tone, two\nb.png\tthree\n");
  EXPECT_EQ(dataset(path("pairs.tsv"))->sample(0).references, Texts{"one, two"});
}

TEST_F(Layouts, JsonLinesOfManyWriters) {
  make("jsonl");
  write("set.jsonl",
        "{\"id\": 7, \"image\": \"a.png\", \"captions\": [\"x\", {\"text\": \"y\"}], \"domain\": \"near\"}\n"
        "\n"
        "{\"file_name\": \"./b.png\", \"text\": \"z\"}\n"
        "{\"image\": null, \"caption\": \"words alone\"}\n"
        "{\"image_id\": 9.0, \"image\": \"c.png\", \"caption\": \"u\"}\n"
        "{\"image_id\": \"9\", \"image\": \"c.png\", \"caption\": \"v\"}");
  const auto data = dataset(spec("jsonl"));
  EXPECT_EQ(ids(*data), (Texts{"7", "b.png", "line-000004", "9"}));
  EXPECT_EQ(data->sample(0).references, (Texts{"x", "y"}));
  EXPECT_EQ(data->sample(0).domain, "near");
  EXPECT_FALSE(data->sample(2).has_image());
  EXPECT_THROW(data->load_image(2), DataError);
  EXPECT_EQ(data->sample(3).references, (Texts{"u", "v"}));
  // Absolute names are fine in a folder that has them.
  write("set.jsonl", nlohmann::json({{"image", path("images/a.png")}, {"caption", "x"}}).dump() + "\n");
  EXPECT_EQ(dataset("jsonl:" + path("set.jsonl") + ":/")->load_image(0).width, 8);
  EXPECT_TRUE(contains(message<DataError>("jsonl:" + path("set.jsonl") + ":" + path("elsewhere")), "FILE:IMAGES"));
}

// Samples are found again from the places that are kept, whatever is asked for in whatever order.
TEST_F(Layouts, RecordsAreFoundFromAnywhere) {
  std::string lines;
  for (int i = 0; i < 200; ++i) {
    for (int k = 0; k <= i % 3; ++k) lines += fmt::format("{{\"id\": {}, \"caption\": \"{} {}\"}}\n", i, i, k);
    if (i % 7 == 0) lines += "\n";
  }
  write("set.jsonl", lines);
  const auto data = dataset(path("set.jsonl"));
  ASSERT_EQ(data->size(), 200);
  for (const int64_t i : {0, 199, 64, 63, 65, 31, 32, 150, 151, 152, 33, 0}) {
    const Sample sample = data->sample(i);
    EXPECT_EQ(sample.id, std::to_string(i));
    ASSERT_EQ(std::ssize(sample.references), i % 3 + 1);
    EXPECT_EQ(sample.references.back(), fmt::format("{} {}", i, i % 3));
  }
  EXPECT_EQ(data->digest(), digest_of(*data, "jsonl"));
  EXPECT_EQ(dataset(path("set.jsonl"), {.first = 50, .limit = 20})->digest(),
            digest_of(*dataset(path("set.jsonl"), {.first = 50, .limit = 20}), "jsonl"));
}

TEST_F(Layouts, ImagefoldersOfFolders) {
  picture("images/train/a.png");
  picture("images/test/b.png");
  picture("images/test/deep/c.png");
  write("images/train/metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n");
  write("images/test/metadata.csv", "file_name,text\nb.png,y\ndeep/c.png,z\n");
  const auto opened = open(path("images"));
  EXPECT_EQ(opened.layout->name, std::string("imagefolder"));
  EXPECT_EQ(ids(*opened.dataset), (Texts{"test/b.png", "test/deep/c.png", "train/a.png"}));
  EXPECT_EQ(opened.dataset->sample(1).references, Texts{"z"});
  EXPECT_EQ(ids(*dataset(path("images/test/"))), (Texts{"b.png", "deep/c.png"}));
}

TEST_F(Layouts, SideFilesOfTwoEndings) {
  picture("images/a.png");
  picture("images/b.png");
  write("images/a.caption", "from caption");
  write("images/b.caption", "passed over");
  write("images/b.txt", "from txt");
  const auto data = dataset(path("images"));
  EXPECT_EQ(data->sample(0).references, Texts{"from caption"});
  EXPECT_EQ(data->sample(1).references, Texts{"from txt"});
}

TEST_F(Layouts, ArchivesOfEveryWriter) {
  const std::string png = image::encode_png(image::Image(8, 8)), deep = std::string(120, 'd') + "/long.png";
  const std::string pax = "path=" + deep + "\n", record = fmt::format("{} {}", pax.size() + 4, pax);
  write("one-00.tar",
        tar_member("./", "", '5') + tar_member("./a.png", png) +
            tar_member("./a.json", R"({"caption": "from json", "domain": "near", "image": "old.jpg", "id": 3})") +
            tar_member("PaxHeader", record, 'x') + tar_member("short.png", png) + tar_end());
  write("one-01.tar", tar_member("././@LongLink", deep + std::string(1, '\0'), 'L') + tar_member("short.png", png) +
                          tar_header("e.TXT", 3, '0', "prefix") + "x y" + std::string(509, '\0') +
                          tar_member("readme", "no ending") + tar_end());
  const auto data = dataset("webdataset:" + path("one-{00..01}.tar"));
  const std::string key = std::string(120, 'd') + "/long";
  EXPECT_EQ(ids(*data), (Texts{"a", key, key, "prefix/e"}));
  EXPECT_EQ(data->sample(0).references, Texts{"from json"});
  EXPECT_EQ(data->sample(0).domain, "near");
  EXPECT_EQ(data->load_image(2).width, 8);
  EXPECT_EQ(data->sample(3).references, Texts{"x y"});
  EXPECT_EQ(open(path("one-{00..01}.tar")).layout->name, std::string("webdataset"));
  EXPECT_EQ(dataset(folder_.string())->digest(), data->digest());
  EXPECT_TRUE(contains(message<UsageError>("webdataset:" + path("one-{01..00}.tar")), "a range"));
}

TEST_F(Layouts, ArchivesOfPython) {
  const fs::path goldens = tests::source_dir() / "tests/goldens/data/layouts";
  for (const auto& [name, folders] : {std::pair{"ustar.tar", 1}, {"gnu.tar", 2}, {"pax.tar", 2}}) {
    std::string key;
    for (int i = 0; i < folders; ++i) key += std::string(60, 'd') + "/";
    const auto data = dataset((goldens / name).string());
    EXPECT_EQ(ids(*data), (Texts{key + "a", "b"})) << name;
    EXPECT_EQ(data->sample(0).references, Texts{"a fox"});
    EXPECT_EQ(data->sample(1).references, Texts{"x"});
    EXPECT_THROW(data->load_image(1), DataError);
  }
}

// What real people have: ../shared/data/cases/README.md.
TEST_F(Layouts, CasesOfRealPeople) {
  SKIP_WITHOUT_SHARED_DATA("cases");
  const fs::path cases = tests::shared_data("cases/layouts");
  const auto first = [&](const std::string& spec) { return dataset(spec)->sample(0).references; };
  EXPECT_EQ(first((cases / "imagefolder").string()), Texts{"a doughnut left of a rainbow"});
  EXPECT_EQ(first((cases / "imagefolder/train").string()), Texts{"a doughnut left of a rainbow"});
  EXPECT_EQ(dataset((cases / "imagefolder").string())->load_image(1).width, 32);
  const std::string images = ":" + (cases / "imagefolder/train").string();
  EXPECT_EQ(first((cases / "dataset_coco.json").string() + images), Texts{"A fox."});
  EXPECT_EQ(dataset((cases / "dataset_coco.json").string() + images)->load_image(0).width, 32);
  EXPECT_EQ(first((cases / "coco_karpathy_test.json").string()).size(), 2u);
  EXPECT_EQ(first((cases / "captions.txt").string()).size(), 2u);
  EXPECT_EQ(first((cases / "flickr.token.txt").string()).size(), 2u);
  EXPECT_EQ(dataset((cases / "captions.txt").string())->sample(1).references[1],
            "Two dogs of different breeds looking at each other , on the road .");
  EXPECT_EQ(dataset(tests::shared_data("flickr8k-judgements/Flickr8k.token.txt").string())->size(), 8093);
  EXPECT_EQ(dataset(tests::shared_data("paper-protocol/coco_karpathy_test.json").string())->size(), 5000);
  EXPECT_EQ(dataset(tests::shared_data("paper-protocol/nocaps_val.json").string())->size(), 4500);
}

}  // namespace
}  // namespace readback::data
