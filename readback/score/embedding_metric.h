// Cosine distance of embeddings: candidate image against original image, candidate text against original text.
#pragma once
#include <memory>

#include "readback/score/embedder.h"
#include "readback/score/metric.h"

namespace readback::score {

// Which vector of a model the distance is measured on.
enum class EmbeddingKind { kProjected, kPooled };

// 1 - cos(candidate, original), in 0 … 2. NaN where one side is missing or a vector is zero.
// `info.inputs` must be kImages or kTexts.
std::unique_ptr<Metric> make_embedding_metric(MetricInfo info, EmbeddingKind kind,
                                              std::shared_ptr<EmbeddingCache> cache);

}  // namespace readback::score
