// Losses of learning from comparisons and from rewards, on log-probabilities and denoising errors that others compute.
// B pictures or prompts, N candidates of each, side by side, S = B · N sequences, T tokens.
// DPO: https://arxiv.org/abs/2305.18290; IPO: https://arxiv.org/abs/2310.12036; GRPO: https://arxiv.org/abs/2402.03300;
// Dr. GRPO: https://arxiv.org/abs/2503.20783; Diffusion-DPO: https://arxiv.org/abs/2311.12908.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/train/return_options.h"

namespace readback::train {

// Log-probabilities of the learned tokens, fp32 [S, T - 1], 0 where a label is -100. logits [S, T, V], labels [S, T].
at::Tensor token_log_probabilities(const at::Tensor& logits, const at::Tensor& labels);

// The same quantity of the better and of the worse candidate, fp32 [B].
struct Compared {
  at::Tensor chosen, rejected;
};

// Of log-probabilities of whole captions, by the model in training and by the reference. `tokens`: of how many learned
// tokens each is the sum. A scalar, the mean over pairs:
// sigmoid: -(1 - s) log σ(h) - s log σ(-h), h = β (d_chosen - d_rejected), d = log π - log π_ref
// ipo:     (d_chosen / n_chosen - d_rejected / n_rejected - 1 / (2 β))²
at::Tensor dpo_loss(const Compared& model, const Compared& reference, const Compared& tokens,
                    const DpoOptions& options);

// Of mean squared denoising errors at the same timestep, noise and text. A scalar, the mean over pairs of -log σ(h),
// h = -β/2 ((e_chosen - e_chosen,ref) - (e_rejected - e_rejected,ref)).
at::Tensor diffusion_dpo_loss(const Compared& model, const Compared& reference, double beta);

// r - mean(r) of each group, by its deviation (with N - 1) plus 1e-4 where the scale is the group's: fp32 [B, N].
at::Tensor group_advantages(const at::Tensor& rewards, RewardScale scale);

// Token log-probabilities of sampled captions, fp32 [S, T - 1], 0 where nothing is learned.
struct TokenLogProbabilities {
  at::Tensor model;
  at::Tensor old;        // of the model that sampled them
  at::Tensor reference;  // may be undefined without a divergence
};

struct GrpoLoss {
  at::Tensor total, divergence;  // scalars; divergence: the mean over learned tokens of k3, without gradients
  at::Tensor clipped;            // share of the learned tokens whose ratio is clipped
};
// -min(ρ A, clamp(ρ, 1 - ε, 1 + ε_high) A) + β (e^(ref - logp) - (ref - logp) - 1) of a token, ρ = e^(logp - old),
// averaged as the options say. advantages: fp32 [S]; learned: bool [S, T - 1].
GrpoLoss grpo_loss(const TokenLogProbabilities& tokens, const at::Tensor& advantages, const at::Tensor& learned,
                   const GrpoOptions& options);

}  // namespace readback::train
