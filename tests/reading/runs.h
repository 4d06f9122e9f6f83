// Run folders to read, without any model.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "readback/base/error.h"
#include "readback/roundtrip/store.h"

namespace readback::roundtrip::runs {

// A folder that goes with the test.
class Folder {
 public:
  Folder();
  Folder(const Folder&) = delete;
  ~Folder();
  const std::filesystem::path& path() const { return path_; }
  operator const std::filesystem::path&() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A copy of tests/goldens/roundtrip/format-1: two scenes with two candidates each, both ways, measured by clip-image,
// cider and the oracle's metrics. Made by the last version that wrote format 1 and schema 2.
void copy_format_1(const std::filesystem::path& folder);

Manifest manifest();
// Two samples with two candidates each, both ways, and rows in every table.
void make_run(const std::filesystem::path& folder);

void execute(const std::filesystem::path& folder, const std::string& sql);
void write(const std::filesystem::path& path, const std::string& bytes);  // without waiting for the disk
// Everything that can be read of a run: rows, curves, results and the page. Gives the page.
std::string read_all(const std::filesystem::path& folder);
// A StoreError's message; empty when there was none. Other exceptions pass.
std::string message_of(const std::function<void()>& work);

}  // namespace readback::roundtrip::runs
