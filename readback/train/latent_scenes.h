// What a latent diffusion model of the small world learns from: scenes as a frozen VAE sees them, and their captions as
// a CLIP text encoder reads them. Computed once, before the first step.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/random.h"
#include "readback/checkpoint/repository.h"
#include "readback/data/emoji_scenes.h"
#include "readback/text/tokenizer.h"
#include "readback/train/options.h"

namespace readback::train {

class LatentScenes {
 public:
  // The scenes that `options` name. The VAE is the `part` of `vae`; a text encoder with so many `positions` reads what
  // `tokenizer` gives. `tokenizer` must outlive this. Errors: CheckpointError, Interrupted.
  LatentScenes(const TaskOptions& options, const Machine& machine, const checkpoint::Repository& vae,
               const std::string& part, const text::Tokenizer& tokenizer, int64_t positions, const Context& context);

  struct Row {
    int64_t scene;
    at::Tensor ids;  // int64 [T]: a caption's, in a phrasing of draw_phrasing() or, by options, a noisy one
  };
  Row draw(Random& random) const;
  // fp32 [B, c, h, w], scaled: drawn from what the VAE makes of `scenes`, int64 [B].
  at::Tensor latents(const at::Tensor& scenes, Random& random) const;
  const at::Tensor& empty() const { return empty_; }  // int64 [T]: the empty caption's ids
  int64_t tokens() const { return empty_.numel(); }   // T

 private:
  data::Scene scene_at(int64_t index) const;
  at::Tensor ids_of(const std::vector<std::string>& texts) const;

  TaskOptions options_;
  const text::Tokenizer& tokenizer_;
  int64_t positions_;
  at::Tensor mean_, deviation_;  // [N, c, h, w], scaled
  at::Tensor ids_;               // int64 [N, 5, T]
  at::Tensor empty_;
};

}  // namespace readback::train
