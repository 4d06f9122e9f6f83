// The program, run as scripts run it, in a folder that goes with the test.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "readback/base/files.h"

namespace readback {

struct Outcome {
  int status = 0;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("readback-cli-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Outcome run(const std::string& arguments) const {
    const std::string command = std::string(READBACK_PROGRAM) + " " + arguments + " >" + (folder_ / "out").string() +
                                " 2>" + (folder_ / "err").string();
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), read_file(folder_ / "out"), read_file(folder_ / "err")};
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // `count` scenes as PNG files, test-00000.png and on.
  void export_scenes(int count) const {
    ASSERT_EQ(
        run("dataset export emoji-scenes --limit " + std::to_string(count) + " --output " + path("scenes")).status, 0);
  }

  std::filesystem::path folder_;
};

}  // namespace readback
