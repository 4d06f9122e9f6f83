#include "readback/base/context.h"

#include "readback/base/error.h"

namespace readback {

void Context::check() const {
  if (stopped()) throw Interrupted("interrupted");
}

Progress& Context::progress() const {
  static Progress silent;  // has no state
  return progress_ != nullptr ? *progress_ : silent;
}

}  // namespace readback
