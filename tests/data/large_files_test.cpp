// Files that do not fit into memory are described in little of it, with a progress bar.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "readback/data/dataset.h"
#include "tests/data/sound_sets.h"

namespace readback::data {
namespace {

int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

class MemoryWatch : public Progress {
 public:
  void begin(const std::string& label, int64_t total) override {
    label_ = label;
    total_ = total;
  }
  void advance(int64_t units, const std::string&) override {
    done_ += units;
    ++calls_;
    if (calls_ % 100 == 0) most_ = std::max(most_, resident_bytes());
  }
  void end() override { ended_ = true; }

  void expect_whole(int64_t bytes) const {
    EXPECT_EQ(total_, bytes);
    EXPECT_EQ(done_, bytes);
    EXPECT_GT(calls_, 500);
    EXPECT_TRUE(ended_);
    EXPECT_FALSE(label_.empty());
  }
  // Sanitizers, which only debug builds have, keep what was freed.
  void expect_little() const {
#ifdef NDEBUG
    EXPECT_LT(most_ - before_, int64_t{8} << 20);
#endif
  }

 private:
  std::string label_;
  int64_t total_ = 0, done_ = 0, calls_ = 0, before_ = resident_bytes(), most_ = 0;
  bool ended_ = false;
};

class LargeFiles : public SoundSets {};

constexpr int64_t kMiB = 1 << 20;

TEST_F(LargeFiles, AMillionLinesOfJson) {
  constexpr int64_t kLines = 1'000'000;
  std::ofstream file(path("set.jsonl"), std::ios::binary);
  for (int64_t i = 0; i < kLines; ++i) {
    file << "{\"image\": \"" << i << ".jpg\", \"captions\": [\"a caption of the picture " << i << "\"]}\n";
  }
  file.close();
  MemoryWatch watch;
  const auto data = open_dataset(path("set.jsonl"), {}, watch);
  EXPECT_EQ(data->size(), kLines);
  EXPECT_FALSE(data->digest().empty());
  EXPECT_EQ(data->sample(777'777).id, "777777.jpg");
  watch.expect_whole(static_cast<int64_t>(std::filesystem::file_size(path("set.jsonl"))));
  watch.expect_little();
}

TEST_F(LargeFiles, TenGigabytesOfArchive) {
  constexpr int64_t kSamples = 1000, kPicture = 10 * kMiB;
  const int file = ::open(path("set.tar").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  int64_t place = 0;
  const auto put = [&](const std::string& bytes) {
    ASSERT_EQ(::pwrite(file, bytes.data(), bytes.size(), place), std::ssize(bytes));
    place += std::ssize(bytes);
  };
  for (int64_t i = 0; i < kSamples; ++i) {
    put(tar_header(std::to_string(i) + ".jpg", kPicture));
    place += kPicture;  // a hole
    put(tar_member(std::to_string(i) + ".txt", "a caption of the picture " + std::to_string(i)));
  }
  put(tar_end());
  ::close(file);
  MemoryWatch watch;
  const auto data = open_dataset(path("set.tar"), {}, watch);
  EXPECT_EQ(data->size(), kSamples);
  EXPECT_EQ(data->sample(999).references.at(0), "a caption of the picture 999");
  EXPECT_GT(place, 10'000 * kMiB);
  watch.expect_whole(place);
  watch.expect_little();
}

}  // namespace
}  // namespace readback::data
