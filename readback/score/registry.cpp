#include "readback/score/registry.h"

#include <fmt/format.h>

#include <functional>
#include <set>

#include "readback/base/error.h"
#include "readback/score/embedding_metric.h"
#include "readback/score/image/pixel_metric.h"
#include "readback/score/oracle_metric.h"
#include "readback/score/pair/clipscore.h"
#include "readback/score/pair/judge_metric.h"
#include "readback/score/text/meteor/tables.h"
#include "readback/score/text/reference_metrics.h"
#include "readback/score/text/wmd.h"

namespace readback::score {

namespace {

using Maker = std::function<std::unique_ptr<Metric>(const MetricInfo&, const MetricContext&)>;

bool always() { return true; }
// For other forms of metrics that are measured by default, for what few people ask for, and for what takes minutes.
bool only_on_request() { return false; }

struct Entry {
  MetricInfo info;
  Maker make;
  // Whether it is measured by default, where its inputs and its checkpoint are given.
  bool (*by_default)() = always;
};

template <typename Checkpoint>
std::shared_ptr<Checkpoint> needed(const MetricInfo& info, const Lazy<Checkpoint>& checkpoint) {
  if (!checkpoint.given()) {
    throw UsageError(
        describe(info.name, "a checkpoint to measure with", "none", "Give one with the option " + info.option));
  }
  return checkpoint.get();
}

Maker embedding(EmbeddingKind kind, Lazy<EmbeddingCache> MetricContext::*model) {
  return [kind, model](const MetricInfo& info, const MetricContext& context) {
    return make_embedding_metric(info, kind, needed(info, context.*model));
  };
}

Maker wmd(const WmdOptions& options) {
  return [options](const MetricInfo& info, const MetricContext& context) {
    return make_wmd_metric(info, needed(info, context.vectors), options);
  };
}

std::unique_ptr<Metric> make_clipscore(const MetricInfo& info, const MetricContext& context) {
  return make_clipscore_metric(info, needed(info, context.clip));
}

Maker cider(CiderVariant variant) {
  return [variant](const MetricInfo& info, const MetricContext& context) {
    return make_cider_metric(info, variant, context.corpus);
  };
}

Entry bleu(int order) {
  return {
      {fmt::format("bleu-{}", order), fmt::format("BLEU-{}", order),
       fmt::format("clipped precisions of up to {}-grams, closest reference length, not smoothed; PTB tokens", order),
       Direction::kHigherIsBetter, Inputs::kReferences, ""},
      [order](const MetricInfo& info, const MetricContext&) { return make_bleu_metric(info, order); },
      order == 4 ? always : only_on_request};
}

const std::vector<Entry>& table() {
  constexpr Direction kLower = Direction::kLowerIsBetter, kHigher = Direction::kHigherIsBetter;
  static const std::vector<Entry> entries = {
      {{"clip-image", "CLIP image distance", "1 − cos(image_embeds), after the projection", kLower, Inputs::kImages, "",
        "clip"},
       embedding(EmbeddingKind::kProjected, &MetricContext::clip)},
      {{"clip-image-pooled", "CLIP image distance (pooled)", "1 − cos(pooler_output), before the projection", kLower,
        Inputs::kImages, "", "clip"},
       embedding(EmbeddingKind::kPooled, &MetricContext::clip)},
      {{"dino-image", "DINO image distance", "1 − cos(class token after the last layer norm)", kLower, Inputs::kImages,
        "", "dino"},
       embedding(EmbeddingKind::kPooled, &MetricContext::dino)},
      {{"inception-image", "Inception image distance", "1 − cos(the 2,048 features that FID is computed from)", kLower,
        Inputs::kImages, "", "inception"},
       embedding(EmbeddingKind::kPooled, &MetricContext::inception)},
      {{"psnr", "PSNR",
        "10 log10(255² / mean squared error over pixels and channels), at most 100 dB; the candidate brought to the "
        "original's size by Pillow's bicubic",
        kHigher, Inputs::kImages, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_psnr_metric(info); },
       only_on_request},
      {{"ssim", "SSIM",
        "structural similarity under a Gaussian window of 11 × 11, σ = 1.5, mean over channels and positions; the "
        "candidate brought to the original's size by Pillow's bicubic",
        kHigher, Inputs::kImages, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_ssim_metric(info); },
       only_on_request},
      {{"clip-text", "CLIP text distance", "1 − cos(text_embeds), after the projection; mean over references", kLower,
        Inputs::kTexts, "", "clip"},
       embedding(EmbeddingKind::kProjected, &MetricContext::clip)},
      {{"clip-text-pooled", "CLIP text distance (pooled)",
        "1 − cos(pooler_output), before the projection; mean over references", kLower, Inputs::kTexts, "", "clip"},
       embedding(EmbeddingKind::kPooled, &MetricContext::clip)},
      {{"sbert-text", "SBERT distance", "1 − cos(sentence embeddings); mean over references", kLower, Inputs::kTexts,
        "", "sbert"},
       embedding(EmbeddingKind::kProjected, &MetricContext::sbert)},
      {{"wmd-text", "WMD",
        "Word Mover's Distance, exact, between unit vectors of the words; lower case, between blanks, without NLTK's "
        "stop words and words without a vector (as the paper's code and gensim); mean over references",
        kLower, Inputs::kTexts, "", "vectors"},
       wmd({})},
      {{"wmd-text-ptb", "WMD (PTB tokens)",
        "as wmd-text, on PTB tokens: a word with a comma or full stop behind it counts; mean over references", kLower,
        Inputs::kTexts, "", "vectors"},
       wmd({.words = WmdWords::kPtb}),
       only_on_request},
      bleu(1),
      bleu(2),
      bleu(3),
      bleu(4),
      {{"meteor", "METEOR",
        "METEOR 1.5, English: exact, stem, synonym and paraphrase matches; α = 0.85, β = 0.2, γ = 0.6, δ = 0.75; the "
        "best of the references; PTB tokens",
        kHigher, Inputs::kReferences, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_meteor_metric(info); },
       has_meteor_tables},
      {{"rouge-l", "ROUGE-L",
        "F of the longest common subsequence, β = 1.2, largest precision and recall over references; PTB tokens",
        kHigher, Inputs::kReferences, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_rouge_metric(info); }},
      {{"cider", "CIDEr",
        "10 · mean tf-idf cosine of 1- to 4-grams, clipped, σ = 6: what the COCO evaluation calls CIDEr and its "
        "authors "
        "CIDEr-D; PTB tokens; document frequencies of all references of the data set",
        kHigher, Inputs::kReferences, ""},
       cider(CiderVariant::kD)},
      {{"cider-d", "CIDEr-D", "the same numbers as cider, under the authors' name", kHigher, Inputs::kReferences, ""},
       cider(CiderVariant::kD),
       only_on_request},
      {{"cider-plain", "CIDEr (plain)",
        "10 · mean tf-idf cosine of 1- to 4-grams, without clipping and length penalty: what its authors call CIDEr; "
        "PTB "
        "tokens; document frequencies of all references of the data set",
        kHigher, Inputs::kReferences, ""},
       cider(CiderVariant::kPlain),
       only_on_request},
      {{"spice", "SPICE",
        "F of the scene graphs' tuples (objects, attributes, relations), synonyms matched; spice-1.0.jar with CoreNLP "
        "3.6.0, needs Java; PTB tokens",
        kHigher, Inputs::kReferences, ""},
       [](const MetricInfo& info, const MetricContext&) { return make_spice_metric(info); },
       only_on_request},
      {{"clipscore", "CLIPScore", "2.5 · max(cos(image_embeds, text_embeds), 0); \"A photo depicts \" before the text",
        kHigher, Inputs::kImageText, "", "clip"},
       make_clipscore,
       only_on_request},
      {{"refclipscore", "RefCLIPScore",
        "harmonic mean of CLIPScore and max(cos(text_embeds, nearest reference's), 0); \"A photo depicts \" before all "
        "texts",
        kHigher, Inputs::kImageTextReferences, "", "clip"},
       make_clipscore,
       only_on_request},
      {{"text-probability", "Text probability",
        "log-probability a token (end token included) of the text, given the picture, by a captioner after its own "
        "prompt",
        kHigher, Inputs::kImageText, "", "judge_captioner"},
       [](const MetricInfo& info, const MetricContext& context) {
         return make_text_probability_metric(info, needed(info, context.judge_captioner));
       },
       only_on_request},
      {{"vqascore", "VQAScore",
        "probability that a model which answers questions says Yes to 'Does this figure show \"TEXT\"? Please answer "
        "yes "
        "or no.'",
        kHigher, Inputs::kImageText, "", "judge_captioner"},
       [](const MetricInfo& info, const MetricContext& context) {
         return make_vqascore_metric(info, needed(info, context.judge_captioner));
       },
       only_on_request},
      {{"denoising-error", "Denoising error",
        "mean squared error of what a generator's network predicts at 8 timesteps of the noised picture, given the "
        "text",
        kLower, Inputs::kImageText, "", "judge_generator"},
       [](const MetricInfo& info, const MetricContext& context) {
         return make_denoising_error_metric(info, needed(info, context.judge_generator));
       },
       only_on_request},
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

std::vector<std::string> default_metrics(bool has_references, bool has_truth,
                                         const std::set<std::string>& checkpoints) {
  std::vector<std::string> names;
  for (const auto& [info, make, by_default] : table()) {
    const bool needs_truth = info.inputs == Inputs::kTextTruth || info.inputs == Inputs::kImageTruth;
    const bool needs_references = info.inputs == Inputs::kReferences || info.inputs == Inputs::kTexts;
    if (!info.option.empty() && !checkpoints.contains(info.option)) continue;
    if (by_default() && (has_truth || !needs_truth) && (has_references || !needs_references)) {
      names.push_back(info.name);
    }
  }
  return names;
}

}  // namespace readback::score
