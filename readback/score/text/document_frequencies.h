// How rare n-grams are in a set of references: the weights of CIDEr.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "readback/score/text/ngrams.h"

namespace readback::score {

// In how many documents (all references of one image) each n-gram occurs.
class DocumentFrequencies {
 public:
  void add(std::span<const Tokens> references);  // one document
  int64_t documents() const { return documents_; }
  int64_t ngrams() const { return static_cast<int64_t>(used_); }  // different ones
  int64_t frequency(const Ngram& ngram) const;

  // A file that every machine reads: "readback-ngrams", the version, the number of documents, that of n-grams and a
  // checksum, then each n-gram's hash and frequency, ascending; little-endian, 64 bits each.
  // Errors: StoreError.
  void save(const std::filesystem::path& path) const;
  // Errors: DataError for a file that is missing, damaged or of another kind.
  static DocumentFrequencies load(const std::filesystem::path& path);

 private:
  struct Slot {
    Ngram ngram;
    int64_t frequency = 0;  // 0: free
  };
  // Where the n-gram is or would be put: a table of 2^n slots, looked through from the place that the hash names.
  size_t find(const Ngram& ngram) const;
  void increase(const Ngram& ngram, int64_t frequency);
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(1024);
  size_t used_ = 0;
  int64_t documents_ = 0;
};

}  // namespace readback::score
