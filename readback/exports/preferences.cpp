// Best against worst, as trainers of preferences load them from a folder of pictures with metadata.jsonl (the
// imagefolder of Hugging Face's datasets):
//   captions  TRL's DPO for models that see: image, prompt, chosen, rejected, each a conversation
//   pictures  Diffusion-DPO's, as in Pick-a-Pic: jpg_0, jpg_1, caption, label_0 (1 where jpg_0 is preferred), label_1
// All lies in a folder train/, since datasets takes a "test" in a file's name for a split. Both have the margin, by
// what candidates were chosen, and the sample's id.
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/exports/material.h"

namespace readback::exports {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using roundtrip::CandidateRow;
using roundtrip::Choice;

namespace {

double reward_of(const Choice& choice, int64_t candidate) {
  return std::ranges::find(choice.candidates, candidate, &roundtrip::Rated::candidate)->reward;
}

ordered_json said(const char* who, const std::string& what) {
  return ordered_json::array({{{"role", who}, {"content", what}}});
}

}  // namespace

int64_t write_preferences(const Material& material, const fs::path& output) {
  const fs::path path = output / "train";
  AtomicFile lines(path / "metadata.jsonl");
  int64_t records = 0;
  for (const Choice& choice : material.choices.kept) {
    material.context.check();
    material.context.progress().advance(1);
    if (choice.rejected < 0) continue;
    const roundtrip::SampleRow& sample = material.sample(choice);
    const CandidateRow& chosen = material.chosen(choice);
    const CandidateRow& rejected = material.candidate(choice, choice.rejected);
    const auto copied = [&](const std::string& picture) {
      const fs::path name = fs::path("images") / fs::path(picture).filename();
      material.copy_picture(picture, path / name);
      return name.string();
    };
    ordered_json line;
    if (material.captions()) {
      line = {{"file_name", copied(sample.image)},
              {"prompt", said("user", material.options.question)},
              {"chosen", said("assistant", *chosen.text)},
              {"rejected", said("assistant", *rejected.text)}};
    } else {
      line = {{"jpg_0_file_name", copied(*chosen.image)},
              {"jpg_1_file_name", copied(*rejected.image)},
              {"caption", sample.prompt()},
              {"label_0", 1},
              {"label_1", 0}};
    }
    line["margin"] = reward_of(choice, choice.chosen.front()) - reward_of(choice, choice.rejected);
    line["sample"] = sample.id;
    lines.append(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    ++records;
  }
  lines.commit();
  return records;
}

}  // namespace readback::exports
