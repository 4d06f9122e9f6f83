// What store.cpp (opening and writing) and store_rows.cpp (reading) share.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/folder_lock.h"
#include "readback/roundtrip/database.h"
#include "readback/roundtrip/store.h"

namespace readback::roundtrip {

struct Store::Impl {
  std::filesystem::path folder;
  Manifest manifest;
  RunShape shape;
  std::vector<std::string> notes;
  std::unique_ptr<FolderLock> lock;  // only when writing
  std::unique_ptr<Database> database;
  int64_t schema = 0;
};

}  // namespace readback::roundtrip
