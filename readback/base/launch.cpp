#include "readback/base/launch.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <optional>

#include "readback/base/error.h"

namespace readback {

namespace {

// The names under which a launcher gives what it gives; the first of several that is set.
struct Launcher {
  const char *rank, *local_rank, *local_size;
  const char *size, *other_size = "";
};

constexpr Launcher kLaunchers[] = {
    {"RANK", "LOCAL_RANK", "", "WORLD_SIZE"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE"},
    {"PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_SIZE"},
    {"SLURM_PROCID", "SLURM_LOCALID", "", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"},
};

std::string text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::optional<int64_t> number(const char* name) {
  const std::string value = text(name);
  if (value.empty()) return std::nullopt;
  int64_t result = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, result);
  if (error != std::errc() || stop != end || result < 0) {
    throw UsageError(describe(name, "a number", "'" + value + "'"));
  }
  return result;
}

// Empty when nothing says where rank 0 is.
std::string find_address(const Launcher& launcher, int64_t size) {
  if (const std::string given = text("MASTER_ADDR"); !given.empty()) return given;
  if (launcher.rank == std::string("SLURM_PROCID")) {
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
      if (const std::string host = first_host(text(name)); !host.empty()) return host;
    }
    return text("SLURM_LAUNCH_NODE_IPADDR");
  }
  return number(launcher.local_size) == size ? "127.0.0.1" : "";
}

}  // namespace

std::string first_host(const std::string& node_list) {
  const size_t end = node_list.find_first_of(",[");
  std::string host = node_list.substr(0, end);
  if (end == std::string::npos || node_list[end] == ',') return host;
  host += node_list.substr(end + 1, node_list.find_first_of(",-]", end + 1) - end - 1);
  const size_t close = node_list.find(']', end);
  if (close == std::string::npos) return host;
  return host + first_host(node_list.substr(close + 1));  // names may go on behind the brackets
}

Launch find_launch() {
  for (const Launcher& launcher : kLaunchers) {
    const auto rank = number(launcher.rank);
    const auto size = number(launcher.size) ? number(launcher.size) : number(launcher.other_size);
    if (!rank || !size || *size == 1) continue;
    Launch launch{.rank = *rank, .size = *size, .local_rank = number(launcher.local_rank).value_or(0)};
    if (*rank >= *size)
      throw UsageError(describe(launcher.rank, fmt::format("less than {}", *size), text(launcher.rank)));
    launch.address = find_address(launcher, *size);
    if (launch.address.empty()) {
      throw UsageError(describe("MASTER_ADDR", fmt::format("the host of rank 0 of {}", *size), "nothing",
                                fmt::format("Set it, or unset {} to run one process alone", launcher.rank)));
    }
    const int64_t port = number("MASTER_PORT").value_or(launch.port);
    if (port == 0 || port > UINT16_MAX) throw UsageError(describe("MASTER_PORT", "1 to 65535", text("MASTER_PORT")));
    launch.port = static_cast<uint16_t>(port);
    launch.launcher_listens = text("TORCHELASTIC_USE_AGENT_STORE") == "True";
    launch.attempt = std::to_string(number("TORCHELASTIC_RESTART_COUNT").value_or(0));
    return launch;
  }
  return {};
}

}  // namespace readback
