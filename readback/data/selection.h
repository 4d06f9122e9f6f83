// Which of a data set's samples are taken, and in what order.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "readback/data/dataset.h"

namespace readback::data {

class Selection {
 public:
  // Of `all` samples: the order that options.shuffle gives, of it the shard, of this those from options.first on,
  // within options.limit. Errors: UsageError (a shard that is none, no sample left though there are some).
  Selection(int64_t all, const DatasetOptions& options);

  int64_t all() const { return all_; }
  int64_t size() const { return size_; }
  // The chosen sample's place among all.
  int64_t operator[](int64_t index) const;
  bool in_order() const { return order_.empty(); }
  // "images", "20 of 1,000 images".
  std::string count_of(const std::string& what) const;

 private:
  int64_t all_, begin_, step_, size_;
  std::vector<int64_t> order_;  // empty: as they come
};

// "1 image", "2 images".
std::string counted(int64_t count, const std::string& what);

}  // namespace readback::data
