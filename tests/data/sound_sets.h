// A small sound data set of every layout: pictures a.png, b.png, c.png and d.png with two captions each.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/base/files.h"
#include "readback/data/tar_writer.h"
#include "readback/image/codec.h"

namespace readback::data {

class SoundSets : public testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void clear() {
    folder_ = std::filesystem::temp_directory_path() / ("readback_sets_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { write_file(folder_ / name, text); }
  void append(const std::string& name, const std::string& text) const { write(name, read_file(folder_ / name) + text); }
  void replace(const std::string& name, const std::string& before, const std::string& after) const {
    std::string text = read_file(folder_ / name);
    const size_t place = text.find(before);
    ASSERT_NE(place, std::string::npos) << before << " in " << text;
    write(name, text.replace(place, before.size(), after));
  }
  void cut(const std::string& name, size_t bytes) const {
    const std::string text = read_file(folder_ / name);
    write(name, text.substr(0, text.size() - bytes));
  }
  void picture(const std::string& name) const { image::save(image::Image(8, 8), folder_ / name); }
  void remove(const std::string& name) const { std::filesystem::remove(folder_ / name); }

  static std::vector<std::string> layouts() {
    return {"folder", "tree",   "imagefolder", "coco",       "nocaps", "karpathy",
            "lavis",  "flickr", "jsonl",       "webdataset", "table",  "texts"};
  }

  // Makes it and gives its SPEC.
  std::string make(const std::string& layout) const {
    using nlohmann::json;
    const std::vector<std::string> names = {"a", "b", "c", "d"};
    const bool in_images = layout != "webdataset" && layout != "texts";
    const std::string pictures = layout == "tree" ? "images/deep/" : "images/";
    json images = json::array(), annotations = json::array(), karpathy = json::array(), lavis = json::array();
    std::string tokens, lines, rows = "image,caption\n", archive, texts;
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string& name = names[i];
      const std::string file = name + ".png", one = name + " one", two = name + " two";
      if (in_images) picture(pictures + file);
      if (layout == "folder" || layout == "tree") write(pictures + name + ".txt", one + "\n" + two + "\n");
      images.push_back({{"id", i}, {"file_name", file}});
      if (layout == "nocaps") images.back()["domain"] = i % 2 == 0 ? "in-domain" : "out-domain";
      for (const std::string& caption : {one, two}) {
        annotations.push_back({{"image_id", i}, {"caption", caption}});
        rows += file + ",\"" + caption + "\"\n";
      }
      karpathy.push_back({{"filename", file},
                          {"split", i < 3 ? "test" : "train"},
                          {"sentences", {{{"raw", one}, {"tokens", {"x"}}}, {{"raw", two}}}}});
      lavis.push_back({{"image", file}, {"image_id", i}, {"caption", {one, two}}});
      tokens += file + "#0\t" + one + "\n" + file + "#1\t" + two + "\n";
      lines += json({{"image", file}, {"captions", {one, two}}}).dump() + "\n";
      if (layout == "webdataset") {
        archive += tar_member(name + ".png", image::encode_png(image::Image(8, 8))) +
                   tar_member(name + ".txt", one + "\n" + two);
      }
      texts += one + "\n";
    }
    if (layout == "imagefolder") {
      std::string metadata;
      for (const json& entry : lavis)
        metadata += json({{"file_name", entry["image"]}, {"text", entry["caption"]}}).dump() + "\n";
      write("images/metadata.jsonl", metadata);
    }
    if (layout == "coco" || layout == "nocaps")
      write("set.json", json{{"images", images}, {"annotations", annotations}}.dump());
    if (layout == "karpathy") write("set.json", json{{"images", karpathy}, {"dataset", "coco"}}.dump());
    if (layout == "lavis") write("set.json", lavis.dump());
    if (layout == "flickr") write("set.token.txt", tokens);
    if (layout == "jsonl") write("set.jsonl", lines);
    if (layout == "webdataset") write("set.tar", archive + tar_end());
    if (layout == "table") write("set.csv", rows);
    if (layout == "texts") write("set.txt", texts);
    return spec(layout);
  }
  std::string spec(const std::string& layout) const {
    if (layout == "folder" || layout == "tree" || layout == "imagefolder") return path("images");
    if (layout == "webdataset" || layout == "texts") return path(file_of(layout));
    return layout + ":" + path(file_of(layout)) + ":" + path("images");
  }
  static std::string file_of(const std::string& layout) {
    if (layout == "flickr") return "set.token.txt";
    if (layout == "jsonl") return "set.jsonl";
    if (layout == "webdataset") return "set.tar";
    if (layout == "table") return "set.csv";
    if (layout == "texts") return "set.txt";
    return "set.json";
  }

  std::filesystem::path folder_;
};

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace readback::data
