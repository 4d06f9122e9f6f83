#include "readback/score/registry.h"

#include <fmt/format.h>

#include <functional>

#include "readback/base/error.h"
#include "readback/score/embedding_metric.h"
#include "readback/score/oracle_metric.h"
#include "readback/score/text/reference_metrics.h"

namespace readback::score {

namespace {

using Maker = std::function<std::unique_ptr<Metric>(const MetricInfo&, const MetricContext&)>;

struct Entry {
  MetricInfo info;
  Maker make;
};

Maker embedding(EmbeddingKind kind) {
  return [kind](const MetricInfo& info, const MetricContext& context) {
    if (!context.clip) throw UsageError(describe(info.name, "a CLIP model", "none", "Give one with --clip"));
    return make_embedding_metric(info, kind, context.clip);
  };
}

Maker cider(CiderVariant variant) {
  return [variant](const MetricInfo& info, const MetricContext& context) {
    return make_cider_metric(info, variant, context.corpus);
  };
}

const std::vector<Entry>& table() {
  constexpr Direction kLower = Direction::kLowerIsBetter, kHigher = Direction::kHigherIsBetter;
  static const std::vector<Entry> entries = {
      {{"clip-image", "CLIP image distance", "1 − cos(image_embeds), after the projection", kLower, Inputs::kImages,
        ""},
       embedding(EmbeddingKind::kProjected)},
      {{"clip-image-pooled", "CLIP image distance (pooled)", "1 − cos(pooler_output), before the projection", kLower,
        Inputs::kImages, ""},
       embedding(EmbeddingKind::kPooled)},
      {{"clip-text", "CLIP text distance", "1 − cos(text_embeds), after the projection; mean over references", kLower,
        Inputs::kTexts, ""},
       embedding(EmbeddingKind::kProjected)},
      {{"clip-text-pooled", "CLIP text distance (pooled)",
        "1 − cos(pooler_output), before the projection; mean over references", kLower, Inputs::kTexts, ""},
       embedding(EmbeddingKind::kPooled)},
      {{"bleu-4", "BLEU-4", "sentence BLEU up to 4-grams, closest reference length, not smoothed", kHigher,
        Inputs::kReferences, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_bleu_metric(info, 4); }},
      {{"cider", "CIDEr",
        "10 · mean tf-idf cosine of 1- to 4-grams, clipped, σ = 6 (the COCO evaluation's CIDEr, by its authors called "
        "CIDEr-D); document frequencies of all references of the data set",
        kHigher, Inputs::kReferences, ""},
       cider(CiderVariant::kD)},
      {{"cider-plain", "CIDEr (plain)",
        "10 · mean tf-idf cosine of 1- to 4-grams, without clipping and length penalty; document frequencies of all "
        "references of the data set",
        kHigher, Inputs::kReferences, ""},
       cider(CiderVariant::kPlain)},
      {{"oracle-text", "Oracle, text", "F1 of the scene's objects, relation and background, as parsed from the text",
        kHigher, Inputs::kTextTruth, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_oracle_metric(info); }},
      {{"oracle-image", "Oracle, image", "F1 of the scene's objects, relation and background, as seen in the image",
        kHigher, Inputs::kImageTruth, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_oracle_metric(info); }},
  };
  return entries;
}

const Entry& find(const std::string& name) {
  std::string names;
  for (const Entry& entry : table()) {
    if (entry.info.name == name) return entry;
    names += (names.empty() ? "" : ", ") + entry.info.name;
  }
  throw UsageError(describe("metric", "one of " + names, "\"" + name + "\""));
}

}  // namespace

const std::vector<MetricInfo>& all_metrics() {
  static const std::vector<MetricInfo> infos = [] {
    std::vector<MetricInfo> result;
    for (const Entry& entry : table()) result.push_back(entry.info);
    return result;
  }();
  return infos;
}

const MetricInfo& find_metric(const std::string& name) { return find(name).info; }

std::unique_ptr<Metric> make_metric(const std::string& name, const MetricContext& context) {
  const Entry& entry = find(name);
  return entry.make(entry.info, context);
}

std::vector<std::string> default_metrics(bool has_references, bool has_truth) {
  std::vector<std::string> names;
  for (const MetricInfo& info : all_metrics()) {
    const bool needs_truth = info.inputs == Inputs::kTextTruth || info.inputs == Inputs::kImageTruth;
    const bool needs_references = info.inputs == Inputs::kReferences || info.inputs == Inputs::kTexts;
    if (info.name != "cider-plain" && (has_truth || !needs_truth) && (has_references || !needs_references)) {
      names.push_back(info.name);
    }
  }
  return names;
}

}  // namespace readback::score
