// Where models compute, and in what precision.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "readback/base/options.h"

namespace readback {

struct MachineOptions {
  std::string device = "auto";
  std::string dtype = "auto";
  std::string variant;
  int64_t threads = 0;

  static constexpr auto options() {
    using O = MachineOptions;
    return std::tuple(option(&O::device, "device", "auto, cpu, cuda or cuda:N", Scope::kExecution),
                      option(&O::dtype, "dtype", "auto, float32, bfloat16 or float16", Scope::kExecution),
                      option(&O::variant, "variant",
                             "Weights of this variant (such as fp16), which every model must have", Scope::kExecution),
                      option(&O::threads, "threads", "CPU threads; 0: one a core", at_least(0), Scope::kExecution));
  }
};

struct Machine {
  c10::Device device{c10::kCPU};
  c10::ScalarType dtype = c10::kFloat;
  std::string variant = {};  // of the weights (checkpoint/repository.h); a model's digest tells which were taken

  std::string device_class() const;  // "cpu" or "cuda": what results may depend on
  std::string dtype_name() const;    // "float32", "bfloat16", "float16"
};

// What the options mean here; see base/device.h. Sets the process's number of threads when the options give one.
// `local_rank`: which of the machine's devices "auto" and "cuda" mean. Errors: UsageError.
Machine open_machine(const MachineOptions& options, int64_t local_rank = 0);

// Runs `work`, and throws what libtorch says of the machine as our own errors: OutOfMemory, EngineError.
[[noreturn]] void rethrow_engine_error();  // call it in a catch (...) block only
template <typename Work>
auto on_engine(const Work& work) -> decltype(work()) {
  try {
    return work();
  } catch (...) {
    rethrow_engine_error();
  }
}

}  // namespace readback
