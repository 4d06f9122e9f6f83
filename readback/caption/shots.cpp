#include "readback/caption/shots.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/base/sha256.h"
#include "readback/image/codec.h"

namespace readback::caption {

std::vector<Part> read_shots(const std::string& path) {
  std::vector<Part> examples;
  if (path.empty()) return examples;
  const std::string text = read_text(path);
  int64_t number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (is_blank(line)) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("image") || !json["image"].is_string() || !json.contains("caption") ||
        !json["caption"].is_string() || is_blank(json["caption"].get<std::string>())) {
      throw DataError(describe(where, R"({"image": "dog.jpg", "caption": "a dog"})", std::string(line.substr(0, 80))));
    }
    const std::filesystem::path image = std::filesystem::path(path).parent_path() / json["image"].get<std::string>();
    try {
      examples.emplace_back(image::load(image.string(), image::Alpha::kOnWhite));
    } catch (const DataError& error) {
      throw DataError(where + ": " + error.what());
    }
    examples.emplace_back(std::string(trimmed(json["caption"].get<std::string>())));
  }
  if (examples.empty()) throw DataError(describe(path, "an example a line", "none"));
  return examples;
}

std::string digest(const std::vector<Part>& examples) {
  Sha256 hash;
  for (const Part& part : examples) {
    if (const auto* const image = std::get_if<image::Image>(&part)) {
      hash.add(fmt::format("image {} {}\n", image->width, image->height));
      hash.add({reinterpret_cast<const char*>(image->pixels.data()), image->pixels.size()});
    } else {
      const auto& text = std::get<std::string>(part);
      hash.add(fmt::format("text {}\n{}", text.size(), text));
    }
  }
  return "sha256:" + hash.hex();
}

void expect_examples_taken(const std::vector<Part>& examples, const Captioner& captioner) {
  if (examples.empty() || captioner.capabilities().examples) return;
  throw UsageError(
      describe("shots", "a captioner that takes examples", captioner.description(), "IDEFICS and SmolVLM do"));
}

}  // namespace readback::caption
