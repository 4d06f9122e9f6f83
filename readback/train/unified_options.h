// What unified fine-tuning is asked to do; each struct names the file where its options take effect. T-I-T is the text
// cycle (text → image → text), I-T-I the image cycle.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/options.h"
#include "readback/caption/decoding_options.h"
#include "readback/data/dataset.h"
#include "readback/train/return_options.h"

namespace readback::train {

// Query, key and value projections of the cross-attention by which a model looks at what it is given; all that stands
// between pictures and language (trained_parameters.cpp says what that is in each model); or everything.
// kLora…: the adapters beside those layers, kLoraAll beside every linear layer.
enum class Selection {
  kNone,
  kAll,
  kXattnQ,
  kXattnKv,
  kXattnQkv,
  kBridge,
  kLoraAll,
  kLoraXattnQ,
  kLoraXattnKv,
  kLoraXattnQkv,
  kLoraBridge,
};
constexpr std::array<const char*, 11> names_of(Selection) {
  return {"none",     "all",          "xattn_q",       "xattn_kv",       "xattn_qkv",  "bridge",
          "lora:all", "lora:xattn_q", "lora:xattn_kv", "lora:xattn_qkv", "lora:bridge"};
}

// trained_parameters.cpp
struct LoraOptions {
  int64_t rank = 8;
  double alpha = 0;
  uint64_t seed = 0;

  static constexpr auto options() {
    using O = LoraOptions;
    return std::tuple(option(&O::rank, "rank", "Of adapters", at_least(1)),
                      option(&O::alpha, "alpha", "What adapters give counts α / rank times; 0: once", at_least(0)),
                      option(&O::seed, "seed", "Of their initial values", Scope::kCall));
  }
};

// model_pair.cpp
struct ModelPairOptions {
  std::string captioner, generator;
  Selection train_captioner = Selection::kXattnQ, train_generator = Selection::kXattnQ;
  LoraOptions lora;
  std::optional<double> label_smoothing;
  std::string vocabulary_map;
  double minimum_coverage = 0.1;

  static constexpr auto options() {
    using O = ModelPairOptions;
    return std::tuple(
        option(&O::captioner, "captioner", "BLIP, BLIP-2, IDEFICS or SmolVLM repository to start from"),
        option(&O::generator, "generator", "Stable Diffusion repository to start from"),
        option(&O::train_captioner, "train_captioner", "Which parameters of the captioner learn; lora: adapters"),
        option(&O::train_generator, "train_generator", "Which parameters of the UNet learn; lora: adapters"),
        nested(&O::lora, "lora", "lora_"),
        option(&O::label_smoothing, "label_smoothing",
               "Of captions; left away: the captioner's configuration, for objective paper 0.1", {0, 1}),
        option(&O::vocabulary_map, "vocabulary_map",
               "The captioner's token for each of the generator's (reindex.pth); else made by rule"),
        option(&O::minimum_coverage, "minimum_coverage", "Share of the captioner's tokens that must have one", {0, 1}));
  }
};

enum class Captions { kAny, kFirst };
constexpr std::array<const char*, 2> names_of(Captions) { return {"any", "first"}; }

// unified_samples.cpp
struct SampleOptions {
  std::string dataset;
  std::string split = "train";
  int64_t first = 0, count = 0;
  Captions captions = Captions::kAny;
  int64_t image_size = 32;

  static constexpr auto options() {
    using O = SampleOptions;
    return std::tuple(option(&O::dataset, "dataset", data::kDatasetSpecs),
                      option(&O::split, "split", "emoji-scenes: train, validation, test or novel-pairs"),
                      option(&O::first, "first_sample", "How many are passed over", at_least(0)),
                      option(&O::count, "samples", "How many are seen; 0: all from the first on", at_least(0)),
                      option(&O::captions, "captions", "Which of a sample's captions: any by chance, or its first"),
                      option(&O::image_size, "image_size", "emoji-scenes: side in pixels", at_least(1)));
  }
};

// Changes of the captioner's pictures (image/augment.h).
enum class Augmentation { kNone, kBlip };
constexpr std::array<const char*, 2> names_of(Augmentation) { return {"none", "blip"}; }

// unified_batches.cpp
struct UnifiedBatchOptions {
  SampleOptions samples;
  int64_t batch_size = 8;
  int64_t draws = 1;
  int64_t resolution = 0;
  double unconditional = 0.0;
  double degradation = 0.0;
  Augmentation augmentation = Augmentation::kNone;
  double cache_gigabytes = 2;
  uint64_t seed = 0;

