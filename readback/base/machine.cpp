#include "readback/base/machine.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "readback/base/device.h"

namespace readback {

std::string Machine::device_class() const { return device.is_cuda() ? "cuda" : "cpu"; }
std::string Machine::dtype_name() const { return readback::dtype_name(dtype); }

Machine open_machine(const MachineOptions& options, int64_t local_rank) {
  check_options(options);
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  const c10::Device device = parse_device(options.device, local_rank);
  return {device, parse_dtype(options.dtype, device), options.variant};
}

void rethrow_engine_error() {
  constexpr const char* kSmaller = "Use a smaller batch_size or picture, bfloat16, or another device";
  try {
    throw;
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(describe("memory", "enough for the batch", "none left", kSmaller));
  } catch (const c10::OutOfMemoryError& error) {
    throw OutOfMemory(
        describe("the device's memory", "enough for the batch", error.what_without_backtrace(), kSmaller));
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    // What libtorch's allocator for CPUs says.
    if (message.find("DefaultCPUAllocator") != std::string::npos) {
      throw OutOfMemory(describe("memory", "enough for the batch", message, kSmaller));
    }
    throw EngineError(describe("libtorch", "", message,
                               "This concerns the machine or the program, not the input; what is stored is safe"));
  }
}

}  // namespace readback
