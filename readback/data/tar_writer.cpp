#include "readback/data/tar_writer.h"

#include <fmt/format.h>

namespace readback::data {

namespace {

constexpr size_t kBlock = 512, kLongestName = 100;

}  // namespace

std::string tar_header(const std::string& name, int64_t size, char type, const std::string& prefix) {
  std::string header(kBlock, '\0');
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

std::string tar_member(const std::string& name, const std::string& contents, char type) {
  std::string member;
  if (name.size() > kLongestName) member = tar_member("././@LongLink", name + '\0', 'L');
  member += tar_header(name.substr(0, kLongestName), static_cast<int64_t>(contents.size()), type) + contents;
  member.resize((member.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return member;
}

std::string tar_end() { return std::string(2 * kBlock, '\0'); }

}  // namespace readback::data
