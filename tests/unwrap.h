// Results of a call of which none may fail.
#pragma once
#include <utility>
#include <vector>

#include "readback/base/result.h"

namespace readback {

// Errors: DataError with the message of the first failure.
template <typename Value>
std::vector<Value> values_of(std::vector<Result<Value>> results) {
  std::vector<Value> values;
  for (Result<Value>& result : results) values.push_back(std::move(result.value()));
  return values;
}

}  // namespace readback
