#include "readback/roundtrip/accuracy.h"

#include <gtest/gtest.h>

#include "fakes.h"

namespace readback::roundtrip {
namespace {

// Says what the scenes of a split show, in their order, in one phrasing.
class Knowing final : public caption::Captioner {
 public:
  Knowing(data::Split split, size_t phrasing) : split_(split), phrasing_(phrasing) {}
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions&, const Context&) override {
    std::vector<Result<std::vector<caption::Caption>>> results;
    for (const caption::Request& request : requests) {
      examples += request.examples.size();
      results.emplace_back(
          std::vector<caption::Caption>{{data::captions(data::make_scene(split_, next_++))[phrasing_], {}, {}}});
    }
    return results;
  }
  std::string description() const override { return "knowing"; }
  size_t examples = 0;

 private:
  data::Split split_;
  size_t phrasing_;
  int64_t next_ = 0;
};

TEST(Accuracy, OfCompleteAndOfTerseCaptions) {
  AccuracyOptions options;
  options.limit = 40;
  for (const auto& [phrasing, all] : {std::pair(size_t{0}, 1.0), std::pair(size_t{4}, 0.0)}) {
    Knowing captioner(options.split, phrasing);
    for (const SceneAccuracy& row : captioner_accuracy(captioner, options, {})) {
      EXPECT_EQ(row.all.mean, all) << row.scenes;
      EXPECT_EQ(row.model, "captioner");
    }
    EXPECT_EQ(captioner.examples, 0u);
  }
}

TEST(Accuracy, ExamplesStandBeforeEveryPicture) {
  AccuracyOptions options;
  options.limit = 5;
  options.examples = {fakes::grey(80), "a grey square"};
  Knowing captioner(options.split, 0);
  captioner_accuracy(captioner, options, {});
  EXPECT_EQ(captioner.examples, 5u * 2);
}

}  // namespace
}  // namespace readback::roundtrip
