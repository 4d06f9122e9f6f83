// What `device` and `dtype` mean here, and what the machine has.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

namespace readback {

// What CUDA offers here. Found out once a process: where the driver has GPUs, libtorch_cuda is loaded.
struct Cuda {
  bool gpu = false;                // there is an NVIDIA driver, and it does not say that the machine has no GPU
  std::vector<std::string> names;  // the driver's, of its GPUs
  std::string driver;              // the newest CUDA that it knows, "13.2"; empty without one
  int devices = 0;                 // GPUs that libtorch can use: `auto` takes CUDA when there are some
  std::string reason;              // why `devices` is 0, and what to do; empty when it is not
};
const Cuda& cuda();

// "auto" (CUDA when libtorch_cuda and a device are there; cuda() says why not), "cpu", "cuda", "cuda:1". Without an
// index the processes of a machine take its devices in turn, by `local_rank`. Loads libtorch_cuda on demand. Errors:
// UsageError, also for CUDA without a usable device (cuda().reason is in the message).
c10::Device parse_device(const std::string& name, int64_t local_rank = 0);

// "auto": bfloat16 where the processor multiplies it natively (AVX-512 BF16, AMX) or on CUDA; float32 elsewhere.
// Errors: UsageError.
c10::ScalarType parse_dtype(const std::string& name, c10::Device device);

// "float32", "bfloat16" or "float16"; libtorch's own name for others.
std::string dtype_name(c10::ScalarType dtype);

// True when the CPU has AVX-512 BF16 or AMX-BF16, and the operating system saves their registers.
bool cpu_has_bfloat16();
bool cpu_has_amx_bfloat16();

}  // namespace readback
