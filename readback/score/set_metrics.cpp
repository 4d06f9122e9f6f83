#include "readback/score/set_metrics.h"

namespace readback::score {

const std::vector<MetricInfo>& set_metrics() {
  static const std::vector<MetricInfo> infos = {
      {"fid", "FID", "Fréchet distance of Inception's 2,048 features, in fp64; biased upwards for few samples",
       Direction::kLowerIsBetter, Inputs::kImages, "", "inception"},
      {"kid", "KID", "unbiased squared MMD of the same features, k(x, y) = (xᵀy / 2,048 + 1)³, mean over subsets",
       Direction::kLowerIsBetter, Inputs::kImages, "", "inception"},
      {"is", "IS", "exp of the mean KL(p(y|x) ‖ p(y)) of Inception's classes, mean over splits",
       Direction::kHigherIsBetter, Inputs::kImages, "", "inception"}};
  return infos;
}

}  // namespace readback::score
