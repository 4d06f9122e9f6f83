// Every kind of damage of every layout is found, with its place. docs/DATA.md has the same table.
#include "readback/data/check.h"

#include <fmt/format.h>

#include <functional>
#include <set>
#include <sstream>

#include "readback/base/error.h"
#include "readback/data/registry.h"
#include "tests/data/sound_sets.h"
#include "tests/source_dir.h"

namespace readback::data {
namespace {

namespace fs = std::filesystem;

// When the damage is met.
enum class Met {
  kOpening,  // the data set does not open
  kReading,  // a sample fails, or the plan of a run refuses it
  kNever,    // it is only remarked on
};

class Check : public SoundSets {
 protected:
  static CheckReport check(const std::string& spec) { return check_dataset(spec, {.split = "all"}); }
  static std::string shown(const CheckReport& report) {
    std::string text = report.description + "\n";
    for (const auto* findings : {&report.errors, &report.remarks}) {
      for (const auto& [kind, finding] : *findings) {
        for (const std::string& example : finding.examples) text += name_of(kind) + ": " + example + "\n";
      }
    }
    return text;
  }

 public:
  struct Case {
    std::string layout;
    Damage kind;
    Met met;
    std::function<void(const Check&)> damage;
    std::string place;  // part of the message
  };
  static std::vector<Case> cases();
  using SoundSets::append;
  using SoundSets::cut;
  using SoundSets::path;
  using SoundSets::picture;
  using SoundSets::remove;
  using SoundSets::replace;
  using SoundSets::write;
};

using Do = const Check&;
constexpr const char* kLatin = "caf\xE9";

std::vector<Check::Case> Check::cases() {
  std::vector<Case> list;
  const auto add = [&](const std::string& layout, Damage kind, Met met, const std::string& place,
                       std::function<void(Do)> damage) {
    list.push_back({layout, kind, met, std::move(damage), place});
  };
  using enum Damage;
  using enum Met;
  // Folders, with captions beside their pictures.
  for (const std::string layout : {"folder", "tree"}) {
    const std::string in = layout == "tree" ? "images/deep/" : "images/";
    add(layout, kMissingPicture, kReading, "b.png", [in](Do d) {
      d.remove(in + "b.png");
      fs::create_symlink("nowhere.png", d.path(in + "b.png"));
    });
    add(layout, kMissingPicture, kOpening, "images", [in](Do d) {
      for (const char* name : {"a", "b", "c", "d"}) {
        d.remove(in + name + ".png");
        d.remove(in + name + ".txt");
      }
    });
    add(layout, kUnreadablePicture, kReading, "b.png", [in](Do d) { d.cut(in + "b.png", 30); });
    add(layout, kUnreadablePicture, kOpening, "b.avif", [in](Do d) { d.write(in + "b.avif", "x"); });
    add(layout, kPictureWithoutCaption, kNever, "b.png", [in](Do d) { d.remove(in + "b.txt"); });
    add(layout, kCaptionWithoutPicture, kNever, "e.txt", [in](Do d) { d.write(in + "e.txt", "a caption"); });
    add(layout, kEmptyCaption, kNever, "b.txt", [in](Do d) { d.write(in + "b.txt", " \n\r\n"); });
    add(layout, kEncoding, kOpening, "b.txt", [in](Do d) { d.write(in + "b.txt", kLatin); });
    add(layout, kEncoding, kOpening, "b.txt", [in](Do d) {
      d.write(in + "b.txt", std::string("\xFF\xFE"
                                        "a\0",
                                        4));
    });
    add(layout, kTooLarge, kOpening, "b.txt", [in](Do d) { d.write(in + "b.txt", std::string(1100000, 'x')); });
  }
  // What names pictures that lie in images/.
  for (const std::string layout : {"imagefolder", "coco", "nocaps", "karpathy", "lavis", "flickr", "jsonl", "table"}) {
    const std::string file = layout == "imagefolder" ? "images/metadata.jsonl" : file_of(layout);
    const bool lines = layout == "jsonl" || layout == "imagefolder", document = file == "set.json";
    add(layout, kMissingPicture, kReading, "b.png", [](Do d) { d.remove("images/b.png"); });
    add(layout, kUnreadablePicture, kReading, "b.png", [](Do d) { d.cut("images/b.png", 30); });
    add(layout, kUnreadablePicture, kReading, "b.png", [](Do d) { d.write("images/b.png", ""); });
    add(layout, kPictureWithoutCaption, kNever, "z.png", [](Do d) { d.picture("images/z.png"); });
    add(layout, kEmptyCaption, kNever, document ? file : file + ":", [file](Do d) { d.replace(file, "b two", " "); });
    add(layout, kEncoding, kOpening, document ? file : file + (layout == "table" || layout == "flickr" ? ":" : ":2"),
        [file](Do d) { d.replace(file, "b one", kLatin); });
    add(layout, kEncoding, kOpening, file, [file](Do d) {
      d.write(file, std::string("\xFF\xFE"
                                "a\0",
                                4));
    });
    add(layout, kPathLeavesFolder, kOpening, "../b.png", [file](Do d) { d.replace(file, "b.png", "../b.png"); });
    add(layout, kPathLeavesFolder, kOpening, "/etc/b.png", [file](Do d) { d.replace(file, "b.png", "/etc/b.png"); });
    if (lines || document) add(layout, kCutFile, kOpening, file, [file](Do d) { d.cut(file, 12); });
    if (document) {
      add(layout, kTooLarge, kOpening, file, [file](Do d) { fs::resize_file(d.path(file), (4LL << 30) + 1); });
    }
    if (!document) {
      add(layout, kTooLarge, kOpening, file + ":", [file](Do d) { d.append(file, std::string(17 << 20, 'x')); });
    }
  }
  for (const std::string layout : {"coco", "nocaps", "karpathy"}) {
    add(layout, kDoubledId, kOpening, "a second b.png", [](Do d) { d.replace("set.json", "c.png", "b.png"); });
    add(layout, kWrongStructure, kOpening, "set.json", [](Do d) { d.replace("set.json", "images", "pictures"); });
    add(layout, kWrongStructure, kOpening, "set.json", [](Do d) { d.write("set.json", "[1, 2]"); });
    add(layout, kWrongStructure, kOpening, "set.json", [](Do d) { d.replace("set.json", "\"b one\"", "7"); });
  }
  for (const std::string layout : {"coco", "nocaps"}) {
    add(layout, kPictureWithoutCaption, kNever, "b", [](Do d) {
      d.replace("set.json", "\"b one\",\"image_id\":1", "\"b one\",\"image_id\":0");
      d.replace("set.json", "\"b two\",\"image_id\":1", "\"b two\",\"image_id\":0");
    });
    add(layout, kCaptionWithoutPicture, kNever, "annotation 3",
        [](Do d) { d.replace("set.json", "\"b one\",\"image_id\":1", "\"b one\",\"image_id\":99"); });
    add(layout, kCaptionWithoutPicture, kOpening, "captions of other ids only", [](Do d) {
      for (int i = 0; i < 4; ++i) d.replace("set.json", fmt::format("\"id\":{}}}", i), fmt::format("\"id\":1{}}}", i));
    });
    add(layout, kIdsOfTwoTypes, kNever, "set.json",
        [](Do d) { d.replace("set.json", "\"b one\",\"image_id\":1", "\"b one\",\"image_id\":\"1\""); });
    add(layout, kWrongStructure, kOpening, "7.5",
        [](Do d) { d.replace("set.json", "\"b one\",\"image_id\":1", "\"b one\",\"image_id\":7.5"); });
  }
  list.erase(
      std::remove_if(list.begin(), list.end(),
                     [](const Case& c) { return c.layout == "nocaps" && c.place == "captions of other ids only"; }),
      list.end());
  add("nocaps", kWrongStructure, kOpening, "b.png: expected a domain",
      [](Do d) { d.replace("set.json", "\"domain\":\"out-domain\",", ""); });
  add("karpathy", kPictureWithoutCaption, kNever, "b",
      [](Do d) { d.replace("set.json", R"([{"raw":"b one","tokens":["x"]},{"raw":"b two"}])", "[]"); });
  add("lavis", kPictureWithoutCaption, kNever, "b", [](Do d) { d.replace("set.json", R"(["b one","b two"])", "[]"); });
  add("lavis", kCaptionWithoutPicture, kNever,
      "set.json, 1:", [](Do d) { d.replace("set.json", R"("image":"b.png",)", ""); });
  add("lavis", kDoubledId, kOpening, "entry 2", [](Do d) { d.replace("set.json", "b.png", "sub/a.png"); });
  add("lavis", kIdsOfTwoTypes, kNever, "set.json",
      [](Do d) { d.replace("set.json", "\"image_id\":1", "\"image_id\":\"1\""); });
  add("lavis", kWrongStructure, kOpening, "entry 2", [](Do d) { d.replace("set.json", R"(["b one","b two"])", "7"); });
  add("lavis", kWrongStructure, kOpening, "set.json", [](Do d) { d.write("set.json", "{\"a\": 1}"); });

  add("imagefolder", kPictureWithoutCaption, kNever, "b.png",
      [](Do d) { d.replace("images/metadata.jsonl", R"(["b one","b two"])", "[]"); });
  add("imagefolder", kDoubledId, kOpening, "metadata.jsonl:3",
      [](Do d) { d.replace("images/metadata.jsonl", "c.png", "a.png"); });
  add("imagefolder", kWrongColumns, kOpening, "metadata.jsonl:2",
      [](Do d) { d.replace("images/metadata.jsonl", R"("file_name":"b.png",)", ""); });
  add("imagefolder", kWrongStructure, kOpening, "metadata.jsonl:2",
      [](Do d) { d.replace("images/metadata.jsonl", R"(["b one","b two"])", "7"); });
  add("imagefolder", kWrongStructure, kOpening, "one file of metadata",
      [](Do d) { d.write("images/metadata.csv", "file_name,text\na.png,x\n"); });

  add("jsonl", kPictureWithoutCaption, kNever, "set.jsonl:2",
      [](Do d) { d.replace("set.jsonl", R"(["b one","b two"])", "[]"); });
  add("jsonl", kCaptionWithoutPicture, kNever, "set.jsonl:2",
      [](Do d) { d.replace("set.jsonl", "\"b.png\"", "null"); });
  add("jsonl", kDoubledId, kReading, "set.jsonl:3", [](Do d) { d.replace("set.jsonl", "c.png", "a.png"); });
  add("jsonl", kDoubledId, kOpening, "set.jsonl:2", [](Do d) {
    d.replace("set.jsonl", "\"image\":\"a.png\"", "\"image\":\"a.png\",\"id\":1");
    d.replace("set.jsonl", "\"image\":\"b.png\"", "\"image\":\"b.png\",\"id\":1");
  });
  add("jsonl", kWrongStructure, kOpening, "set.jsonl:2",
      [](Do d) { d.replace("set.jsonl", R"(["b one","b two"])", "7"); });
  add("jsonl", kWrongStructure, kOpening, "set.jsonl:2",
      [](Do d) { d.replace("set.jsonl", "\"image\":\"b.png\"", "\"image\":7"); });
  add("jsonl", kWrongStructure, kOpening, "set.jsonl:5",
      [](Do d) { d.append("set.jsonl", std::string(100000, '[') + "\n"); });
  add("jsonl", kWrongStructure, kOpening, "set.jsonl:5", [](Do d) { d.append("set.jsonl", "no JSON\n"); });

  add("table", kPictureWithoutCaption, kNever, "set.csv:6",
      [](Do d) { d.replace("set.csv", "c.png,\"c one\"\nc.png,\"c two\"", "c.png,"); });
  add("table", kDoubledId, kReading, "set.csv:10", [](Do d) { d.append("set.csv", "a.png,again\n"); });
  add("table", kCutFile, kOpening, "set.csv:9", [](Do d) { d.cut("set.csv", 3); });
  add("table", kWrongColumns, kOpening, "set.csv:4",
      [](Do d) { d.replace("set.csv", "b.png,\"b one\"", "b.png,b,one"); });
  add("table", kWrongColumns, kOpening, "set.csv:4", [](Do d) { d.replace("set.csv", "b.png,\"b one\"", ",b one"); });
  add("table", kWrongColumns, kOpening, "set.csv:1",
      [](Do d) { d.replace("set.csv", "image,caption", "first,second"); });

  add("flickr", kDoubledId, kReading, "set.token.txt:9", [](Do d) { d.append("set.token.txt", "a.png#5\tagain\n"); });
  add("flickr", kWrongColumns, kOpening, "set.token.txt:3",
      [](Do d) { d.replace("set.token.txt", "b.png#0\t", "b.png#0 "); });
  add("flickr", kWrongColumns, kNever, "set.token.txt:2", [](Do d) {
    d.write("set.token.txt",
            "image_name| comment_number| comment\na.png| 4   slip\nb.png| 0| x\nc.png| 0| x\nd.png| 0| x\n");
  });

  add("webdataset", kUnreadablePicture, kReading, "set.tar, e.png", [](Do d) {
    d.cut("set.tar", 1024);
    d.append("set.tar", tar_member("e.png", "no picture") + tar_member("e.txt", "x") + tar_end());
  });
  const auto member = [](const std::string& bytes) {
    return [bytes](Do d) {
      d.cut("set.tar", 1024);
      d.append("set.tar", bytes + tar_end());
    };
  };
  const std::string png = image::encode_png(image::Image(8, 8));
  add("webdataset", kPictureWithoutCaption, kNever, "set.tar, e", member(tar_member("e.png", png)));
  add("webdataset", kCaptionWithoutPicture, kNever, "set.tar, e", member(tar_member("e.txt", "x")));
  add("webdataset", kDoubledId, kReading, "set.tar, a", member(tar_member("a.png", png) + tar_member("a.txt", "x")));
  add("webdataset", kEmptyCaption, kNever, "set.tar, e", member(tar_member("e.png", png) + tar_member("e.txt", " ")));
  add("webdataset", kEncoding, kOpening, "set.tar, e", member(tar_member("e.png", png) + tar_member("e.txt", kLatin)));
  add("webdataset", kEncoding, kOpening, "set.tar", member(tar_member("\xE9.png", png)));
  add("webdataset", kEncoding, kOpening, "set.tar, e", member(tar_member("e.json", "{\"caption\": \"caf\xE9\"}")));
  add("webdataset", kCutFile, kOpening, "set.tar, byte", [](Do d) { d.cut("set.tar", 1024 + 512 + 100); });
  add("webdataset", kCutFile, kOpening, "set.tar, byte", [](Do d) { d.cut("set.tar", 1000); });
  add("webdataset", kCutFile, kOpening, "e.json", member(tar_member("e.json", "{\"caption\": ")));
  add("webdataset", kWrongStructure, kOpening, "set.tar, byte 0", [](Do d) { d.replace("set.tar", "a.png", "x.png"); });
  add("webdataset", kWrongStructure, kOpening, "gunzip",
      [](Do d) { d.write("set.tar", "\x1F\x8B" + std::string(600, 'x')); });
  add("webdataset", kWrongStructure, kOpening, "e.json", member(tar_member("e.json", "[1]")));
  add("webdataset", kWrongStructure, kOpening, "e.json", member(tar_member("e.json", "{\"caption\": 7}")));
  add("webdataset", kPathLeavesFolder, kOpening, "../e.png", member(tar_member("../e.png", png)));
  add("webdataset", kPathLeavesFolder, kOpening, "/e.png", member(tar_member("/e.png", png)));
  add("webdataset", kPathLeavesFolder, kNever, "a link", member(tar_member("e.png", "", '2')));
  add("webdataset", kTooLarge, kOpening, "set.tar, e", member(tar_member("e.txt", std::string(17 << 20, 'x'))));

  add("texts", kEncoding, kOpening, "set.txt:2", [](Do d) { d.replace("set.txt", "b one", kLatin); });
  add("texts", kEncoding, kOpening, "set.txt", [](Do d) {
    d.write("set.txt", std::string("\xFF\xFE"
                                   "a\0",
                                   4));
  });
  add("texts", kWrongStructure, kOpening, "set.txt", [](Do d) { d.write("set.txt", "\n \n"); });
  add("texts", kTooLarge, kOpening, "set.txt:5", [](Do d) { d.append("set.txt", std::string(17 << 20, 'x')); });
  return list;
}

TEST_F(Check, SoundSetsHaveNothing) {
  for (const std::string& layout : layouts()) {
    clear();
    const CheckReport report = check(make(layout));
    EXPECT_TRUE(report.errors.empty() && report.remarks.empty()) << layout << ": " << shown(report);
    EXPECT_EQ(report.layout, layout);
    EXPECT_EQ(report.samples, 4);
    EXPECT_EQ(report.pictures, layout == "texts" ? 0 : 4);
    EXPECT_EQ(report.captions, layout == "texts" ? 4 : 8);
  }
  EXPECT_EQ(check_dataset("emoji-scenes", {.limit = 5}).pictures, 5);
}

TEST_F(Check, FindsEveryKindInEveryLayoutWithItsPlace) {
  for (const Case& test : cases()) {
    const std::string title = test.layout + " " + name_of(test.kind) + " " + test.place;
    clear();
    make(test.layout);
    test.damage(*this);
    // By its name: damage may hide what a layout is recognised by.
    const std::string here = spec(test.layout);
    const std::string spec = here.starts_with(test.layout + ":") ? here : test.layout + ":" + here;
    const CheckReport report = check(spec);
    const auto& findings = test.met == Met::kNever ? report.remarks : report.errors;
    const auto found = findings.find(test.kind);
    if (found == findings.end()) {
      ADD_FAILURE() << title << " was not found:\n" << shown(report);
      continue;
    }
    bool placed = false;
    for (const std::string& example : found->second.examples) placed = placed || contains(example, test.place);
    EXPECT_TRUE(placed) << title << "\n" << shown(report);
    for (const auto& [kind, finding] : report.errors) {
      EXPECT_TRUE(kind == test.kind || report.samples == 0) << title << "\n" << shown(report);
    }
    try {
      open_dataset(spec, {.split = "all"});
      EXPECT_NE(test.met, Met::kOpening) << title << " was opened";
    } catch (const DataError& error) {
      EXPECT_EQ(test.met, Met::kOpening) << title << ": " << error.what();
    }
  }
}

// The rest of a damaged data set is still looked at.
TEST_F(Check, GoesOnBehindWhatItFinds) {
  make("jsonl");
  replace("set.jsonl", "\"b.png\"", "7");
  append("set.jsonl", "{\"image\": \"../x.png\"}\n");
  remove("images/d.png");
  for (int i = 0; i < 30; ++i) append("set.jsonl", fmt::format("{{\"image\": \"none{}.png\"}}\n", i));
  const CheckReport report = check(spec("jsonl"));
  EXPECT_EQ(report.errors.at(Damage::kWrongStructure).count, 1);
  EXPECT_EQ(report.errors.at(Damage::kPathLeavesFolder).count, 1);
  EXPECT_EQ(report.errors.at(Damage::kMissingPicture).count, 31);
  EXPECT_EQ(report.errors.at(Damage::kMissingPicture).examples.size(), 10u);
}

TEST_F(Check, NoPlaceAtAllIsOneError) {
  EXPECT_THROW(check_dataset(path("nothing"), {}), UsageError);
  const CheckReport report = check_dataset("coco:" + path("none.json") + ":" + folder_.string(), {});
  EXPECT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.samples, 0);
}

// docs/DATA.md lists for each layout what may be wrong, and each of it has a case above.
TEST_F(Check, TheDocumentSaysTheSame) {
  std::set<std::string> tested, documented;
  for (const Case& test : cases()) tested.insert(test.layout + " " + name_of(test.kind));
  std::istringstream lines(read_file(tests::source_dir() / "docs/DATA.md"));
  for (std::string line; std::getline(lines, line);) {
    for (const char* kind : names_of(Damage{})) {
      if (!line.starts_with(fmt::format("| `{}` |", kind))) continue;
      for (const std::string& layout : layouts()) {
        if (contains(line, " " + layout + ",") || contains(line, " " + layout + " |"))
          documented.insert(layout + " " + kind);
      }
    }
  }
  EXPECT_EQ(documented, tested);
}

}  // namespace
}  // namespace readback::data
