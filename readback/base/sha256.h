// SHA-256 (FIPS 180-4), for telling files apart.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace readback {

// A digest of bytes that come in parts.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::string_view bytes);
  std::string hex();  // 64 hexadecimal digits, lower case. Ends it.

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// 64 hexadecimal digits, lower case.
std::string sha256_hex(std::string_view bytes);

}  // namespace readback
