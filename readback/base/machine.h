// Where models compute.
#pragma once
#include <cstdint>
#include <string>

#include "readback/base/device.h"

namespace readback {

struct MachineOptions {
  std::string device = "auto", dtype = "auto";
};

struct Machine {
  c10::Device device{c10::kCPU};
  c10::ScalarType dtype = c10::kFloat;
};

// What the options mean here; see base/device.h. Errors: UsageError.
inline Machine open_machine(const MachineOptions& options, int64_t local_rank = 0) {
  const c10::Device device = parse_device(options.device, local_rank);
  return {device, parse_dtype(options.dtype, device)};
}

}  // namespace readback
