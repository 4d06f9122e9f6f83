// A bad sample never ends a run: what fails is recorded with it. Only a DataError says something about a sample; every
// other error concerns the engine, the network or the program, and ends the run.
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

  // True when `work` succeeded. A DataError is recorded under `error` with its message; others pass through.
  bool attempt(ErrorRow error, const std::function<void()>& work);
  // Errors: DataError when more than max_errors samples have failed.
  void record(const ErrorRow& error);

  int64_t failed_samples() const { return static_cast<int64_t>(failed_.size()); }

 private:
  Store& store_;
  int64_t max_errors_;
  std::set<std::string> failed_;
};

}  // namespace readback::roundtrip
