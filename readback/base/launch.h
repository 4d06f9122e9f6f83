// How a launcher (torchrun, srun, mpirun) started this process: its place among those that work together.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace readback {

struct Launch {
  int64_t rank = 0, size = 1;
  int64_t local_rank = 0;  // among those of this machine; chooses a CUDA device
  std::string address;     // where the ranks find each other: rank 0's machine
  uint16_t port = 29500;
  bool launcher_listens = false;                                  // at address:port, as torchrun does; else rank 0 will
  std::string attempt = "0";                                      // torchrun starts all ranks again when one has died
  std::chrono::milliseconds patience = std::chrono::minutes(10);  // until all ranks have come
};

// From the environment, the first of these that is there; without any of them, one process alone:
//   torchrun, or by hand   RANK WORLD_SIZE LOCAL_RANK
//   Open MPI's mpirun      OMPI_COMM_WORLD_RANK …_SIZE …_LOCAL_RANK …_LOCAL_SIZE
//   MPICH's, Intel's       PMI_RANK PMI_SIZE MPI_LOCALRANKID MPI_LOCALNRANKS
//   srun                   SLURM_PROCID, SLURM_STEP_NUM_TASKS or SLURM_NTASKS, SLURM_LOCALID
// and MASTER_ADDR, MASTER_PORT. Without MASTER_ADDR it is the first host of SLURM_STEP_NODELIST or SLURM_JOB_NODELIST,
// SLURM_LAUNCH_NODE_IPADDR, or this machine when MPI says that all ranks are on it. Errors: UsageError.
Launch find_launch();

// "node[07-09,12],other" → "node07"
std::string first_host(const std::string& node_list);

}  // namespace readback
