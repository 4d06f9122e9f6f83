// Latent consistency distillation: wherever on the way from noise to a picture a student is asked, it answers with the
// way's end. Luo et al., https://arxiv.org/abs/2310.04378, algorithm 1.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/generate/noise_schedule.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/train/options.h"

namespace readback::train {

// Three UNets of one noise schedule. The teacher is guided by comparison with the empty text; student and target are
// told the guidance (time_cond_proj_dim). The target is the student's moving average.
struct ConsistencyModels {
  const models::Unet &teacher, &student, &target;
};

// B pictures of c × h × w latents, T tokens, D text width; all but `ddim_steps` where the models are.
struct ConsistencyBatch {
  at::Tensor latents, noise;  // fp32 [B, c, h, w]: clean, and what they are noised with
  at::Tensor ddim_steps;      // int64 [B], on the CPU: which of the teacher's steps, 0 (the last to the picture) …
  at::Tensor guidance;        // fp32 [B], scales
  at::Tensor text;            // [B, T, D]
  at::Tensor empty;           // [1, T, D]: the empty text
};

// How far the student's answer for noised latents is from the target's, one of the teacher's DDIM steps further on;
// the mean over all values. Differentiable with respect to the student alone.
at::Tensor consistency_loss(const ConsistencyModels& models, const generate::NoiseSchedule& schedule,
                            const ConsistencyOptions& options, const ConsistencyBatch& batch);

}  // namespace readback::train
