#include "readback/checkpoint/mapped_file.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

// Where files are mapped now: first byte → one behind the last.
class Mappings {
 public:
  void add(const void* begin, size_t size) {
    const std::lock_guard lock(mutex_);
    ends_[address(begin)] = address(begin) + size;
  }
  void remove(const void* begin) {
    const std::lock_guard lock(mutex_);
    ends_.erase(address(begin));
  }
  bool contain(const void* begin) const {
    const std::lock_guard lock(mutex_);
    const auto after = ends_.upper_bound(address(begin));
    return after != ends_.begin() && address(begin) < std::prev(after)->second;
  }

 private:
  static uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
  mutable std::mutex mutex_;
  std::map<uintptr_t, uintptr_t> ends_;
};

Mappings& mappings() {
  static auto* const all = new Mappings;  // never destroyed: tensors may end after it would
  return *all;
}

// Drops whole pages only: those at the borders are shared with neighbours.
void drop_pages(const void* start, size_t size) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(start) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(start) + size) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw CheckpointError(describe(path.string(), "a readable file", std::strerror(errno)));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const size_t size = regular ? static_cast<size_t>(status.st_size) : 0;
  void* data = nullptr;
  // Copy on write: a stray in-place operation changes this process's pages, never the file, and does not crash.
  if (size > 0) data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
  const int error = errno;
  ::close(file);
  if (!regular) throw CheckpointError(describe(path.string(), "a regular file", "something else"));
  if (data == MAP_FAILED) throw CheckpointError(describe(path.string(), "a file to map", std::strerror(error)));
  if (data != nullptr) mappings().add(data, size);
  return std::shared_ptr<MappedFile>(new MappedFile(data, size));
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  mappings().remove(data_);
  ::munmap(data_, size_);
}

at::Tensor MappedFile::view(size_t offset, int64_t count, at::ScalarType dtype) {
  if (count == 0) return at::empty({0}, dtype);
  char* start = static_cast<char*>(data_) + offset;
  if (reinterpret_cast<uintptr_t>(start) % c10::elementSize(dtype) == 0)
    return at::from_blob(
        start, {count},
        [keep = shared_from_this(), size = static_cast<size_t>(count) * c10::elementSize(dtype)](void* data) {
          // What was only read to be converted needs no memory any more; another view would read the file anew.
          drop_pages(data, size);
        },
        dtype);
  at::Tensor copy = at::empty({count}, dtype);
  std::memcpy(copy.data_ptr(), start, copy.nbytes());
  return copy;
}

void release(const at::Tensor& tensor) {
  // An operation in place counts its writes. Tensors of inference mode do not count, and cannot be written outside of
  // it.
  if (!tensor.is_inference() && tensor._version() != 0) return;
  if (tensor.device().is_cpu() && mappings().contain(tensor.const_data_ptr())) {
    drop_pages(tensor.const_data_ptr(), tensor.nbytes());
  }
}

int64_t checked_numel(std::span<const int64_t> shape) {
  constexpr int64_t kLimit = int64_t{1} << 62;
  int64_t product = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0 || product > kLimit / std::max<int64_t>(size, 1)) return -1;
    product *= std::max<int64_t>(size, 1);
    empty = empty || size == 0;
  }
  return empty ? 0 : product;
}

}  // namespace readback::checkpoint
