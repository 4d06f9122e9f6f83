#include "readback/train/preference.h"

#include <ATen/ATen.h>

namespace readback::train {

at::Tensor token_log_probabilities(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor predictions = logits.slice(1, 0, -1).flatten(0, 1).to(at::kFloat);
  return -at::cross_entropy_loss(predictions, labels.slice(1, 1).flatten(), {}, at::Reduction::None, -100)
              .view({labels.size(0), -1});
}

at::Tensor dpo_loss(const Compared& model, const Compared& reference, const Compared& tokens,
                    const DpoOptions& options) {
  const at::Tensor chosen = model.chosen - reference.chosen, rejected = model.rejected - reference.rejected;
  if (options.loss == DpoLoss::kIpo) {
    return (chosen / tokens.chosen - rejected / tokens.rejected - 0.5 / options.beta).square().mean();
  }
  const at::Tensor h = options.beta * (chosen - rejected);
  const double smoothing = options.label_smoothing;
  return -((1 - smoothing) * at::log_sigmoid(h) + smoothing * at::log_sigmoid(-h)).mean();
}

at::Tensor diffusion_dpo_loss(const Compared& model, const Compared& reference, double beta) {
  const at::Tensor h = (model.chosen - reference.chosen) - (model.rejected - reference.rejected);
  return -at::log_sigmoid(-0.5 * beta * h).mean();
}

at::Tensor group_advantages(const at::Tensor& rewards, RewardScale scale) {
  const at::Tensor values = rewards.to(at::kFloat), centred = values - values.mean(1, /*keepdim=*/true);
  if (scale == RewardScale::kNone) return centred;
  return centred / (values.std(1, /*unbiased=*/true, /*keepdim=*/true) + 1e-4);
}

GrpoLoss grpo_loss(const TokenLogProbabilities& tokens, const at::Tensor& advantages, const at::Tensor& learned,
                   const GrpoOptions& options) {
  const at::Tensor ratio = at::exp(tokens.model - tokens.old), weight = advantages.unsqueeze(1);
  const double low = 1 - options.clip, high = 1 + options.clip_high;
  at::Tensor loss = -at::minimum(ratio * weight, ratio.clamp(low, high) * weight);
  const at::Tensor count = learned.sum();
  GrpoLoss result;
  if (tokens.reference.defined()) {
    const at::Tensor behind = tokens.reference - tokens.model;
    const at::Tensor divergence = at::exp(behind) - behind - 1;
    loss = loss + options.kl * divergence;
    result.divergence = (divergence.detach() * learned).sum() / count;
  }
  loss = loss * learned;
  switch (options.average) {
    case GrpoAverage::kCaption:
      result.total = (loss.sum(1) / learned.sum(1)).mean();
      break;
    case GrpoAverage::kToken:
      result.total = loss.sum() / count;
      break;
    case GrpoAverage::kLength:
      result.total = loss.sum() / static_cast<double>(learned.size(0) * options.max_length);
      break;
  }
  const at::Tensor too_low = ratio.lt(low).logical_and(weight.lt(0)),
                   too_high = ratio.gt(high).logical_and(weight.gt(0));
  result.clipped = too_low.logical_or(too_high).logical_and(learned).sum() / count;
  return result;
}

}  // namespace readback::train
