// What the machine is: processor, memory, and what a container may use of them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace readback {

std::string processor_name();  // "AMD EPYC 9554 64-Core Processor"; "unknown processor" where the kernel does not say

// Of "AVX2", "AVX-512", "AVX-512 BF16" and "AMX BF16" those that the processor has and the operating system allows.
std::vector<std::string> processor_features();

struct Memory {
  uint64_t total = 0, available = 0;  // bytes; 0: unknown
};
Memory machine_memory();

// What cgroups (of either version) allow this process, a container's limits among them. None: no limit.
struct ContainerLimits {
  std::optional<uint64_t> memory;  // bytes
  std::optional<double> cores;
};
// Of the process whose /proc/self is `process`, on the hierarchy mounted at `cgroups`.
ContainerLimits container_limits(const std::filesystem::path& process = "/proc/self",
                                 const std::filesystem::path& cgroups = "/sys/fs/cgroup");

// Bytes of this process that no file holds; 0: unknown.
uint64_t private_memory();

}  // namespace readback
