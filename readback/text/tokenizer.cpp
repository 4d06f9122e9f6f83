#include "readback/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::text {

Padded pad(const std::vector<int64_t>& ids, int64_t begin, int64_t end, int64_t padding, int64_t length) {
  if (length < 2) throw UsageError(describe("pad", "a length of at least 2", fmt::format("{}", length)));
  const auto kept = std::min<int64_t>(static_cast<int64_t>(ids.size()), length - 2);
  Padded result;
  result.ids.reserve(static_cast<size_t>(length));
  result.ids.push_back(begin);
  result.ids.insert(result.ids.end(), ids.begin(), ids.begin() + kept);
  result.ids.push_back(end);
  result.tokens = kept + 2;
  result.truncated = static_cast<int64_t>(ids.size()) - kept;
  result.ids.resize(static_cast<size_t>(length), padding);
  return result;
}

}  // namespace readback::text
