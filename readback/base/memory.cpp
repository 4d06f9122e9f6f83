#include "readback/base/memory.h"

#include <cstdlib>  // which says whose library this is

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

}  // namespace readback
