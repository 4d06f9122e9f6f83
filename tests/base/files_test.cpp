#include "readback/base/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "readback_files_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t files_in_folder() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_;
};

TEST_F(Files, WritesReadsAndReplaces) {
  const fs::path path = folder_ / "made" / "on the way" / "file";
  const std::string bytes("a\0b\n\xff", 5);
  write_file(path, bytes);
  EXPECT_EQ(read_file(path), bytes);
  write_file(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_FALSE(fs::exists(path.string() + ".partial"));
}

TEST_F(Files, WithoutCommitTheOldFileStays) {
  const fs::path path = folder_ / "file";
  write_file(path, "old");
  {
    AtomicFile file(path);
    file.append("new");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(Files, FullDiskLeavesTheOldFileWhole) {
  const fs::path path = folder_ / "file";
  write_file(path, "old");
  // A limit on the size of files fails a write just as a full disk does, for this process only.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(write_file(path, std::string(5000, 'x')), StoreError);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(Files, KillInTheMiddleLeavesTheOldFileWhole) {
  const fs::path path = folder_ / "file";
  write_file(path, "old");
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(path);
    file.append(std::string(5000, 'x'));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_file(path), "old");
  write_file(path, "new");  // what the dead process left does not stand in the way
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(files_in_folder(), 1u);
}

TEST_F(Files, ErrorsNameThePathAndTheReason) {
  const fs::path missing = folder_ / "missing";
  const auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing thrown";
  };
  EXPECT_EQ(message([&] { read_file(missing); }),
            missing.string() + ": expected a readable file, got No such file or directory");
  EXPECT_EQ(message([&] { read_file(folder_); }), folder_.string() + ": expected a file, got a folder");
  EXPECT_THROW(read_file(missing), DataError);
  write_file(folder_ / "file", "{]");
  EXPECT_THROW(read_json(folder_ / "file"), DataError);
  EXPECT_THROW(write_file(folder_ / "file" / "below", "x"), StoreError);
  EXPECT_THROW(write_file(folder_, "x"), StoreError);
}

TEST_F(Files, ReadsJson) {
  write_file(folder_ / "a.json", R"({"a": [1, 2.5, null]})");
  EXPECT_EQ(read_json(folder_ / "a.json"), (nlohmann::json{{"a", {1, 2.5, nullptr}}}));
}

}  // namespace
}  // namespace readback
