// A bad sample never ends a run: what fails is recorded, unless it concerns the run as a whole.
#pragma once
#include <functional>
#include <set>
#include <string>

#include "readback/roundtrip/store.h"

namespace readback::roundtrip {

class Recorder {
 public:
  // max_errors: how many samples may fail; -1: any number.
  Recorder(Store& store, int64_t max_errors) : store_(store), max_errors_(max_errors) {}

  // True when `work` succeeded. Errors that say nothing about the sample pass through: Interrupted, StoreError,
  // UsageError, CheckpointError, RankError, out of memory.
  bool survives(const std::function<void()>& work);
  // The same, and what failed is recorded under `error` with its message.
  bool attempt(ErrorRow error, const std::function<void()>& work);
  // Errors: DataError when more than max_errors samples have failed.
  void record(const ErrorRow& error);

  int64_t failed_samples() const { return static_cast<int64_t>(failed_.size()); }

 private:
  Store& store_;
  int64_t max_errors_;
  std::set<std::string> failed_;
  std::string message_;
};

}  // namespace readback::roundtrip
