#include "readback/doctor/doctor.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>

#include "readback/base/assets.h"
#include "readback/base/cache.h"
#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/hardware.h"
#include "readback/base/process.h"
#include "readback/checkpoint/repository.h"
#include "readback/score/text/meteor/tables.h"
#include "readback/score/text/spice/install.h"

namespace readback::doctor {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kGigabyte = 1'000'000'000;

std::string gigabytes(uint64_t bytes) {
  return fmt::format("{:.1f} GB", static_cast<double>(bytes) / static_cast<double>(kGigabyte));
}

Finding processor() {
  const auto features = processor_features();
  Finding finding{"processor",
                  fmt::format("{}: {}", processor_name(), fmt::join(features, ", ")),
                  {{"name", processor_name()}, {"features", features}}};
  if (features.empty()) {
    finding.state = State::kGap;
    finding.found = processor_name() + ": without AVX2";
    finding.next = "Models run, several times slower than on a processor with AVX2";
  }
  return finding;
}

Finding threads(const ContainerLimits& limits) {
  const int threads = at::get_num_threads();
  const unsigned cores = std::thread::hardware_concurrency();
  Finding finding{"threads",
                  fmt::format("{}, on {} logical cores", threads, cores),
                  {{"threads", threads}, {"logical_cores", cores}}};
  if (!limits.cores) return finding;
  finding.details["container_cores"] = *limits.cores;
  finding.found += fmt::format(", of which this container may use {:.3g}", *limits.cores);
  if (threads > *limits.cores + 0.5) {
    finding.state = State::kGap;
    finding.next = fmt::format("Set OMP_NUM_THREADS or the option threads to {}: threads that wait for each other spin",
                               std::max(1, static_cast<int>(*limits.cores)));
  }
  return finding;
}

Finding memory(const ContainerLimits& limits) {
  const Memory machine = machine_memory();
  uint64_t usable = machine.available;
  Finding finding{"memory",
                  fmt::format("{} free of {}", gigabytes(machine.available), gigabytes(machine.total)),
                  {{"total", machine.total}, {"available", machine.available}}};
  if (limits.memory && *limits.memory < machine.total) {
    finding.found += fmt::format(", of which this container may use {}", gigabytes(*limits.memory));
    finding.details["container_limit"] = *limits.memory;
    usable = std::min(usable, *limits.memory);
  }
  if (usable < 6 * kGigabyte) {
    finding.state = State::kGap;
    finding.next =
        "The weights of Stable Diffusion 1 and BLIP alone take more than 5 GB in float32, half of that in bfloat16: "
        "close "
        "other programs, or give the container more. The small world fits";
  }
  return finding;
}

// The libtorch that was loaded, wherever the one lies that was compiled against.
Finding engine() {
  Dl_info library{};
  const bool known = ::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &library) != 0;
  const std::string path = known ? library.dli_fname : "unknown";
  const std::string version = fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
  return {"engine", fmt::format("libtorch {}, {}", version, path), {{"libtorch", version}, {"library", path}}};
}

Finding gpu() {
  const Cuda& found = cuda();
  Finding finding{
      "gpu",
      "",
      {{"names", found.names}, {"driver", found.driver}, {"usable", found.devices}, {"reason", found.reason}}};
  const std::string names = fmt::format("{} (driver for CUDA {})", fmt::join(found.names, ", "), found.driver);
  if (found.devices > 0) {
    finding.found = names;
  } else if (found.gpu) {
    finding.state = State::kGap;
    finding.found = (found.names.empty() ? "an NVIDIA driver" : names) + ", not usable";
    finding.next = found.reason;
  } else {
    finding.found = "none: " + found.reason;
  }
  return finding;
}

Finding assets() {
  Finding finding{"assets", "", {}};
  try {
    finding.found = assets_dir().string();
    finding.details["folder"] = finding.found;
  } catch (const Error& error) {
    finding.state = State::kMissing;
    finding.found = "none: the small world's models, which every verb takes by default, are not here";
    finding.next = error.what();
  }
  return finding;
}

