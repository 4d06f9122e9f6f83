#include "readback/workflow/select.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/data/emoji_scenes.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/store.h"
#include "tests/roundtrip/fakes.h"

namespace readback::workflow {
namespace {

using roundtrip::fakes::Folder;

// The shipped models, quickly.
SelectOptions quick(const std::vector<std::string>& by) {
  SelectOptions options{.by = by};
  options.run.num_candidates = 4;
  options.run.generation.num_inference_steps = 2;
  options.run.sampling.top_p = 1.0;
  return options;
}

std::vector<std::string> pictures_in(const std::filesystem::path& folder) {
  const auto scenes = data::open_dataset("emoji-scenes", {.limit = 2});
  std::vector<std::string> paths;
  for (int64_t i = 0; i < scenes->size(); ++i) {
    paths.push_back((folder / scenes->sample(i).image_name).string());
    image::save(scenes->load_image(i), paths.back());
  }
  return paths;
}

TEST(Select, TheFirstCaptionIsTheOneThatCameBackNearest) {
  const Folder folder;
  const std::vector<std::string> pictures = pictures_in(folder.path() / "pictures");
  const Selection selection = select_captions(pictures, quick({"clip-image"}), folder.path() / "run");
  ASSERT_EQ(selection.samples.size(), 2u);
  const roundtrip::Store store = roundtrip::Store::open(folder.path() / "run");
  for (size_t s = 0; s < 2; ++s) {
    const Selected& selected = selection.samples[s];
    EXPECT_EQ(selected.sample, pictures[s]);
    ASSERT_EQ(selected.candidates.size(), 4u);
    double nearest = 1e9;
    for (const roundtrip::ScoreRow& row : store.scores(roundtrip::Direction::kI2T2I, "clip-image")) {
      if (row.key.sample == pictures[s]) nearest = std::min(nearest, *row.value);
    }
    EXPECT_EQ(selected.candidates.front().values, std::vector<double>{nearest});
    EXPECT_EQ(selected.candidates.front().reward, -nearest);
    EXPECT_TRUE(std::filesystem::exists(selected.candidates.front().picture));
    const auto rows = store.candidates(roundtrip::Direction::kI2T2I, pictures[s]);
    EXPECT_EQ(selected.candidates.front().text, *rows[static_cast<size_t>(selected.candidates.front().candidate)].text);
  }
}

TEST(Select, LikelihoodAloneNeedsNoReadingBack) {
  const Folder folder;
  const std::vector<std::string> pictures = pictures_in(folder.path() / "pictures");
  const Selection selection = select_captions(pictures, quick({"likelihood"}), folder.path() / "run");
  for (const Selected& selected : selection.samples) {
    ASSERT_EQ(selected.candidates.size(), 4u);
    EXPECT_TRUE(std::ranges::is_sorted(selected.candidates, std::ranges::greater(), &SelectedCandidate::reward));
  }
}

TEST(Select, APromptsPicturesAreRankedByHowTheyAreRead) {
  const Folder folder;
  write_file(folder.path() / "prompts.txt", "a cat on a blue background\na dog above a pizza\n");
  const Selection selection = select_pictures("texts:" + (folder.path() / "prompts.txt").string(),
                                              quick({"clip-text", "rouge-l"}), folder.path() / "run");
  ASSERT_EQ(selection.samples.size(), 2u);
  EXPECT_EQ(selection.samples[1].prompt, "a dog above a pizza");
  ASSERT_EQ(selection.samples[1].candidates.size(), 4u);
  for (const SelectedCandidate& candidate : selection.samples[1].candidates) {
    EXPECT_EQ(candidate.values.size(), 2u);
    EXPECT_GE(candidate.reward, 0);  // a mean rank
    EXPECT_LE(candidate.reward, 1);
  }
}

TEST(Select, RefusesWhatItCannotChooseBy) {
  const Folder folder;
  const std::vector<std::string> pictures = pictures_in(folder.path() / "pictures");
  EXPECT_THROW(select_captions(pictures, quick({"beauty"}), folder.path() / "run"), UsageError);
  SelectOptions one = quick({});
  one.run.num_candidates = 1;
  EXPECT_THROW(select_captions(pictures, one, folder.path() / "run"), UsageError);
  EXPECT_THROW(select_captions({pictures[0], pictures[0]}, quick({}), folder.path() / "run"), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run"));
}

}  // namespace
}  // namespace readback::workflow
