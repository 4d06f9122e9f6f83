// Numbers as people read them.
#pragma once
#include <cstdint>
#include <string>

namespace readback {

inline std::string with_commas(int64_t number) {  // 25010 → "25,010"
  std::string digits = std::to_string(number);
  for (auto place = static_cast<int64_t>(digits.size()) - 3; place > (number < 0 ? 1 : 0); place -= 3) {
    digits.insert(static_cast<size_t>(place), 1, ',');
  }
  return digits;
}

}  // namespace readback
