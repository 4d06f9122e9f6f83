#include "readback/base/assets.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "readback/base/error.h"
#include "tests/source_dir.h"

namespace readback {
namespace {

class AssetsTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* before = std::getenv("READBACK_ASSETS");
    before_ = before != nullptr ? before : "";
  }
  void TearDown() override { ::setenv("READBACK_ASSETS", before_.c_str(), 1); }

  std::string before_;
};

TEST_F(AssetsTest, FoundInTheSourceTree) {
  ::unsetenv("READBACK_ASSETS");
  EXPECT_TRUE(std::filesystem::exists(assets_dir() / "emoji-scenes/sprites/atlas.png"));
}

TEST_F(AssetsTest, TheVariableWins) {
  ::setenv("READBACK_ASSETS", (tests::source_dir() / "tests/../assets").c_str(), 1);
  EXPECT_EQ(assets_dir(), std::filesystem::weakly_canonical(tests::source_dir() / "assets"));
}

TEST_F(AssetsTest, AWrongVariableIsAnErrorThatSaysWhere) {
  ::setenv("READBACK_ASSETS", "/no/such/assets", 1);
  try {
    assets_dir();
    FAIL() << "found";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("/no/such/assets"), std::string::npos);
  }
}

}  // namespace
}  // namespace readback
