// What the tests of checkpoints share.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "tests/source_dir.h"

namespace readback::checkpoint {

inline const std::filesystem::path kGoldens = tests::source_dir() / "tests/goldens/checkpoint";

// The rule of tools/reference/checkpoint.py for the values of its tensors.
inline at::Tensor golden_values(std::vector<int64_t> shape, at::ScalarType dtype = at::kFloat) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  at::Tensor line = (at::arange(count, at::kLong) * 7 + 3).remainder(23) - 11;
  if (dtype == at::kBool) line = line.remainder(2);
  if (dtype == at::kByte) line = line.abs();
  return line.to(dtype).reshape(shape);
}

struct NamedDtype {
  const char* name;
  at::ScalarType dtype;
};
constexpr NamedDtype kEveryDtype[] = {{"float64", at::kDouble},    {"float32", at::kFloat}, {"float16", at::kHalf},
                                      {"bfloat16", at::kBFloat16}, {"int64", at::kLong},    {"int32", at::kInt},
                                      {"int16", at::kShort},       {"int8", at::kChar},     {"uint8", at::kByte},
                                      {"bool", at::kBool}};

// Same type, same shape, same values.
inline void expect_same(const at::Tensor& got, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(got.scalar_type(), expected.scalar_type()) << what;
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(at::equal(got, expected)) << what;
}

// The message of the error of type E that `action` throws.
template <typename E, typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

class TemporaryFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "readback_checkpoint_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  // A file of the folder with these bytes.
  std::filesystem::path file(const std::string& bytes, const std::string& name = "file") const {
    std::filesystem::remove(folder_ / name);  // ext4 flushes a file that is written over: 5 ms each time
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

}  // namespace readback::checkpoint
