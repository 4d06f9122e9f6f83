#include "readback/base/memory.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cstdlib>  // which says whose library this is
#include <limits>

#include "readback/base/hardware.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace readback {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

void return_freed_memory(c10::Device device) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

int64_t free_memory(c10::Device device) {
  if (device.is_cuda()) {
    return static_cast<int64_t>(c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first);
  }
  uint64_t free = machine_memory().available;
  if (free == 0) return std::numeric_limits<int64_t>::max();  // not known
  if (const auto limit = container_limits().memory) {
    const uint64_t own = private_memory();
    free = std::min(free, *limit > own ? *limit - own : 0);
  }
  return static_cast<int64_t>(free);
}

}  // namespace readback
