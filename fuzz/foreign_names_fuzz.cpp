// Any safetensors file is an adapter of a known kind, a model in one file, or a CheckpointError; what is made of it can
// be read.
#include <ATen/ATen.h>

#include "fuzz/memory_file.h"
#include "readback/base/error.h"
#include "readback/checkpoint/adapter.h"
#include "readback/checkpoint/lora_names.h"
#include "readback/checkpoint/single_file.h"

using namespace readback;

namespace {

double sum_of(const checkpoint::TensorMap& tensors) {
  double sum = 0;
  for (const auto& [name, tensor] : tensors) sum += tensor.to(at::kDouble).sum().item<double>();
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  try {
    const checkpoint::TensorMap tensors = checkpoint::load_safetensors(file.path());
    if (checkpoint::is_lora(tensors)) {
      for (const auto& [part, modules] : checkpoint::load_adapter(file.path(), "base").parts) {
        checkpoint::TensorMap weights;
        for (const auto& [module, pair] : modules) weights[module + ".weight"] = at::zeros({1, 1});
        checkpoint::add_low_rank(weights, modules, "fuzz");
      }
    } else {
      for (const auto& [part, converted] : checkpoint::read_single_file("fuzz", tensors).parts) sum_of(converted);
    }
  } catch (const CheckpointError&) {
  }
  return 0;
}