  static constexpr auto options() {
    using O = UnifiedBatchOptions;
    return std::tuple(
        nested(&O::samples, "samples"), option(&O::batch_size, "batch_size", "Rows in each process", at_least(1)),
        option(&O::draws, "draws", "I-T-I: noise draws (t, ε) for each text", at_least(1)),
        option(&O::resolution, "resolution", "Side of the generator's pictures; 0: as it was trained", at_least(0)),
        option(&O::unconditional, "unconditional", "T-I-T: share of empty captions, for guidance", {0, 1}),
        option(&O::degradation, "degradation", "I-T-I: share of pictures with noise or blur", {0, 1}),
        option(&O::augmentation, "augment",
               "I-T-I: blip: BLIP's random crop, flip and RandAugment(2, 5). Flips make \"left of\" wrong"),
        option(&O::cache_gigabytes, "cache_gigabytes", "Memory for latents, image features and text states",
               at_least(0), Scope::kExecution),
        option(&O::seed, "seed", "Of everything that is drawn"));
  }
};

enum class SoftTokenVariant {
  kProbabilities,  // softmax over the captioner's vocabulary, then gathered into the generator's: sums to anything
  kLogits,         // gathered first, then softmax over the generator's vocabulary: sums to one
};
constexpr std::array<const char*, 2> names_of(SoftTokenVariant) { return {"probabilities", "logits"}; }

// draft.cpp
struct DraftOptions {
  int64_t steps = 10, gradient_steps = 1;
  double guidance = 1.0;

  static constexpr auto options() {
    using O = DraftOptions;
    return std::tuple(option(&O::steps, "steps", "DDIM steps of a draft", at_least(1)),
                      option(&O::gradient_steps, "gradient_steps", "Its last steps that carry gradients", at_least(1)),
                      option(&O::guidance, "guidance", "Classifier-free guidance of a draft; 1: none"));
  }
};

// unified_objective.cpp, and anchor.cpp for what it computes
struct AnchorOptions {
  // Of the distance from what the starting model says: in the image cycle the Kullback-Leibler divergence of caption
  // tokens, in the text cycle the mean squared difference of what the UNets predict, which for Gaussians is that
  // divergence up to a factor; only of models that are trained.
  double kl = 0;
  double l2 = 0;  // of ½ ‖θ - θ_start‖², summed over all trained parameters

  static constexpr auto options() {
    using O = AnchorOptions;
    return std::tuple(option(&O::kl, "kl", "Weight of the divergence from what the starting models say", at_least(0)),
                      option(&O::l2, "l2", "Weight of half the squared distance from their parameters", at_least(0)));
  }
};

// What advantages are divided by. Differences of denoising errors are of the order of a hundredth and other ones for
// each generator and resolution; divided by their deviation over the batch, a weight means the same for all, also with
// other rewards in the sum. One divisor for the batch, not one for each image, which would give images whose captions
// are all alike as much to say as those where the choice matters.
enum class AdvantageScale { kBatch, kNone };
constexpr std::array<const char*, 2> names_of(AdvantageScale) { return {"batch", "none"}; }

// rollouts.cpp, and unified_objective.cpp for the weight
struct PolicyOptions {
  double weight = 0;
  int64_t samples = 4;  // N
  int64_t draws = 1;    // D, the same for all captions of an image
  int64_t max_new_tokens = 16;
  AdvantageScale scale = AdvantageScale::kBatch;
  double clip_weight = 0;
  std::string clip;

  static constexpr auto options() {
    using O = PolicyOptions;
    return std::tuple(
        option(&O::weight, "weight", "I-T-I: of the policy gradient on sampled captions; 0: none", at_least(0)),
        option(&O::samples, "samples", "Captions sampled for each image", at_least(2)),
        option(&O::draws, "draws", "Noise draws that an image's captions are compared by", at_least(1)),
        option(&O::max_new_tokens, "max_new_tokens", "Tokens of a sampled caption", at_least(1)),
        option(&O::scale, "scale", "batch: advantages by their deviation in the batch; none"),
        option(&O::clip_weight, "clip_weight", "Weight of CLIP's cosine of image and caption in the reward"),
        option(&O::clip, "clip", "CLIP repository of that cosine"));
  }
};

enum class Objective {
  // x̂_0 estimated from z_t, decoded, resized as the captioner's pictures are, normalised; soft tokens are exactly the
  // caption's, end and padding behind them as in generation.
  kUnified,
  // The public code's arithmetic: its scheduler's step from timestep t to t - 1 is given the clean latent z where z_t
  // belongs, and the previous sample (with its noise) is decoded and read without normalisation, resized without
  // antialiasing; soft tokens go on to the last logit, which follows the end token, and are not padded. It also clips
  // the gradients of the generator only (ParameterGroup::clipped) and smooths labels by 0.1 (BlipTextConfig). The
  // dropout of its captioner is left out.
  kPaper,
};
constexpr std::array<const char*, 2> names_of(Objective) { return {"unified", "paper"}; }

enum class Reading {
  kEstimate,  // of text cycle: the clean picture estimated from z_t in one step
  kDraft,     // a picture drawn from noise (draft.h)
};
constexpr std::array<const char*, 2> names_of(Reading) { return {"estimate", "draft"}; }

struct TimestepRange {
  int64_t first = 0, last = 999;  // both included

