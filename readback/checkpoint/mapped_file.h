// A file in memory without reading it: pages come from disk when a tensor is used. A file may be replaced meanwhile (a
// rename, as AtomicFile does it, leaves the mapped one alone), but neither be written nor be cut in place: what is
// mapped changes with it, and reading behind a new end kills the process. Nothing short of a copy would prevent that.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace readback::checkpoint {

class MappedFile : public std::enable_shared_from_this<MappedFile> {
 public:
  // Errors: CheckpointError when the file is missing, unreadable or not a regular file.
  static std::shared_ptr<MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }

  // A tensor over the bytes from `offset`, which keeps the file mapped; a copy where the bytes are not aligned for
  // `dtype`. The caller has checked that `count` contiguous elements lie inside the file.
  at::Tensor view(size_t offset, int64_t count, at::ScalarType dtype);

 private:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}
  void* data_;
  size_t size_;
};

// For a tensor that is not read for a while: where it lies in a mapped file it takes no memory of
// this process until it is read again, from the file's cache. Nothing happens to other tensors, nor to
// one that an operation in place has written: its pages hold what the file does not.
void release(const at::Tensor& tensor);

// Number of elements, or -1 when a size is negative or the product (counting 0 as 1, as strides do) exceeds 2^62.
int64_t checked_numel(std::span<const int64_t> shape);

}  // namespace readback::checkpoint
