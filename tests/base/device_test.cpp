#include "readback/base/device.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "readback/base/error.h"

namespace readback {
namespace {

TEST(Device, CpuIsAlwaysThere) { EXPECT_EQ(parse_device("cpu"), c10::Device(c10::kCPU)); }

TEST(Device, AutoTakesCudaExactlyWhereItIsUsable) {
  bool cuda = true;
  try {
    EXPECT_EQ(parse_device("cuda"), c10::Device(c10::kCUDA, 0));
  } catch (const UsageError& error) {
    cuda = false;
    EXPECT_NE(std::string(error.what()).find("device cuda: expected a usable CUDA device, got "), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(parse_device("auto").is_cuda(), cuda);
  EXPECT_EQ(readback::cuda().devices > 0, cuda);
  EXPECT_EQ(readback::cuda().reason.empty(), cuda);
}

TEST(Device, UnknownNamesAndFarIndicesAreUsageErrors) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cuda:0 ", "CPU"})
    EXPECT_THROW(parse_device(name), UsageError) << name;
}

TEST(Dtype, NamesAndAuto) {
  const c10::Device cpu(c10::kCPU);
  EXPECT_EQ(parse_dtype("float32", cpu), c10::kFloat);
  EXPECT_EQ(parse_dtype("bfloat16", cpu), c10::kBFloat16);
  EXPECT_EQ(parse_dtype("float16", cpu), c10::kHalf);
  EXPECT_EQ(parse_dtype("auto", cpu), cpu_has_bfloat16() ? c10::kBFloat16 : c10::kFloat);
  EXPECT_EQ(parse_dtype("auto", c10::Device(c10::kCUDA, 0)), c10::kBFloat16);
  EXPECT_THROW(parse_dtype("fp32", cpu), UsageError);
}

TEST(Dtype, Bfloat16IsWhatTheKernelReports) {
  std::ifstream stream("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (text.find("flags") == std::string::npos) GTEST_SKIP() << "no processor flags in /proc/cpuinfo";
  const bool reported = text.find("avx512_bf16") != std::string::npos || text.find("amx_bf16") != std::string::npos;
  EXPECT_EQ(cpu_has_bfloat16(), reported);
}

}  // namespace
}  // namespace readback
