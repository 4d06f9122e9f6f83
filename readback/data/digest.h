// The digest by which a run knows its data set again.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "readback/data/dataset.h"

namespace readback::data {

// FNV-1a over what samples are made from and of (their domains only group them), one after the other; a separator that
// no text contains keeps fields apart. Stored runs hold its values: change nothing.
class SampleDigest {
 public:
  explicit SampleDigest(std::string_view source) { add_text(source); }
  void add(const Sample& sample) {
    add_text(sample.id);
    add_text(sample.truth);
    for (const std::string& reference : sample.references) add_text(reference);
    add_text("");
  }
  std::string text() const { return fmt::format("{:016x}", hash_); }

 private:
  void add_byte(unsigned char byte) { hash_ = (hash_ ^ byte) * 0x100000001b3; }
  void add_text(std::string_view text) {
    for (const char c : text) add_byte(static_cast<unsigned char>(c));
    add_byte(0);
  }
  uint64_t hash_ = 0xcbf29ce484222325;
};

inline std::string digest_of(const Dataset& dataset, std::string_view source) {
  SampleDigest digest(source);
  for (int64_t i = 0; i < dataset.size(); ++i) digest.add(dataset.sample(i));
  return digest.text();
}

}  // namespace readback::data
