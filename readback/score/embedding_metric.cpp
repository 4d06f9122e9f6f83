#include "readback/score/embedding_metric.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace readback::score {

namespace {

class EmbeddingMetric : public Metric {
 public:
  EmbeddingMetric(MetricInfo info, EmbeddingKind kind, std::shared_ptr<EmbeddingCache> cache)
      : info_(std::move(info)), kind_(kind), cache_(std::move(cache)) {
    info_.checkpoint = cache_->embedder().name();
  }

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    std::vector<double> values(comparisons.size(), std::numeric_limits<double>::quiet_NaN());
    std::vector<size_t> usable;
    for (size_t i = 0; i < comparisons.size(); ++i) {
      if (info_.inputs == Inputs::kTexts ? !comparisons[i].original_text.empty()
                                         : comparisons[i].candidate_image && comparisons[i].original_image) {
        usable.push_back(i);
      }
    }
    if (usable.empty()) return values;
    const auto [candidates, originals] =
        info_.inputs == Inputs::kTexts ? embed_texts(comparisons, usable) : embed_images(comparisons, usable);
    const at::Tensor x = select(candidates).to(at::kDouble), y = select(originals).to(at::kDouble);
    const at::Tensor cosine = (x * y).sum(1) / (x.square().sum(1).sqrt() * y.square().sum(1).sqrt());
    for (size_t k = 0; k < usable.size(); ++k) values[usable[k]] = 1 - cosine[static_cast<int64_t>(k)].item<double>();
    return values;
  }

 private:
  using Sides = std::pair<Embeds, Embeds>;

  Sides embed_texts(std::span<const Comparison> comparisons, const std::vector<size_t>& usable) {
    std::vector<std::string> candidates, originals;
    for (size_t i : usable) {
      candidates.push_back(comparisons[i].candidate_text);
      originals.push_back(comparisons[i].original_text);
    }
    return {cache_->candidate_texts(candidates), cache_->original_texts(originals)};
  }

  Sides embed_images(std::span<const Comparison> comparisons, const std::vector<size_t>& usable) {
    std::vector<const image::Image*> candidates, originals;
    for (size_t i : usable) {
      candidates.push_back(comparisons[i].candidate_image);
      originals.push_back(comparisons[i].original_image);
    }
    return {cache_->candidate_images(candidates), cache_->original_images(originals)};
  }

  const at::Tensor& select(const Embeds& embeds) const {
    return kind_ == EmbeddingKind::kProjected ? embeds.projected : embeds.pooled;
  }

  MetricInfo info_;
  EmbeddingKind kind_;
  std::shared_ptr<EmbeddingCache> cache_;
};

}  // namespace

std::unique_ptr<Metric> make_embedding_metric(MetricInfo info, EmbeddingKind kind,
                                              std::shared_ptr<EmbeddingCache> cache) {
  return std::make_unique<EmbeddingMetric>(std::move(info), kind, std::move(cache));
}

}  // namespace readback::score
