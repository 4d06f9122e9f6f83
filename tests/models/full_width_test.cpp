#include "full_width.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

#include "../source_dir.h"
#include "golden.h"
#include "readback/base/files.h"
#include "readback/models/blip2/blip2.h"
#include "readback/models/clip/clip.h"
#include "readback/models/idefics/idefics.h"
#include "readback/models/smolvlm/smolvlm.h"
#include "readback/models/stable_diffusion/unet.h"

namespace readback::models {
namespace {

constexpr int64_t kWords = 64;

struct FullWidth : testing::Test {
  template <typename Model, typename Config>
  Model build(const std::string& name) const {
    return full_width_model<Model, Config>(configs.at(name), name);
  }
  // With `count` tokens of a picture before the words.
  at::Tensor ids(int64_t count = 0) const {
    const at::Tensor words = at::tensor({3, 17, 42, 5, 60, 8, 9, 9, 31, 2, 50, 11}).view({2, 6});
    return at::cat({at::full({2, count}, kWords - 1, at::kLong), words}, 1).to(test_device());
  }
  void expect_equal(const at::Tensor& actual, const std::string& name) const {
    EXPECT_LT(relative_error(actual, golden.at(name)), kTolerance) << name;
  }

  c10::NoGradGuard no_grad;
  const std::filesystem::path folder = tests::source_dir() / "tests/goldens/models";
  nlohmann::json configs = read_json(folder / "full_width.json");
  checkpoint::TensorMap golden = checkpoint::load_safetensors(folder / "full_width.safetensors");
};

TEST_F(FullWidth, Idefics) {
  const auto model = build<models::Idefics, IdeficsConfig>("idefics");
  const at::Tensor seen = at::zeros({2, 6}, at::kLong).to(test_device());
  expect_equal(model.forward(hashed_input("pixels", {2, 1, 3, 28, 28}), ids(), seen), "idefics");
}

TEST_F(FullWidth, Blip2WithOpt) {
  const auto model = build<Blip2, Blip2Config>("blip2_opt");
  expect_equal(model.forward(hashed_input("pixels", {2, 3, 28, 28}), ids()), "blip2_opt");
}

TEST_F(FullWidth, Blip2WithT5) {
  const auto model = build<Blip2, Blip2Config>("blip2_flan_t5");
  expect_equal(model.forward(hashed_input("pixels", {2, 3, 28, 28}), ids(), ids().slice(1, 0, 4)), "blip2_flan_t5");
}

TEST_F(FullWidth, SmolVlm) {
  const auto model = build<models::SmolVlm, SmolVlmConfig>("smolvlm");
  expect_equal(model.forward(hashed_input("pixels", {2, 3, 64, 64}), ids(1)), "smolvlm");
}

TEST_F(FullWidth, StableDiffusionXl) {
  const auto unet = build<Unet, UnetConfig>("xl_unet");
  const at::Tensor sizes = at::tensor({512.F, 512.F, 0.F, 0.F, 512.F, 512.F}).expand({2, 6}).to(test_device());
  const UnetContext context = unet.prepare({.text = hashed_input("states", {2, 12, 2048}),
                                            .guidance = {},
                                            .pooled_text = hashed_input("pooled", {2, 1280}),
                                            .sizes = sizes});
  expect_equal(unet.forward(hashed_input("sample", {2, 4, 8, 8}), at::tensor({17, 981}).to(test_device()), context),
               "xl_unet");
}

TEST_F(FullWidth, StableDiffusionXlsSecondTextEncoder) {
  const auto model = build<ClipTextModelWithProjection, ClipTextConfig>("big_g");
  expect_equal(model.text_model.forward(ids()).last_hidden_state, "big_g");
}

}  // namespace
}  // namespace readback::models
