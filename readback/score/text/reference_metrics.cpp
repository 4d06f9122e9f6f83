#include "readback/score/text/reference_metrics.h"

#include <functional>
#include <limits>

#include "readback/score/text/bleu.h"

namespace readback::score {

namespace {

std::vector<Tokens> tokenize(const std::vector<std::string>& texts) {
  std::vector<Tokens> result;
  for (const std::string& text : texts) result.push_back(caption_tokens(text));
  return result;
}

class ReferenceMetric : public Metric {
 public:
  using Function = std::function<double(const Tokens&, std::span<const Tokens>)>;
  ReferenceMetric(MetricInfo info, Function function) : info_(std::move(info)), function_(std::move(function)) {}

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons) override {
    std::vector<double> values;
    for (const Comparison& comparison : comparisons) {
      values.push_back(comparison.references.empty()
                           ? std::numeric_limits<double>::quiet_NaN()
                           : function_(caption_tokens(comparison.candidate_text), tokenize(comparison.references)));
    }
    return values;
  }

 private:
  MetricInfo info_;
  Function function_;
};

}  // namespace

std::unique_ptr<Metric> make_bleu_metric(MetricInfo info, int order) {
  return std::make_unique<ReferenceMetric>(
      std::move(info), [order](const Tokens& candidate, std::span<const Tokens> references) {
        return bleu(count_bleu(candidate, references))[static_cast<size_t>(order - 1)];
      });
}

std::unique_ptr<Metric> make_cider_metric(MetricInfo info, CiderVariant variant,
                                          const std::vector<std::vector<std::string>>& corpus) {
  DocumentFrequencies frequencies;
  for (const auto& references : corpus) {
    if (!references.empty()) frequencies.add(tokenize(references));
  }
  return std::make_unique<ReferenceMetric>(
      std::move(info),
      [variant, frequencies = std::move(frequencies)](const Tokens& candidate, std::span<const Tokens> references) {
        return cider(candidate, references, frequencies, variant);
      });
}

}  // namespace readback::score
