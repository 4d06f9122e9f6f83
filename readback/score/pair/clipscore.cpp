#include "readback/score/pair/clipscore.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace readback::score {

namespace {

std::string prefixed(const std::string& text) { return kClipScorePrefix + text; }

// x: [D], y: [D]; in fp64.
double cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return ((x * y).sum() / (x.square().sum().sqrt() * y.square().sum().sqrt())).item<double>();
}

class ClipScoreMetric : public Metric {
 public:
  ClipScoreMetric(MetricInfo info, std::shared_ptr<EmbeddingCache> clip)
      : info_(std::move(info)), clip_(std::move(clip)) {
    info_.checkpoint = clip_->embedder().name();
  }

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    std::vector<double> values(comparisons.size(), std::numeric_limits<double>::quiet_NaN());
    const bool with_references = info_.inputs == Inputs::kImageTextReferences;
    std::vector<size_t> of_texts, of_images;
    for (size_t i = 0; i < comparisons.size(); ++i) {
      const Comparison& c = comparisons[i];
      if (c.original_image) {
        if (!with_references || !c.references.empty()) of_texts.push_back(i);
      } else if (c.candidate_image && !c.original_text.empty() && !with_references) {
        of_images.push_back(i);
      }
    }
    if (!of_texts.empty()) score_texts(comparisons, of_texts, values);
    if (!of_images.empty()) score_images(comparisons, of_images, values);
    return values;
  }

 private:
  void score_texts(std::span<const Comparison> comparisons, const std::vector<size_t>& rows,
                   std::vector<double>& values) {
    std::vector<const image::Image*> images;
    std::vector<std::string> texts, references;
    for (size_t i : rows) {
      images.push_back(comparisons[i].original_image);
      texts.push_back(prefixed(comparisons[i].candidate_text));
      if (info_.inputs != Inputs::kImageTextReferences) continue;
      for (const std::string& reference : comparisons[i].references) references.push_back(prefixed(reference));
    }
    const at::Tensor image_rows = clip_->original_images(images).projected,
                     text_rows = clip_->candidate_texts(texts).projected;
    const at::Tensor reference_rows = references.empty() ? at::Tensor() : clip_->original_texts(references).projected;
    int64_t row = 0, reference = 0;
    for (size_t i : rows) {
      values[i] = clipscore(cosine(image_rows[row], text_rows[row]));
      if (!references.empty()) {
        double nearest = -1;
        for (size_t k = 0; k < comparisons[i].references.size(); ++k) {
          nearest = std::max(nearest, cosine(text_rows[row], reference_rows[reference++]));
        }
        values[i] = refclipscore(values[i], nearest);
      }
      ++row;
    }
  }

  void score_images(std::span<const Comparison> comparisons, const std::vector<size_t>& rows,
                    std::vector<double>& values) {
    std::vector<const image::Image*> images;
    std::vector<std::string> texts;
    for (size_t i : rows) {
      images.push_back(comparisons[i].candidate_image);
      texts.push_back(prefixed(comparisons[i].original_text));
    }
    const at::Tensor image_rows = clip_->candidate_images(images).projected,
                     text_rows = clip_->original_texts(texts).projected;
    int64_t row = 0;
    for (size_t i : rows) {
      values[i] = clipscore(cosine(image_rows[row], text_rows[row]));
      ++row;
    }
  }

  MetricInfo info_;
  std::shared_ptr<EmbeddingCache> clip_;
};

}  // namespace

double clipscore(double cosine) { return kClipScoreWeight * std::max(cosine, 0.0); }

double refclipscore(double clipscore, double reference_cosine) {
  const double nearest = std::max(reference_cosine, 0.0);
  return clipscore == 0 || nearest == 0 ? 0 : 2 * clipscore * nearest / (clipscore + nearest);
}

std::unique_ptr<Metric> make_clipscore_metric(MetricInfo info, std::shared_ptr<EmbeddingCache> clip) {
  return std::make_unique<ClipScoreMetric>(std::move(info), std::move(clip));
}

}  // namespace readback::score
