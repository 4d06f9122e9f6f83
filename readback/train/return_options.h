// What learning from what returned is asked to do: which candidates of a collection teach, and by which loss. Each
// struct names the file where its options take effect.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/options.h"
#include "readback/roundtrip/choices.h"

namespace readback::train {

enum class CaptionerMethod {
  kNone,
  kSft,   // the chosen caption is learned as if a person had written it
  kDpo,   // the chosen one against the rejected one
  kGrpo,  // all candidates, each by how much better than its group it returned
};
constexpr std::array<const char*, 4> names_of(CaptionerMethod) { return {"none", "sft", "dpo", "grpo"}; }

enum class GeneratorMethod { kNone, kSft, kDpo };
constexpr std::array<const char*, 3> names_of(GeneratorMethod) { return {"none", "sft", "dpo"}; }

// Where a model's lessons come from. A chosen candidate is a pair of picture and text, which can teach either model.
enum class LessonSource {
  kOwn,    // the captioner's own captions of pictures, the generator's own pictures of texts
  kOther,  // the generator's pictures with the texts they were drawn from; the captioner's captions with their pictures
  kBoth,   // half of each batch from either
};
constexpr std::array<const char*, 3> names_of(LessonSource) { return {"own", "other", "both"}; }

enum class DpoLoss { kSigmoid, kIpo };
constexpr std::array<const char*, 2> names_of(DpoLoss) { return {"sigmoid", "ipo"}; }

// preference.cpp
struct DpoOptions {
  DpoLoss loss = DpoLoss::kSigmoid;
  double beta = 0.1;
  double label_smoothing = 0;

  static constexpr auto options() {
    using O = DpoOptions;
    return std::tuple(
        option(&O::loss, "loss", "sigmoid (DPO), or ipo"),
        option(&O::beta, "beta", "Captions: how close to the reference, the higher the closer", more_than(0)),
        option(&O::label_smoothing, "label_smoothing", "sigmoid: share of comparisons taken to be wrong", {0, 0.5}));
  }
};

enum class RewardScale { kGroup, kNone };
constexpr std::array<const char*, 2> names_of(RewardScale) { return {"group", "none"}; }

// Over what a token's loss is averaged: a caption, then captions (GRPO); all tokens of the batch (BNPO); the greatest
// length that captions can have (Dr. GRPO).
enum class GrpoAverage { kCaption, kToken, kLength };
constexpr std::array<const char*, 3> names_of(GrpoAverage) { return {"caption", "token", "length"}; }

// preference.cpp
struct GrpoOptions {
  RewardScale scale = RewardScale::kGroup;
  GrpoAverage average = GrpoAverage::kCaption;
  double clip = 0.2, clip_high = 0.2;
  double kl = 0;
  int64_t max_length = 20;

  static constexpr auto options() {
    using O = GrpoOptions;
    return std::tuple(
        option(&O::scale, "scale", "group: rewards by their deviation within a group; none"),
        option(&O::average, "average", "Of tokens: caption (GRPO), token (BNPO) or length (Dr. GRPO)"),
        option(&O::clip, "clip", "How far below 1 a token's ratio of probabilities counts", {0, 1}),
        option(&O::clip_high, "clip_high", "How far above 1 it counts", at_least(0)),
        option(&O::kl, "kl", "Weight of the divergence from the reference", at_least(0)),
        option(&O::max_length, "max_length", "average length: tokens of the longest caption", at_least(1)));
  }
};

// return_task.cpp
struct ReturnOptions {
  std::string image_cycle_run, text_cycle_run;
  CaptionerMethod captioner_method = CaptionerMethod::kSft;
  GeneratorMethod generator_method = GeneratorMethod::kSft;
  LessonSource captioner_source = LessonSource::kOwn, generator_source = LessonSource::kOwn;
  roundtrip::ChoiceOptions image_cycle, text_cycle;
  double sft_temperature = 0;
  DpoOptions dpo;
  double diffusion_dpo_beta = 500;
  GrpoOptions grpo;
  double weight = 1, supervised_weight = 1;

  static constexpr auto options() {
    using O = ReturnOptions;
    return std::tuple(
        option(&O::image_cycle_run, "image_cycle_run", "Run folder whose captions teach; left away: they are collected",
               Scope::kExecution),
        option(&O::text_cycle_run, "text_cycle_run", "Run folder whose pictures teach; left away: they are collected",
               Scope::kExecution),
        option(&O::captioner_method, "captioner_method", "How the captioner learns from candidates"),
        option(&O::generator_method, "generator_method", "How the generator does"),
        option(&O::captioner_source, "captioner_source",
               "own: its captions of pictures; other: the generator's pictures with their texts, for sft; both"),
        option(&O::generator_source, "generator_source",
               "own: its pictures of texts; other: pictures with the captioner's captions, for sft; both"),
        nested(&O::image_cycle, "image_cycle", "image_cycle_"), nested(&O::text_cycle, "text_cycle", "text_cycle_"),
        option(&O::sft_temperature, "sft_temperature",
               "sft: 0: the best candidate; else one drawn by softmax of its advantage / temperature", at_least(0)),
        nested(&O::dpo, "dpo", "dpo_"),
        option(&O::diffusion_dpo_beta, "diffusion_dpo_beta", "Pictures: how close to the reference", more_than(0)),
        nested(&O::grpo, "grpo", "grpo_"), option(&O::weight, "weight", "Of what returned", at_least(0)),
        option(&O::supervised_weight, "supervised_weight", "Of each model's own loss on the clean pairs of dataset",
               at_least(0)));
  }
};

}  // namespace readback::train
