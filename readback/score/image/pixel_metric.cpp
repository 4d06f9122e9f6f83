#include "readback/score/image/pixel_metric.h"

#include <algorithm>
#include <limits>

#include "readback/image/resize.h"
#include "readback/score/image/pixel.h"

namespace readback::score {

namespace {

using Function = double (*)(const image::Image& candidate, const image::Image& original);

class PixelMetric : public Metric {
 public:
  PixelMetric(MetricInfo info, int64_t smallest, Function function)
      : info_(std::move(info)), smallest_(smallest), function_(function) {}

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    std::vector<double> values(comparisons.size(), std::numeric_limits<double>::quiet_NaN());
    for (size_t i = 0; i < comparisons.size(); ++i) {
      const image::Image *candidate = comparisons[i].candidate_image, *original = comparisons[i].original_image;
      if (!candidate || !original || std::min(original->width, original->height) < smallest_) continue;
      const bool same_size = candidate->width == original->width && candidate->height == original->height;
      values[i] =
          function_(same_size ? *candidate
                              : image::resize(*candidate, original->width, original->height, image::Filter::kBicubic),
                    *original);
    }
    return values;
  }

 private:
  MetricInfo info_;
  int64_t smallest_;  // side
  Function function_;
};

}  // namespace

std::unique_ptr<Metric> make_psnr_metric(MetricInfo info) {
  return std::make_unique<PixelMetric>(std::move(info), 1,
                                       [](const image::Image& candidate, const image::Image& original) {
                                         return std::min(psnr(candidate, original), kMostPsnr);
                                       });
}

std::unique_ptr<Metric> make_ssim_metric(MetricInfo info) {
  return std::make_unique<PixelMetric>(std::move(info), 6, ssim);
}

}  // namespace readback::score
