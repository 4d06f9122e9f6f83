// CLIPScore and RefCLIPScore (Hessel et al., EMNLP 2021, https://arxiv.org/abs/2104.08718): how well a text fits an
// image, without references and with them.
#pragma once
#include <memory>

#include "readback/score/embedder.h"
#include "readback/score/metric.h"

namespace readback::score {

inline constexpr double kClipScoreWeight = 2.5;
inline constexpr char kClipScorePrefix[] = "A photo depicts ";  // before every text, references too

// 2.5 · max(cos, 0), cos between image and text after the projections; 0 … 2.5.
double clipscore(double cosine);
// The harmonic mean of a CLIPScore and of max(cos, 0) between the text and its nearest reference; 0 where either is 0.
double refclipscore(double clipscore, double reference_cosine);

// Of the original image with the candidate text; where there is no original image, of the candidate image with the
// original text. NaN where image or original text are missing. `info.inputs`: kImageText, or kImageTextReferences for
// RefCLIPScore, which is of candidate texts only and NaN without references.
std::unique_ptr<Metric> make_clipscore_metric(MetricInfo info, std::shared_ptr<EmbeddingCache> clip);

}  // namespace readback::score
