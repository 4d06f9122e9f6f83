// Precision and recall equal torch-fidelity's, by tools/reference/precision_recall.py.
#include "readback/score/image/precision_recall.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

// Standard normal features [rows, width] times `scale`, shifted by `shift`.
at::Tensor features(const char* name, int64_t rows, int64_t width, double scale, double shift) {
  std::vector<float> values(static_cast<size_t>(rows * width));
  Random(11, Purpose::kTest, name).fill_normal(values);
  return at::tensor(values).view({rows, width}) * scale + shift;
}

TEST(PrecisionRecall, EqualTorchFidelitys) {
  const auto cases = read_json(tests::source_dir() / "tests/goldens/score/precision_recall.json");
  ASSERT_GE(cases.size(), 3u);
  for (const auto& golden : cases) {
    const at::Tensor generated =
        features("generated", golden["generated"], golden["width"], golden["scale"], golden["shift"]);
    const at::Tensor real = features("real", golden["real"], golden["width"], 1, 0);
    const PrecisionRecall value = precision_recall(generated, real, golden["k"]);
    EXPECT_NEAR(value.precision, golden["precision"].get<double>(), 1e-6) << golden;
    EXPECT_NEAR(value.recall, golden["recall"].get<double>(), 1e-6) << golden;
  }
}

TEST(PrecisionRecall, OfEqualSetsAreOneAndOfFarOnesZero) {
  const at::Tensor a = features("generated", 20, 4, 1, 0);
  EXPECT_EQ(precision_recall(a, a).recall, 1);
  EXPECT_EQ(precision_recall(a, a).precision, 1);
  EXPECT_EQ(precision_recall(a, a + 100).recall, 0);
  EXPECT_THROW(precision_recall(a.narrow(0, 0, 3), a), DataError);
  EXPECT_THROW(precision_recall(a, a.narrow(1, 0, 3)), DataError);
}

}  // namespace
}  // namespace readback::score
