// This test program, started once for each rank of a job, as a launcher would.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace readback {

// Stops when this process gets SIGINT.
inline std::stop_token stop_on_sigint() {
  static std::stop_source source;
  static volatile std::sig_atomic_t asked = 0;
  std::signal(SIGINT, [](int) { asked = 1; });
  static std::jthread watch([](std::stop_token end) {
    while (!end.stop_requested() && !asked) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (asked) source.request_stop();
  });
  return source.get_token();
}

inline int free_port() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ::bind(listener, reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(listener);
  return ntohs(address.sin_port);
}

// Every rank runs the test `test`, whose name begins with DISABLED_; it finds `argument` in $READBACK_JOB. What is not
// waited for is killed.
class Job {
 public:
  Job(int ranks, const std::string& test, const std::string& argument = "") {
    const std::string port = std::to_string(free_port());
    for (int rank = 0; rank < ranks; ++rank) {
      const pid_t child = ::fork();
      if (child == 0) {
        ::setenv("RANK", std::to_string(rank).c_str(), 1);
        ::setenv("WORLD_SIZE", std::to_string(ranks).c_str(), 1);
        ::setenv("LOCAL_RANK", std::to_string(rank).c_str(), 1);
        ::setenv("MASTER_ADDR", "127.0.0.1", 1);
        ::setenv("MASTER_PORT", port.c_str(), 1);
        ::setenv("OMP_NUM_THREADS", "1", 1);
        ::setenv("READBACK_JOB", argument.c_str(), 1);
        if (std::getenv("READBACK_JOB_OUTPUT") == nullptr) ::freopen("/dev/null", "w", stdout);
        ::execl("/proc/self/exe", "test", ("--gtest_filter=" + test).c_str(), "--gtest_also_run_disabled_tests",
                nullptr);
        ::_exit(127);
      }
      processes_.push_back(child);
    }
  }
  Job(const Job&) = delete;
  ~Job() {
    for (size_t rank = 0; rank < processes_.size(); ++rank) signal(rank, SIGKILL);
    for (size_t rank = 0; rank < processes_.size(); ++rank) wait(rank);
  }

  void signal(size_t rank, int number) const {
    if (processes_[rank] > 0) ::kill(processes_[rank], number);
  }

  // Exit status, or 128 and the signal; 0 when it has been waited for before.
  int wait(size_t rank) {
    if (processes_[rank] <= 0) return 0;
    int status = 0;
    ::waitpid(processes_[rank], &status, 0);
    processes_[rank] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  std::vector<pid_t> processes_;
};

// All ranks come to their end without a failure.
inline void expect_done(Job&& job, size_t ranks) {
  for (size_t rank = 0; rank < ranks; ++rank) EXPECT_EQ(job.wait(rank), 0) << "rank " << rank;
}

}  // namespace readback