  static constexpr auto options() {
    using O = TimestepRange;
    return std::tuple(option(&O::first, "first", "T-I-T: the least timestep whose estimate is read", at_least(0)),
                      option(&O::last, "last", "T-I-T: the last timestep whose estimate is read", at_least(0)));
  }
};

// unified_objective.cpp
struct UnifiedOptions {
  Objective objective = Objective::kUnified;
  SoftTokenVariant soft_tokens = SoftTokenVariant::kProbabilities;
  double temperature = 1.0;
  double lm_weight = 1.0;         // 0: L_diff alone is computed
  double diffusion_weight = 1.0;  // 0: L_lm alone is computed
  double snr_gamma = 0.0;
  Reading reading = Reading::kEstimate;
  // Which estimates are read, and how much they count, since at high noise they say little. What is not read counts as
  // zero in the mean.
  TimestepRange read_timesteps;
  double read_snr_gamma = 0.0;
  DraftOptions draft;
  AnchorOptions anchor;
  PolicyOptions policy;

  static constexpr auto options() {
    using O = UnifiedOptions;
    return std::tuple(
        option(&O::objective, "objective", "unified, or paper: the public code's arithmetic"),
        option(&O::soft_tokens, "soft_tokens", "probabilities: softmax, then gather; logits: gather, softmax"),
        option(&O::temperature, "temperature", "Of soft tokens", more_than(0)),
        option(&O::lm_weight, "lm_weight", "T-I-T: weight of reading the estimate", at_least(0)),
        option(&O::diffusion_weight, "diffusion_weight", "I-T-I: weight λ of the soft text's loss", at_least(0)),
        option(&O::snr_gamma, "snr_gamma",
               "Min-SNR weighting of diffusion losses (https://arxiv.org/abs/2303.09556); 0: none", at_least(0)),
        option(&O::reading, "reading", "T-I-T: read one-step estimates, or draft: pictures drawn from noise"),
        nested(&O::read_timesteps, "read_timesteps", "read_"),
        option(&O::read_snr_gamma, "read_snr_gamma", "T-I-T: weight min(SNR, γ) / γ of reading; 0: none", at_least(0)),
        nested(&O::draft, "draft", "draft_"), nested(&O::anchor, "anchor", "anchor_"),
        nested(&O::policy, "policy", "policy_"));
  }
};

// Captions for samples that are not trained on, and what they are worth: the sum of metrics, each its mean over the
// samples. The paper's choice is CIDEr + BLEU-4. caption_evaluation.cpp
struct EvaluationOptions {
  std::string dataset;
  std::string split = "validation";
  int64_t samples = 200;
  int64_t image_size = 32;
  std::vector<std::string> metrics = {"cider", "bleu-4"};
  caption::DecodingOptions decoding;

  static constexpr auto options() {
    using O = EvaluationOptions;
    return std::tuple(
        option(&O::dataset, "dataset", "Data set that is not trained on; left away: emoji-scenes, when these are"),
        option(&O::split, "split", "emoji-scenes: of the evaluation"),
        option(&O::samples, "samples", "How many; 0: all", at_least(0)),
        option(&O::image_size, "image_size", "emoji-scenes: side in pixels", at_least(1), Scope::kCall),
        option(&O::metrics, "metrics", "Of captions by references or truth; their sum makes the best checkpoint"),
        nested(&O::decoding, "decoding"));
  }
};

enum class Losses {
  kLm,         // the captioner alone, by L_lm
  kDiffusion,  // the generator alone, by L_diff
  kUnified,    // both, and the reconstruction
  kReturn,     // both, from candidates that came back
};
constexpr std::array<const char*, 4> names_of(Losses) { return {"lm", "diffusion", "unified", "return"}; }

enum class Order {
  kAlternate,  // text cycle and image cycle in turn
  kJoint,      // both on the same samples in each batch
};
constexpr std::array<const char*, 2> names_of(Order) { return {"alternate", "joint"}; }

// unified_task.cpp
struct UnifiedTaskOptions {
  ModelPairOptions models;
  Losses losses = Losses::kUnified;
  Order order = Order::kAlternate;
  UnifiedOptions objective;
  ReturnOptions returned;
  UnifiedBatchOptions batches;
  EvaluationOptions evaluation;
  bool gradient_checkpointing = false;  // nn::GradientCheckpointing

  static constexpr auto options() {
    using O = UnifiedTaskOptions;
    return std::tuple(
        nested(&O::models, "models"),
        option(&O::losses, "losses", "lm, diffusion (each model alone), unified, or return: from what came back"),
        option(&O::order, "order", "T-I-T and I-T-I in turn, or both in each batch"),
        nested(&O::objective, "objective"), nested(&O::returned, "returned"), nested(&O::batches, "batches"),
        nested(&O::evaluation, "evaluation", "evaluate_"),
        option(&O::gradient_checkpointing, "gradient_checkpointing",
               "Keep each block's input only and compute the block again for its gradients: less memory, more time"));
  }
};

}  // namespace readback::train
