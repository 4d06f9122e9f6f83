// A folder to train in, and trainings that are killed in it.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "readback/base/random.h"

namespace readback::train {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ =
        fs::temp_directory_path() / ("readback-train-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::remove_all(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  operator fs::path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

// The child is a fresh process (this test program with another filter): threads do not survive a fork. The test that it
// runs trains in $READBACK_TRAIN_CHILD.
inline pid_t start_child(const fs::path& folder, const std::string& test) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("READBACK_TRAIN_CHILD", folder.c_str(), 1);
    ::freopen("/dev/null", "w", stdout);
    ::execl("/proc/self/exe", "test_train", ("--gtest_filter=" + test).c_str(), "--gtest_also_run_disabled_tests",
            nullptr);
    ::_exit(127);
  }
  return child;
}

// Trains undisturbed, then again and again killed at `kills` random moments: `final_state` must always be the same.
inline void expect_kills_change_nothing(int kills, const std::string& child_test,
                                        const std::function<void(const fs::path&)>& run,
                                        const std::function<std::string(const fs::path&)>& final_state) {
  Folder undisturbed;
  run(undisturbed);
  const std::string expected = final_state(undisturbed);

  using Clock = std::chrono::steady_clock;
  Folder timed;
  const Clock::time_point start = Clock::now();
  int status = 0;
  ASSERT_GT(::waitpid(start_child(timed, child_test), &status, 0), 0);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(final_state(timed), expected);
  const int64_t whole_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();

  Random random(1, Purpose::kTest, "kills");
  while (kills > 0) {
    Folder folder;
    while (kills > 0) {
      const pid_t child = start_child(folder, child_test);
      ::usleep(static_cast<useconds_t>(random.below(whole_us)));
      ::kill(child, SIGKILL);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      if (WIFEXITED(status)) break;  // it came to its end before
      --kills;
    }
    run(folder);
    EXPECT_EQ(final_state(folder), expected);
  }
}

}  // namespace readback::train
