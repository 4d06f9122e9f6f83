#include "readback/checkpoint/writer.h"

#include <cstdlib>

#include "readback/checkpoint/repository.h"
#include "tests/checkpoint/testing.h"
#include "tests/source_dir.h"

namespace readback::checkpoint {
namespace {

class Writer : public TemporaryFolder {};

TEST_F(Writer, WritesARepositoryThatReadsBack) {
  const nlohmann::json config{{"model_type", "clip_text_model"}, {"layer_norm_eps", 1e-5}, {"name", "ü"}};
  const TensorMap tensors{{"weight", golden_values({3, 5})}, {"position_ids", golden_values({4}, at::kLong)}};
  write_model(folder_ / "new" / "model", config, tensors);
  const Repository repository((folder_ / "new" / "model").string());
  EXPECT_EQ(repository.json(), config);
  EXPECT_EQ(read_file(folder_ / "new/model/config.json"),
            "{\n  \"layer_norm_eps\": 1e-05,\n  \"model_type\": \"clip_text_model\",\n  \"name\": \"\\u00fc\"\n}\n");
  const TensorMap again = repository.tensors();
  ASSERT_EQ(again.size(), 2u);
  for (const auto& [name, tensor] : tensors) expect_same(again.at(name), tensor, name);
  std::map<std::string, std::string> metadata;
  load_safetensors(folder_ / "new/model/model.safetensors", &metadata);
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST_F(Writer, CastsFloatingPointTensorsOnly) {
  const TensorMap tensors{{"weight", golden_values({3, 5})},
                          {"half", golden_values({3}, at::kHalf)},
                          {"position_ids", golden_values({4}, at::kLong)}};
  for (const auto& [dtype, name] :
       {std::pair{at::kHalf, "float16"}, {at::kBFloat16, "bfloat16"}, {at::kFloat, "float32"}}) {
    const ModelFiles files{"config.json", "diffusion_pytorch_model.safetensors", dtype};
    write_model(folder_, {{"model_type", "blip"}, {"torch_dtype", "float64"}}, tensors, files);
    const TensorMap again = Repository(folder_.string()).tensors();
    expect_same(again.at("weight"), golden_values({3, 5}).to(dtype), name);
    expect_same(again.at("half"), golden_values({3}).to(dtype), name);
    expect_same(again.at("position_ids"), golden_values({4}, at::kLong), name);
    EXPECT_EQ(Repository(folder_.string()).json(), (nlohmann::json{{"model_type", "blip"}, {"dtype", name}}));
  }
  write_model(folder_, {{"_class_name", "AutoencoderKL"}}, tensors, {.dtype = at::kHalf});
  EXPECT_EQ(Repository(folder_.string()).json(), (nlohmann::json{{"_class_name", "AutoencoderKL"}}));
}

TEST_F(Writer, RefusesWeightsThatTheDtypeCannotHold) {
  const TensorMap large{{"weight", at::full({2}, 1e6)}};
  expect_contains(error_of<StoreError>([&] { write_model(folder_, {}, large, {.dtype = at::kHalf}); }),
                  "'weight': expected weights in the range of float16");
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_NO_THROW(write_model(folder_, {}, large, {.dtype = at::kBFloat16}));
  const TensorMap infinite{{"mask", at::full({2}, -std::numeric_limits<double>::infinity())}};
  EXPECT_NO_THROW(write_model(folder_, {}, infinite, {.dtype = at::kHalf})) << "it was infinite before";
}

// The other direction of the goldens: safetensors and transformers read what the writer wrote.
TEST_F(Writer, PythonLoadsWhatWeWrite) {
  const char* python = std::getenv("READBACK_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "READBACK_PYTHON names no Python with tools/reference/requirements.txt";
  TensorMap tensors{
      {"scalar", golden_values({})}, {"empty", golden_values({0, 4})}, {"transposed", golden_values({3, 5}).t()}};
  for (const auto& [name, dtype] : kEveryDtype) tensors[std::string("of.") + name] = golden_values({3, 5}, dtype);
  write_model(folder_, {{"model_type", "none"}}, tensors);
  const Repository clip(tests::source_dir().string() + "/tests/goldens/models/clip-text-sd1");
  write_model(folder_ / "clip", clip.json(), clip.tensors(), {.dtype = at::kHalf});
  const std::string command = std::string(python) + " '" +
                              (tests::source_dir() / "tools/reference/checkpoint.py").string() + "' check '" +
                              folder_.string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace readback::checkpoint
