// Work on many things at once where memory may hold fewer.
#pragma once
#include <cstdint>
#include <functional>

#include "readback/base/context.h"

namespace readback {

// Calls work(begin, end) on consecutive parts of 0 … count - 1, `most` at a time. Where memory is too small for a part,
// it is asked for again in halves, and all later ones are as small; progress hears of it. Work that throws must leave
// nothing behind. Errors: OutOfMemory when there is no room for one; others of `work`, those of libtorch as our own
// (base/machine.h).
void in_parts_that_fit(int64_t count, int64_t most, const std::function<void(int64_t begin, int64_t end)>& work,
                       const Context& context = {});

}  // namespace readback
