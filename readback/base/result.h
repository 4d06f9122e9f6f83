// A value, or why there is none.
#pragma once
#include <string>
#include <utility>
#include <variant>

#include "readback/base/error.h"

namespace readback {

// Why one request of a call has no result. What concerns all of them is thrown.
struct Failure {
  std::string message;
};

template <typename Value>
class Result {
 public:
  Result(Value value) : content_(std::move(value)) {}
  Result(Failure failure) : content_(std::move(failure)) {}

  bool ok() const { return std::holds_alternative<Value>(content_); }
  explicit operator bool() const { return ok(); }

  // Errors: DataError with the failure's message when there is no value.
  Value& value() {
    if (!ok()) throw DataError(failure());
    return std::get<Value>(content_);
  }
  const Value& value() const { return const_cast<Result*>(this)->value(); }
  const std::string& failure() const { return std::get<Failure>(content_).message; }  // only when !ok()

 private:
  std::variant<Value, Failure> content_;
};

}  // namespace readback
