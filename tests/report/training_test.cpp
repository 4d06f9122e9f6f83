// The page of a training.
#include "readback/report/training.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::report {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("readback-training-page-" + std::to_string(::getpid()));
  ~Folder() { fs::remove_all(path); }
};

TEST(TrainingPage, DrawsEveryFigureThatWasLogged) {
  Folder folder;
  EXPECT_FALSE(is_training(folder.path));
  write_file(folder.path / "training/losses.jsonl",
             "{\"step\":0,\"loss\":2.5,\"image_cycle_lm\":1.5}\n{\"step\":10,\"loss\":null}\n"
             "{\"step\":20,\"loss\":0.5,\"image_cycle_lm\":0.25}\n{\"step\":30,\"lo");
  write_file(folder.path / "training/evaluations.jsonl", "{\"step\":20,\"cider\":3.25}\n");
  write_file(folder.path / "training/identity.json",
             R"({"options": {"task": {"dataset": "<photos>", "none": null}, "steps": 30}, "start": {}})");
  ASSERT_TRUE(is_training(folder.path));
  const std::string page = render_training(folder.path);
  EXPECT_NE(page.find("loss from 2.50 to 0.500 over 20 steps"), std::string::npos);
  EXPECT_NE(page.find("step 20: 0.250"), std::string::npos);
  EXPECT_EQ(page.find("step 10:"), std::string::npos);  // a loss that was not finite is a gap
  EXPECT_NE(page.find("<strong>cider</strong>"), std::string::npos);
  EXPECT_NE(page.find("steps = 30\ntask.dataset = &quot;&lt;photos&gt;&quot;\n</pre>"), std::string::npos);
}

TEST(TrainingPage, SaysWhenThereIsNothingYet) {
  Folder folder;
  write_file(folder.path / "training/losses.jsonl", "");
  EXPECT_THROW(render_training(folder.path), DataError);
}

}  // namespace
}  // namespace readback::report
