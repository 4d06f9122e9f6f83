#include "readback/base/file_digest.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "readback/base/cache.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/sha256.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

// Variables of the environment that are put back afterwards; nullptr: unset.
class Environment {
 public:
  void set(const char* name, const char* value) {
    const char* before = std::getenv(name);
    before_.emplace_back(name, before ? before : "", before != nullptr);
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Environment() {
    for (auto entry = before_.rbegin(); entry != before_.rend(); ++entry) {
      const auto& [name, value, was_set] = *entry;
      was_set ? ::setenv(name, value.c_str(), 1) : ::unsetenv(name);
    }
  }

 private:
  std::vector<std::tuple<const char*, std::string, bool>> before_;
};

class FileDigestTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "readback_digest_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    environment_.set("READBACK_CACHE", (folder_ / "cache").c_str());
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path put(const fs::path& name, const std::string& bytes) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  static std::string large(char mark) { return std::string(9 << 20, 'w') + mark; }
  static void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }
  fs::path memory() const { return folder_ / "cache/digests.txt"; }
  // Another digest in the only line, with a check that fits: nobody who reads the file itself would return it.
  std::string forge() const {
    const std::string line = read_file(memory());
    const std::string key = line.substr(0, line.size() - 1 - 16 - 1 - 64), forged = key + std::string(64, 'f');
    write_file(memory(), forged + " " + sha256_hex(forged).substr(0, 16) + "\n");
    return "sha256:" + std::string(64, 'f');
  }

  fs::path folder_;
  Environment environment_;
};

TEST(CacheFolder, IsNamedByThreeVariables) {
  Environment environment;
  environment.set("HOME", "/home/someone");
  environment.set("XDG_CACHE_HOME", nullptr);
  environment.set("READBACK_CACHE", nullptr);
  EXPECT_EQ(cache_folder(), "/home/someone/.cache/readback");
  environment.set("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(cache_folder(), "/caches/readback");
  environment.set("READBACK_CACHE", "/own");
  EXPECT_EQ(cache_folder(), "/own");
  environment.set("READBACK_CACHE", "");
  EXPECT_EQ(cache_folder(), "/caches/readback");
}

TEST_F(FileDigestTest, IsTheContentsSha256) {
  EXPECT_EQ(file_digest(put("a", "abc")), "sha256:" + sha256_hex("abc"));
  EXPECT_EQ(file_digest(put("empty", "")), "sha256:" + sha256_hex(""));
  EXPECT_EQ(file_digest(put("large", large('x'))), "sha256:" + sha256_hex(large('x')));
  EXPECT_THROW(file_digest(folder_ / "missing"), DataError);
  EXPECT_THROW(file_digest(folder_), DataError);
}

TEST_F(FileDigestTest, IsRememberedUntilTheFileChanges) {
  const fs::path path = put("large", large('x'));
  const std::string first = file_digest(path);
  EXPECT_FALSE(fs::exists(memory())) << "a file that was written just now may be written again in the same moment";
  put("small", "s");
  settle();
  file_digest(folder_ / "small");
  EXPECT_FALSE(fs::exists(memory())) << "small files are read in a moment";
  EXPECT_EQ(file_digest(path), first);
  ASSERT_TRUE(fs::exists(memory()));
  EXPECT_EQ(file_digest(path), first);
  const std::string forged = forge();
  EXPECT_EQ(file_digest(path), forged) << "it is not read again";
  fs::create_symlink(path, folder_ / "link");
  EXPECT_EQ(file_digest(folder_ / "link"), forged) << "by its canonical path";
  fs::copy(path, folder_ / "copy");
  EXPECT_EQ(file_digest(folder_ / "copy"), first) << "another file";
  const auto time = fs::last_write_time(path);
  put("large", large('y'));
  fs::last_write_time(path, time);
  EXPECT_EQ(file_digest(path), "sha256:" + sha256_hex(large('y'))) << "same size, same time of writing";
}

TEST_F(FileDigestTest, DamagedMemoryIsReadAgain) {
  const fs::path path = put("large", large('x'));
  settle();
  const std::string first = file_digest(path), whole = read_file(memory());
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string damaged = whole;
    damaged[at] = damaged[at] == '0' ? '1' : '0';
    write_file(memory(), damaged);
    ASSERT_EQ(file_digest(path), first) << at;
    write_file(memory(), whole.substr(0, at));
    ASSERT_EQ(file_digest(path), first) << at;
  }
  fs::remove(memory());
  fs::create_directories(memory() / "a folder");
  EXPECT_EQ(file_digest(path), first);
}

