// Where the tests find their files.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace tests {

std::filesystem::path source_dir();  // the repository's root

// ../shared/data/NAME beside the repository: data that may not be part of it.
std::filesystem::path shared_data(const std::string& name = "");

// Empty when shared_data(name) is there, else why a test skips.
std::string absence_of_shared_data(const std::string& name = "");

}  // namespace tests

// Skips the test that is running when the files it needs are absent.
#define SKIP_WITHOUT_SHARED_DATA(...) \
  if (const std::string absence = tests::absence_of_shared_data(__VA_ARGS__); !absence.empty()) GTEST_SKIP() << absence
