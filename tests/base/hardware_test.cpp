#include "readback/base/hardware.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "readback/base/memory.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

class HardwareTest : public testing::Test {
 protected:
  void SetUp() override { root_ = fs::temp_directory_path() / ("readback-hardware-" + std::to_string(::getpid())); }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  ContainerLimits limits() const { return container_limits(root_, root_ / "sys"); }

  fs::path root_;
};

TEST_F(HardwareTest, TheProcessorAndItsMemoryAreKnown) {
  EXPECT_FALSE(processor_name().empty());
  const Memory memory = machine_memory();
  EXPECT_GT(memory.total, 0u);
  EXPECT_GT(memory.available, 0u);
  EXPECT_LE(memory.available, memory.total);
}

TEST_F(HardwareTest, FreeMemoryIsSomeOfTheMachines) {
  const int64_t free = free_memory(c10::kCPU);
  EXPECT_GT(free, 0);
  EXPECT_LE(static_cast<uint64_t>(free), machine_memory().total);
  EXPECT_GT(private_memory(), 0u);
}

TEST_F(HardwareTest, FeaturesAreThoseOfTheKernel) {
  std::ifstream stream("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (text.find("flags") == std::string::npos) GTEST_SKIP() << "no processor flags in /proc/cpuinfo";
  std::vector<std::string> expected;
  if (text.find(" avx2") != std::string::npos) expected.emplace_back("AVX2");
  if (text.find(" avx512f") != std::string::npos) expected.emplace_back("AVX-512");
  if (text.find(" avx512_bf16") != std::string::npos) expected.emplace_back("AVX-512 BF16");
  if (text.find(" amx_bf16") != std::string::npos) expected.emplace_back("AMX BF16");
  EXPECT_EQ(processor_features(), expected);
}

TEST_F(HardwareTest, WithoutCgroupsThereAreNoLimits) {
  EXPECT_FALSE(limits().memory);
  EXPECT_FALSE(limits().cores);
}

TEST_F(HardwareTest, TheLowestLimitOnTheWayDownCounts) {
  write("cgroup", "0::/slice/job\n");
  write("sys/slice/memory.max", "2000000000\n");
  write("sys/slice/cpu.max", "max 100000\n");
  write("sys/slice/job/memory.max", "max\n");
  write("sys/slice/job/cpu.max", "150000 100000\n");
  EXPECT_EQ(limits().memory, 2000000000u);
  EXPECT_EQ(limits().cores, 1.5);
}

TEST_F(HardwareTest, AContainerSeesItsOwnGroupAsTheRoot) {
  write("cgroup", "0::/\n");
  write("sys/memory.max", "1073741824\n");
  EXPECT_EQ(limits().memory, 1073741824u);
}

TEST_F(HardwareTest, Version1HasAFolderForEachController) {
  write("cgroup", "5:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n1:name=systemd:/docker/x\n");
  write("sys/memory/docker/x/memory.limit_in_bytes", "4294967296\n");
  write("sys/memory/memory.limit_in_bytes", "9223372036854771712\n");  // none
  write("sys/cpu/docker/x/cpu.cfs_quota_us", "50000\n");
  write("sys/cpu/docker/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limits().memory, 4294967296u);
  EXPECT_EQ(limits().cores, 0.5);
  write("sys/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
  EXPECT_FALSE(limits().cores);
}

}  // namespace
}  // namespace readback
