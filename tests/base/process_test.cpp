#include "readback/base/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "readback/base/error.h"
#include "readback/base/progress.h"

namespace readback {
namespace {

using namespace std::chrono_literals;

ProcessResult shell(const std::string& script, std::chrono::milliseconds timeout = 0ms,
                    std::vector<std::string> environment = {}) {
  return run_process({{"sh", "-c", script}, std::move(environment), timeout});
}

TEST(Process, ReportsItsStatusAndErrors) {
  const ProcessResult good = shell("echo out; echo one >&2; sleep 0.1; echo two >&2");
  EXPECT_EQ(good.status, 0);
  EXPECT_FALSE(good.timed_out);
  EXPECT_EQ(good.errors, "one\ntwo\n");
  EXPECT_EQ(shell("exit 7").status, 7);
  EXPECT_EQ(shell("kill -TERM $$").status, 128 + SIGTERM);
  EXPECT_EQ(shell("exec 2>&-; sleep 0.1; exit 3").status, 3);
}

TEST(Process, GetsArgumentsAsTheyAre) {
  const ProcessResult result = run_process({{"sh", "-c", "echo \"$1|$2\" >&2", "sh", "a  b", "$(echo c) *"}});
  EXPECT_EQ(result.errors, "a  b|$(echo c) *\n");
}

TEST(Process, HasAnEmptyInputAndOurEnvironment) {
  ::setenv("READBACK_TEST_KEPT", "kept", 1);
  ::setenv("READBACK_TEST_OTHER", "old", 1);
  const ProcessResult result = shell("cat; echo $READBACK_TEST_KEPT $READBACK_TEST_OTHER $READBACK_TEST_NEW >&2", 0ms,
                                     {"READBACK_TEST_OTHER=other", "READBACK_TEST_NEW=a=b"});
  EXPECT_EQ(result.errors, "kept other a=b\n");
}

TEST(Process, KeepsTheEndOfLongErrors) {
  const ProcessResult result = shell("i=0; while [ $i -lt 30000 ]; do echo line $i >&2; i=$((i+1)); done");
  EXPECT_EQ(result.errors.size(), 64U << 10);
  EXPECT_TRUE(result.errors.ends_with("line 29998\nline 29999\n"));
}

TEST(Process, IsKilledWhenItsTimeIsUp) {
  const auto start = std::chrono::steady_clock::now();
  const ProcessResult result = shell("echo begun >&2; exec sleep 60", 200ms);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.status, 128 + SIGKILL);
  EXPECT_EQ(result.errors, "begun\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
}

TEST(Process, DoesNotWaitForWhatTheProgramLeavesRunning) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(shell("sleep 30 & exit 4").status, 4);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 20s);
}

TEST(Process, MustExist) {
  try {
    run_process({{"readback-no-such-program"}});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              "readback-no-such-program: expected a program that can be started, got No such file or directory");
  }
}

// In a process of its own: what runs in `body` may change how signals are treated.
template <typename Body>
void expect_error(const Body& body, const std::string& part) {
  const auto run = [&] {
    ::alarm(20);  // ends it when it waits for ever
    try {
      body();
    } catch (const DataError& error) {
      std::_Exit(std::string(error.what()).find(part) != std::string::npos ? 42 : 1);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(42), "");
}

TEST(Process, WhoseStatusIsLostIsAnError) {
  expect_error(
      [] {
        std::signal(SIGCHLD, SIG_IGN);
        shell("exit 3");
      },
      "sh: expected a program whose exit status can be waited for");
  // Reaped by somebody else, here by the kernel.
  expect_error(
      [] {
        struct sigaction action {};
        action.sa_handler = SIG_DFL;
        action.sa_flags = SA_NOCLDWAIT;
        ::sigaction(SIGCHLD, &action, nullptr);
        shell("sleep 0.1; exit 3");
      },
      "waits for children that it did not start");
}

TEST(Process, StartsWithDefaultSignals) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::vector<std::pair<int, void (*)(int)>> handlers;
  for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGPIPE})
    handlers.emplace_back(signal, std::signal(signal, SIG_IGN));
  for (const auto& [signal, handler] : handlers) {
    // A shell cannot take back what was ignored or blocked when it started.
    EXPECT_EQ(shell("kill -" + std::to_string(signal) + " $$; exit 0").status, 128 + signal);
  }
  for (const auto& [signal, handler] : handlers) std::signal(signal, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Process, EndsWhenAStopIsRequested) {
  std::stop_source stop;
  std::jthread later([&] {
    std::this_thread::sleep_for(100ms);
    stop.request_stop();
  });
  EXPECT_THROW(run_process({.arguments = {"/bin/sh", "-c", "exec sleep 60"}}, Context(stop.get_token())), Interrupted);
}

}  // namespace
}  // namespace readback
