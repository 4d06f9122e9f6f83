#include "readback/base/memory.h"

#include <cstdlib>  // which says whose library this is

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace readback {

#ifdef __GLIBC__

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
}

void trim_freed_memory() {
  constexpr size_t kMuch = size_t{128} << 20;  // below that, taking it anew would cost more than it is worth
  if (mallinfo2().fordblks > kMuch) malloc_trim(0);
}

#else

void keep_freed_memory() {}
void trim_freed_memory() {}

#endif

}  // namespace readback
