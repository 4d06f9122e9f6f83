#include "readback/checkpoint/writer.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::checkpoint {

namespace {

const char* python_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      throw StoreError(describe("weights", "dtype float32, float16 or bfloat16", c10::toString(dtype)));
  }
}

TensorMap cast(const TensorMap& tensors, at::ScalarType dtype, const std::string& where) {
  TensorMap result;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_floating_point()) {
      result[name] = tensor;
      continue;
    }
    result[name] = tensor.detach().to(dtype);
    if (!at::equal(at::isfinite(tensor.detach()), at::isfinite(result[name])))
      throw StoreError(describe(where + ": '" + name + "'",
                                std::string("weights in the range of ") + python_name(dtype), "larger ones",
                                "Choose float32 or bfloat16"));
  }
  return result;
}

}  // namespace

void write_json(const std::filesystem::path& path, const nlohmann::json& value) {
  std::string text;
  try {
    text = value.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
  } catch (const nlohmann::json::exception& error) {
    throw StoreError(describe(path.string(), "text in UTF-8", error.what()));
  }
  write_file(path, text);
}

void write_model(const std::filesystem::path& folder, nlohmann::json config, TensorMap tensors,
                 const ModelFiles& files) {
  const std::filesystem::path weights = folder / files.weights;
  if (files.dtype && config.contains("model_type")) {
    config.erase("torch_dtype");  // the name of "dtype" before transformers 4.56
    config["dtype"] = python_name(*files.dtype);
  }
  // "format" tells transformers and diffusers that the tensors are laid out as PyTorch's.
  if (files.dtype) tensors = cast(tensors, *files.dtype, weights.string());
  save_safetensors(std::move(tensors), weights, {{"format", "pt"}});
  write_json(folder / files.config, config);
}

}  // namespace readback::checkpoint
