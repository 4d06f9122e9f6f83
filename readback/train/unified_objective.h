// The unified objective: captioner and generator teach each other by reconstruction.
// Paper: https://arxiv.org/abs/2212.12249, section 4; its public code: https://github.com/hangligit/DalleFlamingo.
// B batch, T tokens, c × h × w latents, S side of the captioner's pictures, D width of the text encoder.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "readback/generate/noise_schedule.h"
#include "readback/models/clip/clip.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"
#include "readback/text/framing.h"
#include "readback/train/anchor.h"
#include "readback/train/caption_batch.h"
#include "readback/train/draft.h"
#include "readback/train/policy_gradient.h"
#include "readback/train/soft_tokens.h"
#include "readback/train/unified_options.h"

namespace readback::train {

enum class Part { kCaptioner, kTextEncoder, kUnet };

// What the objective computes with. The models live elsewhere; which parameters are trained is decided there, too.
struct UnifiedModels {
  const caption::TokenCaptioner& captioner;
  const models::ClipTextModel& text_encoder;
  const models::Unet& unet;
  const models::Vae& vae;
  generate::NoiseSchedule schedule;
  bool clip_sample = false;    // kPaper: the scheduler configuration's
  nlohmann::json scheduler;    // kDraft: the scheduler configuration as the generator's pipeline takes it
  double label_smoothing = 0;  // of captions
  VocabularyBridge bridge;
  text::Framing framing;  // of what the generator reads
  // Stable Diffusion XL's second reader; null: there is one, and soft texts can be read.
  const models::ClipTextModelWithProjection* second_text_encoder = nullptr;
  text::Framing second_framing;
  bool zeros_for_empty_text = false;  // as Stable Diffusion XL's pipeline may read it
  double guidance = 0;                // of which the UNet is told, where it is
  // Called when the others are at work for a while: the part's frozen weights may leave memory.
  std::function<void(Part)> release = [](Part) {};
};

// How much of a batch's losses is this process's; the rest is other processes'.
struct Share {
  double rows = 1, tokens = 1;  // tokens: of those that are learned
};

// T → I → T
struct TextCycleBatch {
  at::Tensor latents;           // [B, c, h, w], scaled
  at::Tensor noise;             // as latents
  at::Tensor timesteps;         // int64 [B], on the CPU
  models::UnetConditions text;  // the captions, as UnifiedBatches::conditions() makes them; or text_states_of() alone
  CaptionBatch captions;
  at::Tensor step_noise;  // kPaper: what the scheduler's step adds, as latents
  DraftBatch draft;       // kDraft
  Share share = {};
};

// I → T → I
struct ImageCycleBatch {
  caption::Pictures images;  // what the captioner's patches() makes of the pictures
  CaptionBatch captions;
  at::Tensor latents;           // [B, c, h, w], scaled
  at::Tensor noise, timesteps;  // [n · B, …], int64 [n · B] on the CPU: n draws for each text, side by side
  at::Tensor pixels;            // [N, 3, S, S], normalised, where the vision model is trained: what `images` came from
  PolicyBatch policy;           // with a policy gradient
  Share share = {};
};

struct UnifiedLoss {
  // Scalars; a part that was not computed is undefined. anchor: the divergence without its weight.
  at::Tensor total, diffusion, lm, anchor, policy;
};

// What `captioner` makes of pixels that are those of `images`.
caption::Pictures look_at(const caption::TokenCaptioner& captioner, const at::Tensor& pixels,
                          const caption::Pictures& images);

// The generator's token ids, int64 [B, T] → [B, T, D], without gradients: the text encoder is frozen.
at::Tensor text_states_of(const UnifiedModels& models, const at::Tensor& ids);

class UnifiedObjective {
 public:
  // `start` is needed for an anchor, and must outlive this. Errors: UsageError.
  UnifiedObjective(UnifiedModels models, UnifiedOptions options, const StartingModels* start = nullptr);
  const UnifiedModels& models() const { return models_; }

  UnifiedLoss text_cycle(const TextCycleBatch& batch) const;
  UnifiedLoss image_cycle(const ImageCycleBatch& batch) const;

  // The captioner's logits [B, L + 1, V] of captions as the generator reads them: [B, T', D].
  at::Tensor soft_text(const at::Tensor& logits, const at::Tensor& labels) const;

 private:
  at::Tensor predict(const models::Unet& unet, const at::Tensor& noisy, const at::Tensor& timesteps,
                     const models::UnetConditions& conditions) const;
  at::Tensor diffusion_loss(const at::Tensor& predicted, const at::Tensor& latents, const at::Tensor& noise,
                            const at::Tensor& timesteps) const;
  at::Tensor reading_loss(const TextCycleBatch& batch, const at::Tensor& noisy, const at::Tensor& predicted) const;
  at::Tensor read(const at::Tensor& latents, const CaptionBatch& captions, const at::Tensor& weights) const;
  at::Tensor start_logits(const ImageCycleBatch& batch) const;
  void release_after_gradient(const at::Tensor& x, Part part) const;
  at::Tensor as_pixels(const at::Tensor& latents) const;
  at::Tensor previous_sample(const at::Tensor& predicted, const at::Tensor& timesteps, const at::Tensor& sample,
                             const at::Tensor& noise) const;

  UnifiedModels models_;
  UnifiedOptions options_;
  const StartingModels* start_;
  SoftTokens soft_tokens_;
};

}  // namespace readback::train
