#include "readback/base/launch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "readback/base/error.h"

namespace readback {
namespace {

// The variables that launchers set, as given and no others.
Launch launched(const std::map<std::string, std::string>& variables) {
  for (const char* name : {"RANK",
                           "WORLD_SIZE",
                           "LOCAL_RANK",
                           "MASTER_ADDR",
                           "MASTER_PORT",
                           "TORCHELASTIC_USE_AGENT_STORE",
                           "TORCHELASTIC_RESTART_COUNT",
                           "OMPI_COMM_WORLD_RANK",
                           "OMPI_COMM_WORLD_SIZE",
                           "OMPI_COMM_WORLD_LOCAL_RANK",
                           "OMPI_COMM_WORLD_LOCAL_SIZE",
                           "PMI_RANK",
                           "PMI_SIZE",
                           "MPI_LOCALRANKID",
                           "MPI_LOCALNRANKS",
                           "SLURM_PROCID",
                           "SLURM_NTASKS",
                           "SLURM_STEP_NUM_TASKS",
                           "SLURM_LOCALID",
                           "SLURM_STEP_NODELIST",
                           "SLURM_JOB_NODELIST",
                           "SLURM_LAUNCH_NODE_IPADDR"}) {
    ::unsetenv(name);
  }
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  struct Clear {
    const std::map<std::string, std::string>& variables;
    ~Clear() {
      for (const auto& [name, value] : variables) ::unsetenv(name.c_str());
    }
  } clear{variables};
  return find_launch();
}

void expect_launch(const Launch& launch, int64_t rank, int64_t size, int64_t local_rank, const std::string& address,
                   int port) {
  EXPECT_EQ(launch.rank, rank);
  EXPECT_EQ(launch.size, size);
  EXPECT_EQ(launch.local_rank, local_rank);
  EXPECT_EQ(launch.address, address);
  EXPECT_EQ(launch.port, port);
}

TEST(Launch, IsOneProcessWithoutALauncher) {
  expect_launch(launched({}), 0, 1, 0, "", 29500);
  expect_launch(launched({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), 0, 1, 0, "", 29500);
  expect_launch(launched({{"SLURM_NTASKS", "8"}}), 0, 1, 0, "", 29500);  // a shell in an allocation
}

TEST(Launch, ReadsEachLaunchersVariables) {
  const Launch torchrun = launched({{"RANK", "3"},
                                    {"WORLD_SIZE", "4"},
                                    {"LOCAL_RANK", "1"},
                                    {"MASTER_ADDR", "a"},
                                    {"MASTER_PORT", "1234"},
                                    {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                    {"TORCHELASTIC_RESTART_COUNT", "2"},
                                    {"SLURM_PROCID", "0"},
                                    {"SLURM_NTASKS", "2"}});  // torchrun inside srun
  expect_launch(torchrun, 3, 4, 1, "a", 1234);
  EXPECT_TRUE(torchrun.launcher_listens);
  EXPECT_EQ(torchrun.attempt, "2");

  const std::map<std::string, std::string> open_mpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                                                       {"OMPI_COMM_WORLD_SIZE", "2"},
                                                       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  expect_launch(launched(open_mpi), 1, 2, 1, "127.0.0.1", 29500);
  EXPECT_FALSE(launched(open_mpi).launcher_listens);
  expect_launch(launched({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MASTER_ADDR", "b"}}), 1, 2, 0, "b", 29500);

  std::map<std::string, std::string> slurm = {{"SLURM_PROCID", "5"},
                                              {"SLURM_NTASKS", "8"},
                                              {"SLURM_LOCALID", "1"},
                                              {"SLURM_JOB_NODELIST", "gpu[03-05,9],x"},
                                              {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"}};
  expect_launch(launched(slurm), 5, 8, 1, "gpu03", 29500);
  slurm["SLURM_STEP_NUM_TASKS"] = "6";
  slurm["SLURM_STEP_NODELIST"] = "gpu04";
  expect_launch(launched(slurm), 5, 6, 1, "gpu04", 29500);
  slurm["SLURM_STEP_NUM_TASKS"] = "1";
  expect_launch(launched(slurm), 0, 1, 0, "", 29500);
}

TEST(Launch, TakesTheFirstHostOfAList) {
  EXPECT_EQ(first_host("node07"), "node07");
  EXPECT_EQ(first_host("node07,node08"), "node07");
  EXPECT_EQ(first_host("node[07-09,12],other"), "node07");
  EXPECT_EQ(first_host("a[1,3]-b[2-4].net,c"), "a1-b2.net");
  EXPECT_EQ(first_host(""), "");
}

void expect_refused(const std::map<std::string, std::string>& variables, const std::string& part) {
  try {
    launched(variables);
    FAIL() << "accepted: " << part;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Launch, SaysWhatIsWrong) {
  expect_refused({{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR: expected the host of rank 0 of 2");
  expect_refused({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
                 "unset OMPI_COMM_WORLD_RANK");
  expect_refused({{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, "RANK: expected less than 2");
  expect_refused({{"RANK", "one"}, {"WORLD_SIZE", "2"}}, "RANK: expected a number, got 'one'");
  expect_refused({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}, "MASTER_PORT");
}

}  // namespace
}  // namespace readback
