// Any bytes are a safetensors file or a CheckpointError; what loads, saves and loads as the same.
#include <ATen/ATen.h>

#include "fuzz/memory_file.h"
#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"

using namespace readback;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  checkpoint::TensorMap tensors;
  try {
    tensors = checkpoint::load_safetensors(file.path());
  } catch (const CheckpointError&) {
    return 0;
  }
  static const std::string copy = "/dev/shm/readback_fuzz_" + std::to_string(::getpid());
  checkpoint::save_safetensors(tensors, copy);
  const checkpoint::TensorMap again = checkpoint::load_safetensors(copy);
  if (again.size() != tensors.size()) std::abort();
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& other = again.at(name);
    if (other.scalar_type() != tensor.scalar_type() || other.sizes() != tensor.sizes()) std::abort();
    if (tensor.nbytes() != 0 && std::memcmp(tensor.data_ptr(), other.data_ptr(), tensor.nbytes()) != 0) std::abort();
  }
  ::unlink(copy.c_str());
  return 0;
}
