// Any bytes are a file of torch.save, or the program of its pickle, or a CheckpointError; every element can be read.
#include <ATen/ATen.h>

#include <string_view>

#include "fuzz/memory_file.h"
#include "readback/base/error.h"
#include "readback/checkpoint/pickle.h"
#include "readback/checkpoint/pickle_machine.h"

using namespace readback;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    if (bytes.starts_with("PK")) {
      const MemoryFile file(data, size);
      for (const auto& [name, tensor] : checkpoint::load_pickle(file.path()))
        tensor.clone(at::MemoryFormat::Contiguous);
    } else {
      checkpoint::PickleMachine machine(bytes, "fuzz", [](const std::string&, at::ScalarType dtype, int64_t count) {
        if (count > 1000) throw CheckpointError("too large");
        return at::zeros({count}, dtype);
      });
      const checkpoint::PickleNode* root = machine.run();
      if (root->tensor.defined()) root->tensor.clone(at::MemoryFormat::Contiguous);
    }
  } catch (const CheckpointError&) {
  }
  return 0;
}
