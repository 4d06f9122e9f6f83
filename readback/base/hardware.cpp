#include "readback/base/hardware.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "readback/base/device.h"

namespace readback {

namespace fs = std::filesystem;

namespace {

// A cgroup's file of one number; none when it is not there or says "max".
std::optional<double> number_in(const fs::path& path) {
  std::ifstream file(path);
  double value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

template <class T>
void lower(std::optional<T>& limit, std::optional<double> other) {
  if (other && (!limit || *other < static_cast<double>(*limit))) limit = static_cast<T>(*other);
}

// Version 1 writes "no limit" as the largest multiple of a page, and -1.
constexpr double kUnlimited = 1e18;

void read_limits(const fs::path& group, ContainerLimits& limits) {
  for (const char* file : {"memory.max", "memory.limit_in_bytes"}) {
    const auto bytes = number_in(group / file);
    if (bytes && *bytes < kUnlimited) lower(limits.memory, bytes);
  }
  std::ifstream cpu(group / "cpu.max");
  double quota = 0, period = 0;
  if (cpu >> quota >> period && period > 0) lower(limits.cores, quota / period);
  const auto old_quota = number_in(group / "cpu.cfs_quota_us"), old_period = number_in(group / "cpu.cfs_period_us");
  if (old_quota && old_period && *old_quota > 0 && *old_period > 0) lower(limits.cores, *old_quota / *old_period);
}

}  // namespace

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

std::vector<std::string> processor_features() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) features.emplace_back("AVX2");
  if (__builtin_cpu_supports("avx512f")) features.emplace_back("AVX-512");
  if (__builtin_cpu_supports("avx512bf16")) features.emplace_back("AVX-512 BF16");
  if (cpu_has_amx_bfloat16()) features.emplace_back("AMX BF16");
#endif
  return features;
}

namespace {

// The number behind `name` in a file of the kernel's, 0 when it is not there.
uint64_t kilobytes_in(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) return std::strtoull(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

}  // namespace

Memory machine_memory() {
  return {kilobytes_in("/proc/meminfo", "MemTotal:") << 10, kilobytes_in("/proc/meminfo", "MemAvailable:") << 10};
}

ContainerLimits container_limits(const fs::path& process, const fs::path& cgroups) {
  ContainerLimits limits;
  // Lines of NUMBER:CONTROLLERS:PATH; version 2 has one, without controllers.
  std::ifstream groups(process / "cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::istringstream controllers(line.substr(first + 1, second - first - 1));
    const fs::path path = fs::path(line.substr(second + 1)).relative_path();
    std::string controller;
    do {
      controller.clear();
      std::getline(controllers, controller, ',');
      // Every group above limits too. A container may see its own group as the root, whatever the path says.
      fs::path group = cgroups / controller;
      read_limits(group, limits);
      for (const fs::path& part : path) read_limits(group /= part, limits);
    } while (controllers);
  }
  return limits;
}

uint64_t private_memory() { return kilobytes_in("/proc/self/status", "RssAnon:") << 10; }

}  // namespace readback