TEST_F(FileDigestTest, WithoutAFolderForTheMemory) {
  const fs::path path = put("large", large('x'));
  settle();
  put("file", "");
  environment_.set("READBACK_CACHE", (folder_ / "file/below").c_str());
  EXPECT_EQ(file_digest(path), file_digest(path));
  environment_.set("READBACK_CACHE", "/proc/readback");
  EXPECT_EQ(file_digest(path), "sha256:" + sha256_hex(large('x')));
}

TEST_F(FileDigestTest, SeveralProcessesShareTheMemory) {
  constexpr int kProcesses = 6;
  for (int i = 0; i < kProcesses; ++i) put(std::to_string(i), large(static_cast<char>('a' + i)));
  settle();
  std::vector<pid_t> children;
  for (int child = 0; child < kProcesses; ++child) {
    const pid_t id = ::fork();
    ASSERT_GE(id, 0);
    if (id == 0) {
      bool right = true;
      for (int i = 0; i < kProcesses; ++i) {
        const int file = (i + child) % kProcesses;
        right = right && file_digest(folder_ / std::to_string(file)) ==
                             "sha256:" + sha256_hex(large(static_cast<char>('a' + file)));
      }
      std::_Exit(right ? 0 : 1);
    }
    children.push_back(id);
  }
  for (const pid_t id : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(id, &status, 0), id);
    EXPECT_EQ(status, 0);
  }
  std::set<std::string> lines;
  std::ifstream stream(memory());
  for (std::string line; std::getline(stream, line);) {
    EXPECT_TRUE(lines.insert(line.substr(0, 64)).second) << "each file once";
    EXPECT_EQ(line.substr(line.size() - 16), sha256_hex(line.substr(0, line.size() - 17)).substr(0, 16));
  }
  EXPECT_FALSE(lines.empty());
}

TEST_F(FileDigestTest, BlobsOfAHubCacheAreNotRead) {
  const std::string bytes = large('x');
  const fs::path blob = put("models--a--b/blobs/" + sha256_hex(bytes), bytes);
  fs::create_directories(folder_ / "models--a--b/snapshots/main");
  const fs::path link = folder_ / "models--a--b/snapshots/main/model.safetensors";
  fs::create_symlink("../../blobs/" + blob.filename().string(), link);
  EXPECT_EQ(file_digest(link), file_digest(put("plain", bytes)));
  put("models--a--b/blobs/" + sha256_hex(bytes), "other bytes, which nobody reads");
  EXPECT_EQ(file_digest(link), "sha256:" + sha256_hex(bytes));
  EXPECT_EQ(file_digest(blob), "sha256:" + sha256_hex("other bytes, which nobody reads")) << "not by a link";
  // git's digest of a small file is no SHA-256.
  const fs::path small = put("models--a--b/blobs/bf7ec0ef8e7b8d5d3a3cbe54bda9d75f5bb0b1f1", "{}");
  fs::create_symlink(small, folder_ / "models--a--b/snapshots/main/config.json");
  EXPECT_EQ(file_digest(folder_ / "models--a--b/snapshots/main/config.json"), "sha256:" + sha256_hex("{}"));
}

}  // namespace
}  // namespace readback
