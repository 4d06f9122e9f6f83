#include "readback/data/selection.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "readback/base/error.h"
#include "readback/base/numbers.h"
#include "readback/base/random.h"

namespace readback::data {

namespace {

struct Shard {
  int64_t number = 1, of = 1;
};

Shard parse_shard(const std::string& text) {
  if (text.empty()) return {};
  Shard shard;
  const char* const end = text.data() + text.size();
  const auto [slash, error] = std::from_chars(text.data(), end, shard.number);
  if (error == std::errc() && slash != end && *slash == '/') {
    const auto [rest, of_error] = std::from_chars(slash + 1, end, shard.of);
    if (of_error == std::errc() && rest == end && shard.number >= 1 && shard.number <= shard.of) return shard;
  }
  throw UsageError(describe("shard", "I/N with I from 1 to N, such as 2/4", "\"" + text + "\""));
}

}  // namespace

Selection::Selection(int64_t all, const DatasetOptions& options) : all_(all) {
  const Shard shard = parse_shard(options.shard);
  const int64_t there = all / shard.of + (shard.number <= all % shard.of ? 1 : 0);
  if (all > 0 && there == 0) {
    throw UsageError(describe("shard", "at most " + with_commas(all) + " parts, as many as there are samples",
                              "\"" + options.shard + "\""));
  }
  if (there > 0 && options.first >= there) {
    throw UsageError(describe("first_sample", "less than the " + with_commas(there) + " samples that there are",
                              with_commas(options.first)));
  }
  begin_ = shard.number - 1 + options.first * shard.of;
  step_ = shard.of;
  size_ = std::max<int64_t>(there - options.first, 0);
  if (options.limit > 0) size_ = std::min(size_, options.limit);
  if (!options.shuffle) return;
  order_.resize(static_cast<size_t>(all));
  std::iota(order_.begin(), order_.end(), 0);
  Random random(*options.shuffle, Purpose::kPermutation, "order of a data set");
  for (int64_t i = all - 1; i > 0; --i) std::swap(order_[i], order_[random.below(i + 1)]);
}

int64_t Selection::operator[](int64_t index) const {
  if (index < 0 || index >= size_) throw std::out_of_range("a data set has no sample " + std::to_string(index));
  const int64_t place = begin_ + index * step_;
  return order_.empty() ? place : order_[static_cast<size_t>(place)];
}

std::string Selection::count_of(const std::string& what) const {
  return (size_ == all_ ? "" : with_commas(size_) + " of ") + with_commas(all_) + " " + what;
}

std::string counted(int64_t count, const std::string& what) {
  return with_commas(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace readback::data
