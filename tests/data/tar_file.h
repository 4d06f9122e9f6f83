// Archives of tar, as GNU tar and Python's tarfile write them.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace readback::data {

inline std::string tar_header(const std::string& name, int64_t size, char type = '0', const std::string& prefix = "") {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 7, "0000644");
  header.replace(124, 11, fmt::format("{:011o}", size));
  header[156] = type;
  header.replace(257, 8, std::string("ustar\00000", 8));
  header.replace(345, prefix.size(), prefix);
  header.replace(148, 8, "        ");
  int64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return header;
}

inline std::string tar_member(const std::string& name, const std::string& contents, char type = '0') {
  std::string member = tar_header(name, static_cast<int64_t>(contents.size()), type) + contents;
  member.resize((member.size() + 511) / 512 * 512, '\0');
  return member;
}

inline std::string tar_end() { return std::string(1024, '\0'); }

}  // namespace readback::data
