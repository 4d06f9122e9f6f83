#include "readback/base/error.h"

namespace readback {

std::string describe(const std::string& where, const std::string& expected, const std::string& got,
                     const std::string& next) {
  std::string message = where;
  if (!expected.empty()) message += ": expected " + expected;
  if (!got.empty()) message += (expected.empty() ? ": " : ", got ") + got;
  if (!next.empty()) message += ". " + next;
  return message;
}

}  // namespace readback