// The nearest folder that exists: where a file below `path` would go.
fs::path existing(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored);
  while (!fs::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return path;
}

Finding cache() {
  const fs::path folder = cache_folder();
  std::error_code error;
  const fs::path place = existing(folder);
  const uint64_t free = fs::space(place, error).available;
  if (!error && ::access(place.c_str(), W_OK) != 0) error = {errno, std::generic_category()};
  Finding finding{"cache",
                  fmt::format("{}, {} free", folder.string(), gigabytes(free)),
                  {{"folder", folder.string()}, {"available", free}}};
  if (error) {
    finding.state = State::kGap;
    finding.found = fmt::format("{}: {}", folder.string(), error.message());
    finding.next = "Set READBACK_CACHE to a folder that can be written";
  } else if (free < kGigabyte) {
    finding.state = State::kGap;
    finding.next = "Make room, or set READBACK_CACHE to a folder on a larger disk";
  }
  return finding;
}

Finding hub() {
  Finding finding{"hub", "", {{"folder", nullptr}, {"models", 0}}};
  for (const fs::path& folder : checkpoint::hub_caches()) {
    std::error_code error;
    int64_t models = 0;
    fs::directory_iterator entries(folder, error);
    if (error) continue;
    for (; !error && entries != fs::directory_iterator(); entries.increment(error))
      models += entries->path().filename().string().starts_with("models--") ? 1 : 0;
    finding.found = fmt::format("{}, {} models of the Hugging Face hub", folder.string(), models);
    finding.details = {{"folder", folder.string()}, {"models", models}};
    return finding;
  }
  finding.found = "no cache of the Hugging Face hub: repositories are named by their folders";
  return finding;
}

Finding meteor() {
  const fs::path path = score::meteor_tables_path();
  Finding finding{"meteor", path.string(), {{"file", path.string()}}};
  try {
    score::MeteorTables::load(path);
  } catch (const Error& error) {
    finding.state = State::kGap;
    finding.found = "METEOR has no usable tables";
    finding.next = error.what();
  }
  return finding;
}

Finding java(const fs::path& program) {
  Finding finding{"java", "", {{"program", program.string()}}};
  if (program.empty()) {
    finding.state = State::kGap;
    finding.found = "none in JAVA_HOME or PATH; only SPICE needs it";
    finding.next = "Install one, for example the package default-jre-headless, or set JAVA_HOME";
    return finding;
  }
  try {
    const ProcessResult result = run_process({{program.string(), "-version"}, {}, std::chrono::seconds(20)});
    const std::string version = result.errors.substr(0, result.errors.find('\n'));
    finding.found = fmt::format("{}: {}", program.string(), version);
    finding.details["version"] = version;
    if (result.status == 0) return finding;
  } catch (const Error& error) {
    finding.found = error.what();
  }
  finding.state = State::kGap;
  finding.next = fmt::format("`{} -version` fails: install another Java, or set JAVA_HOME to one", program.string());
  return finding;
}

Finding spice(const fs::path& java) {
  const fs::path folder = score::spice_folder();
  Finding finding{"spice", folder.string(), {{"folder", folder.string()}}};
  if (const std::string absence = score::spice_absence(folder, java); !absence.empty()) {
    finding.state = State::kGap;
    finding.found = "SPICE cannot be computed";
    finding.next = absence;
  }
  return finding;
}

}  // namespace

const char* name(State state) {
  switch (state) {
    case State::kGood:
      return "good";
    case State::kGap:
      return "gap";
    case State::kMissing:
      return "missing";
  }
  return "";
}

std::vector<Finding> examine() {
  const ContainerLimits limits = container_limits();
  const fs::path java_program = score::find_java();
  return {processor(), threads(limits), memory(limits),     engine(),           gpu(), assets(), cache(),
          hub(),       meteor(),        java(java_program), spice(java_program)};
}

}  // namespace readback::doctor
