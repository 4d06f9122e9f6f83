#include "readback/base/halving.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/machine.h"

namespace readback {

void in_parts_that_fit(int64_t count, int64_t most, const std::function<void(int64_t begin, int64_t end)>& work,
                       const Context& context) {
  for (int64_t begin = 0; begin < count;) {
    const int64_t size = std::min(most, count - begin);
    try {
      on_engine([&] { work(begin, begin + size); });
      begin += size;
    } catch (const OutOfMemory& error) {
      if (size <= 1) throw;
      most = size / 2;
      context.progress().note(fmt::format("{}\nGoing on with {} at once", error.what(), most));
    }
  }
}

}  // namespace readback
