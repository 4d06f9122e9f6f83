#include "readback/score/text/rouge.h"

#include <algorithm>

#include "readback/base/error.h"

namespace readback::score {

namespace {

// Length of the longest common subsequence; one row of the table at a time.
size_t common_length(const Tokens& a, const Tokens& b) {
  std::vector<size_t> row(b.size() + 1, 0);
  for (const std::string& token : a) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = token == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

double rouge_l(const Tokens& candidate, std::span<const Tokens> references) {
  constexpr double kBetaSquared = 1.2 * 1.2;
  if (references.empty()) throw DataError(describe("ROUGE-L", "at least one reference text", "none"));
  const auto ratio = [](size_t part, size_t whole) { return static_cast<double>(part) / static_cast<double>(whole); };
  double precision = 0, recall = 0;
  for (const Tokens& reference : references) {
    const bool both_empty = candidate.empty() && reference.empty();
    const size_t common = both_empty ? 1 : common_length(candidate, reference);
    precision = std::max(precision, ratio(common, std::max<size_t>(candidate.size(), 1)));
    recall = std::max(recall, ratio(common, std::max<size_t>(reference.size(), 1)));
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + kBetaSquared) * precision * recall / (recall + kBetaSquared * precision);
}

}  // namespace readback::score
