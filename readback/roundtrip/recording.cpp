#include "readback/roundtrip/recording.h"

#include <fmt/format.h>

#include "readback/base/error.h"

namespace readback::roundtrip {

bool Recorder::attempt(ErrorRow error, const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const DataError& reason) {
    error.message = reason.what();
  }
  record(error);
  return false;
}

void Recorder::record(const ErrorRow& error) {
  store_.put_error(error);
  failed_.insert(error.sample);
  if (max_errors_ >= 0 && failed_samples() > max_errors_) {
    throw DataError(describe(store_.folder().string(), fmt::format("at most {} failed samples", max_errors_),
                             std::to_string(failed_samples()),
                             "The last one, " + error.sample + " (" + error.stage + "): " + error.message));
  }
}

}  // namespace readback::roundtrip
