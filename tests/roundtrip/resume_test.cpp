// A run that is killed again and again ends with the store of an undisturbed one.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "fakes.h"

namespace readback::roundtrip {
namespace {

constexpr int64_t kSamples = 12;

void run_here(const std::filesystem::path& folder, int delay_us, const std::string& stop_at = "") {
  std::stop_source stop;
  fakes::Dataset dataset(kSamples);
  dataset.broken = 5;
  fakes::Captioner captioner;
  captioner.delay_us = delay_us;
  captioner.before = [](const caption::Request& request) {
    if (request.sample == "s/3" && request.candidate == 1) throw DataError("no caption for s/3-1");
  };
  fakes::Generator generator;
  generator.delay_us = delay_us;
  generator.spread = 6;
  generator.before = [&](const generate::Request& request) {
    if (request.sample == stop_at) stop.request_stop();
  };
  fakes::run(folder, fakes::options(5, 11), dataset, captioner, generator, Context(stop.get_token()));
}

// True when the child came to its end before the kill.
bool run_and_kill(const std::filesystem::path& folder, int64_t after_us) {
  const pid_t child = ::fork();
  if (child == 0) {
    run_here(folder, 500);
    ::_exit(0);
  }
  int status = 0;
  for (const auto start = std::chrono::steady_clock::now(); ::waitpid(child, &status, WNOHANG) == 0;) {
    if (std::chrono::steady_clock::now() - start > std::chrono::microseconds(after_us)) ::kill(child, SIGKILL);
    ::usleep(200);
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Resume, TenKillsLeaveTheRowsOfAnUndisturbedRun) {
  fakes::Folder undisturbed;
  run_here(undisturbed, 0);
  const auto expected = fakes::contents(undisturbed);
  // 11 of 12 samples went through: 2 directions × 5 candidates, and one of them could not be read back.
  EXPECT_EQ(std::ranges::count_if(expected, [](const auto& line) { return line.starts_with("score"); }),
            2 * (11 * 2 * 5 - 1));

  const auto start = std::chrono::steady_clock::now();
  fakes::Folder timed;
  ASSERT_TRUE(run_and_kill(timed, 60'000'000));
  const int64_t whole_us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count();

  Random random(11, Purpose::kTest, "kills");
  int kills = 0;
  while (kills < 10) {
    fakes::Folder folder;
    while (kills < 10 && !run_and_kill(folder, random.below(whole_us))) ++kills;
    run_here(folder, 0);
    EXPECT_EQ(fakes::contents(folder), expected);
  }
}

TEST(Resume, AStopEndsTheRunAndAnotherGoesOn) {
  fakes::Folder undisturbed, folder;
  EXPECT_THROW(run_here(folder, 0, "s/6"), Interrupted);
  run_here(undisturbed, 0);
  const size_t made = Store::open(folder).candidates(Direction::kI2T2I).size();
  EXPECT_GE(made, 5u * 5);
  EXPECT_LE(made, 8u * 5);
  run_here(folder, 0);
  EXPECT_EQ(fakes::contents(folder), fakes::contents(undisturbed));
}

TEST(Resume, LostPicturesAreMadeAgain) {
  fakes::Folder folder;
  run_here(folder, 0);
  const auto expected = fakes::contents(folder);
  std::filesystem::resize_file(folder.path() / "images/t2i2t/s%2F1-02.png", 0);
  std::filesystem::remove(folder.path() / "images/i2t2i/s%2F2-00.png");
  std::filesystem::remove(folder.path() / "images/originals/s%2F4.png");
  run_here(folder, 0);
  EXPECT_EQ(fakes::contents(folder), expected);
}

}  // namespace
}  // namespace readback::roundtrip
