// Two models that take turns in memory are the models that they are side by side.
#include "readback/workflow/models_in_turn.h"

#include <gtest/gtest.h>

#include "../roundtrip/fakes.h"
#include "readback/workflow/run.h"

namespace readback::workflow {
namespace {

using namespace roundtrip;

// How many models there are, and were opened.
struct Count {
  int alive = 0, most = 0, captioners = 0, generators = 0;
};

template <typename Model>
class Counted final : public Model {
 public:
  explicit Counted(Count& count) : count_(count) { count_.most = std::max(count_.most, ++count_.alive); }
  ~Counted() override { --count_.alive; }

 private:
  Count& count_;
};

TEST(ModelsInTurn, OneIsInMemoryAtATime) {
  Count count;
  ModelsInTurn models([&] { return ++count.captioners, std::make_unique<Counted<fakes::Captioner>>(count); },
                      [&] { return ++count.generators, std::make_unique<Counted<fakes::Generator>>(count); },
                      c10::kCPU);
  RunOptions options;
  options.dataset = "emoji-scenes";
  options.dataset_options.limit = 6;
  options.num_candidates = 3;
  options.batch_size = 2;
  options.metrics = {"psnr"};
  const fakes::Folder folder;
  const RunResult result = run(options, models.captioner(), models.generator(), folder);
  EXPECT_EQ(result.summary.units, 6 * 3 * 2);
  EXPECT_TRUE(result.failures.empty());
  EXPECT_EQ(count.most, 1);
  // Once to learn what it is, and then at most once for each of the three groups' two directions.
  EXPECT_LE(count.generators, 1 + 3 * 2);
  EXPECT_LE(count.captioners, 1 + 3 * 2);
}

TEST(ModelsInTurn, ARunIsTheSameRun) {
  std::vector<std::vector<std::string>> texts, pictures;
  for (const Turns turns : {Turns::kNever, Turns::kAlways}) {
    RunOptions options;
    options.dataset_options.limit = 2;
    options.num_candidates = 2;
    options.generation.num_inference_steps = 2;
    options.metrics = {"psnr"};
    options.turns = turns;
    const fakes::Folder folder;
    run(options, folder);
    const Store store = Store::open(folder);
    texts.emplace_back();
    pictures.emplace_back();
    for (const Direction direction : options.directions) {
      for (const SampleRow& sample : store.samples()) {
        for (const CandidateRow& row : store.candidates(direction, sample.id)) {
          texts.back().push_back(row.text.value());
          const image::Image picture = store.load_image(row.image.value());
          pictures.back().emplace_back(picture.pixels.begin(), picture.pixels.end());
        }
      }
    }
  }
  EXPECT_EQ(texts[0].size(), 8u);
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(pictures[0], pictures[1]);
}

TEST(ModelsInTurn, SmallModelsFitTogether) {
  EXPECT_TRUE(fit_together("emoji-scenes/captioner", "emoji-scenes/generator", {}));
}

}  // namespace
}  // namespace readback::workflow
