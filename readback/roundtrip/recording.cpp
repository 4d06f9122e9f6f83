#include "readback/roundtrip/recording.h"

#include <fmt/format.h>

#include <new>

#include "readback/base/error.h"

namespace readback::roundtrip {

bool Recorder::survives(const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const Interrupted&) {
    throw;
  } catch (const StoreError&) {
    throw;
  } catch (const UsageError&) {
    throw;
  } catch (const CheckpointError&) {
    throw;
  } catch (const RankError&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    message_ = error.what();
    return false;
  }
}

bool Recorder::attempt(ErrorRow error, const std::function<void()>& work) {
  if (survives(work)) return true;
  error.message = message_;
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
