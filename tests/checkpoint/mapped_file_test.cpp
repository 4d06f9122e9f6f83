#include "readback/checkpoint/mapped_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "testing.h"

namespace readback::checkpoint {
namespace {

constexpr int64_t kCount = int64_t{16} << 20;  // 64 MiB of floats

// MiB of mapped files in this process's memory.
int64_t resident() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "RssFile:") continue;
    int64_t kibibytes = 0;
    status >> kibibytes;
    return kibibytes >> 10;
  }
  return -1;
}

class MappedFileTest : public TemporaryFolder {};

TEST_F(MappedFileTest, ReleasedTensorsTakeNoMemoryUntilTheyAreReadAgain) {
  if (resident() < 0) GTEST_SKIP() << "no /proc/self/status";
  std::string bytes(4 * kCount, '\0');
  for (int64_t i = 0; i < kCount; ++i) {
    const auto number = static_cast<float>(i);
    std::memcpy(&bytes[static_cast<size_t>(4 * i)], &number, 4);
  }
  const auto path = TemporaryFolder::file(bytes);
  const auto file = MappedFile::open(path);
  const at::Tensor before = file->view(0, 1, at::kFloat), view = file->view(4, kCount - 2, at::kFloat),
                   after = file->view(static_cast<size_t>(4 * (kCount - 1)), 1, at::kFloat);
  const double sum = view.sum(at::kDouble).item<double>();
  const int64_t read = resident();
  release(view);
  EXPECT_LT(resident(), read - 60);
  EXPECT_EQ(view.sum(at::kDouble).item<double>(), sum);
  EXPECT_EQ(before.item<float>(), 0);
  EXPECT_EQ(after.item<float>(), static_cast<float>(kCount - 1));
  EXPECT_GT(resident(), read - 8);
}

// Their pages hold what the file does not.
TEST_F(MappedFileTest, WrittenTensorsAreNotReleased) {
  const auto file = MappedFile::open(TemporaryFolder::file(std::string(4 << 20, '\0')));
  const at::Tensor view = file->view(0, 1 << 20, at::kFloat).view({1024, 1024});
  release(view);
  view.narrow(0, 3, 1).fill_(7);
  release(view);
  EXPECT_EQ(view.sum().item<float>(), 7 * 1024);
}

TEST_F(MappedFileTest, OtherTensorsAreNotReleased) {
  const at::Tensor numbers = at::arange(1 << 20, at::kFloat), copy = numbers.clone();
  release(numbers);
  EXPECT_TRUE(numbers.equal(copy));
}

}  // namespace
}  // namespace readback::checkpoint
