// A file of a hub's cache while it comes: whole under its digest, or begun under DIGEST.incomplete.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "readback/base/context.h"

namespace readback::wire {

// flock on the file that huggingface_hub locks, too. Waits for who holds it. Errors: StoreError, Interrupted.
class BlobLock {
 public:
  BlobLock(const std::filesystem::path& path, const Context& context);
  BlobLock(const BlobLock&) = delete;
  ~BlobLock();

 private:
  int file_ = -1;
};

class Blob {
 public:
  // Errors: StoreError.
  Blob(std::filesystem::path path, int64_t size);
  Blob(const Blob&) = delete;
  ~Blob();

  bool is_whole() const { return file_ < 0; }
  int64_t begun() const { return begun_; }  // bytes that are there
  void restart();
  void expect_piece() { first_ = true; }
  bool is_first_piece() const { return first_; }
  bool append(std::string_view bytes);      // false when it cannot be written, or is more than the size
  void expect_space() const;                // Errors: StoreError when something could not be written
  std::string digest(size_t digits) const;  // 64: SHA-256; 40: SHA-1 as Git names a blob
  void commit();

 private:
  [[noreturn]] void fail(int reason) const;

  std::filesystem::path path_, partial_;
  int64_t size_, begun_ = 0;
  int file_ = -1, reason_ = 0;
  bool first_ = false;
};

}  // namespace readback::wire
