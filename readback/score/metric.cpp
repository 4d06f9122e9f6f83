#include "readback/score/metric.h"

#include <utility>

namespace readback::score {

namespace {

constexpr std::pair<Inputs, const char*> kInputs[] = {
    {Inputs::kImages, "images"},
    {Inputs::kTexts, "texts"},
    {Inputs::kReferences, "references"},
    {Inputs::kTextTruth, "text truth"},
    {Inputs::kImageTruth, "image truth"},
    {Inputs::kImageText, "image text"},
    {Inputs::kImageTextReferences, "image text references"},
};

}  // namespace

const char* inputs_name(Inputs inputs) {
  for (const auto& [value, name] : kInputs) {
    if (value == inputs) return name;
  }
  return "";
}

std::optional<Inputs> parse_inputs(const std::string& name) {
  for (const auto& [value, known] : kInputs) {
    if (name == known) return value;
  }
  return std::nullopt;
}

}  // namespace readback::score
