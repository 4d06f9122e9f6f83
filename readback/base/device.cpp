#include "readback/base/device.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <charconv>

#include "readback/base/error.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace readback {

namespace {

constexpr int kStubLibrary = 34, kNoDevice = 100;  // what cuInit answers where no GPU is

// Asks the driver itself: much cheaper than loading libtorch_cuda, which would also print when there is no driver.
Cuda ask_driver() {
  Cuda cuda;
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) {
    cuda.reason = "no NVIDIA driver (libcuda.so.1)";
    return cuda;
  }
  const auto initialise = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver, "cuInit"));
  const auto version = reinterpret_cast<int (*)(int*)>(::dlsym(driver, "cuDriverGetVersion"));
  const auto count = reinterpret_cast<int (*)(int*)>(::dlsym(driver, "cuDeviceGetCount"));
  const auto name = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(driver, "cuDeviceGetName"));
  if (!initialise || !version || !count || !name) {
    cuda.reason = "an NVIDIA driver without cuInit, cuDriverGetVersion, cuDeviceGetCount or cuDeviceGetName";
    return cuda;
  }
  if (int number = 0; version(&number) == 0)
    cuda.driver = std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  int gpus = 0, error = initialise(0);
  if (error == 0) error = count(&gpus);
  cuda.gpu = error != kNoDevice && error != kStubLibrary && (error != 0 || gpus > 0);
  cuda.reason = cuda.gpu ? "the NVIDIA driver's error " + std::to_string(error) + ". Look with nvidia-smi what it lacks"
                         : "an NVIDIA driver without devices";
  for (int gpu = 0; gpu < gpus; ++gpu) {
    char text[256] = "";
    cuda.names.emplace_back(name(text, sizeof text, gpu) == 0 ? text : "unknown");
  }
  return cuda;
}

// The same numbers on a GPU as the references have: libtorch's defaults let cuDNN's convolutions read float32 with 10
// bits of mantissa (TF32) and cuBLAS add up partial sums of half precision in half precision. And the same algorithm at
// each call, not the one that was fastest the first time, so that a run can be repeated. cuDNN's attention stays away:
// it plans anew for every number of keys, so that with half precision each token of a text cost ten times what it
// computes.
void set_arithmetic() {
  at::Context& context = at::globalContext();
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setAllowFP16ReductionCuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicCuDNN(true);
  context.setSDPUseCuDNN(false);
}

// ATen learns of CUDA when libtorch_cuda registers itself; it asks once, so nothing may ask before this.
Cuda load_cuda() {
  Cuda cuda = ask_driver();
  if (cuda.names.empty()) return cuda;
  cuda.reason.clear();
  // Found as libtorch_cpu was: by the program's own list of library folders.
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    cuda.reason = std::string(::dlerror()) +
                  ". Install what libtorch_cuda needs (in readback's source tree: ./dev setup --cuda), or "
                  "use the libtorch of a complete torch installation";
    return cuda;
  }
  if (at::hasCUDA()) set_arithmetic();
  if (at::hasCUDA()) cuda.devices = static_cast<int>(at::detail::getCUDAHooks().deviceCount());
  if (cuda.devices == 0)
    cuda.reason = "libtorch_cuda finds no usable device. Install a newer driver: this one knows CUDA " + cuda.driver;
  return cuda;
}

}  // namespace

const Cuda& cuda() {
  static const Cuda cuda = load_cuda();
  return cuda;
}

c10::Device parse_device(const std::string& name, int64_t local_rank) {
  const c10::Device cpu(c10::kCPU);
  if (name == "cpu") return cpu;
  const auto in_turn = [&] {
    return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(local_rank % cuda().devices));
  };
  if (name == "auto") return cuda().devices > 0 ? in_turn() : cpu;
  int index = 0;
  bool valid = name == "cuda";
  if (name.starts_with("cuda:")) {
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + 5, end, index);
    valid = error == std::errc() && stop == end && index >= 0;
  }
  if (!valid) throw UsageError(describe("device", "auto, cpu, cuda or cuda:N", "'" + name + "'"));
  const int devices = cuda().devices;
  if (devices == 0)
    throw UsageError(
        describe("device " + name, "a usable CUDA device", cuda().reason, "The device cpu is always there"));
  if (name == "cuda") return in_turn();
  if (index >= devices) throw UsageError(describe("device " + name, "an index below " + std::to_string(devices), name));
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

c10::ScalarType parse_dtype(const std::string& name, c10::Device device) {
  if (name == "float32") return c10::kFloat;
  if (name == "bfloat16") return c10::kBFloat16;
  if (name == "float16") return c10::kHalf;
  if (name == "auto") return device.is_cuda() || cpu_has_bfloat16() ? c10::kBFloat16 : c10::kFloat;
  throw UsageError(describe("dtype", "auto, float32, bfloat16 or float16", "'" + name + "'"));
}

std::string dtype_name(c10::ScalarType dtype) {
  if (dtype == c10::kFloat) return "float32";
  if (dtype == c10::kBFloat16) return "bfloat16";
  if (dtype == c10::kHalf) return "float16";
  return c10::toString(dtype);
}

#if defined(__x86_64__)
namespace {

// Register states that the operating system saves: a processor's feature counts only with those it works on.
bool saves_registers(unsigned states) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsxsave = 1u << 27;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return false;
  unsigned enabled = 0, upper = 0;
  __asm__("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
  return (enabled & states) == states;
}

}  // namespace

bool cpu_has_amx_bfloat16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxBf16 = 1u << 22, kTileRegisters = 0x60000;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0 && saves_registers(kTileRegisters);
}

bool cpu_has_bfloat16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAvx512Bf16 = 1u << 5, kAvx512Registers = 0xe6;
  if (cpu_has_amx_bfloat16()) return true;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvx512Bf16) != 0 && saves_registers(kAvx512Registers);
}
#else
bool cpu_has_amx_bfloat16() { return false; }
bool cpu_has_bfloat16() { return false; }
#endif

}  // namespace readback
