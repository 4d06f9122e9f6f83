#include "readback/train/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "readback/base/error.h"

namespace readback::train {

AdamW::AdamW(std::map<std::string, at::Tensor> parameters, const AdamWOptions& options,
             std::vector<ParameterGroup> groups)
    : options_(options), groups_(std::move(groups)) {
  groups_.push_back({.prefix = "", .weight_decay = options_.weight_decay});
  for (auto& [name, parameter] : parameters) {
    at::Tensor leaf = parameter;
    leaf.requires_grad_(true);
    names_.push_back(name);
    const auto group = std::ranges::find_if(
        groups_, [&key = name](const ParameterGroup& candidate) { return key.starts_with(candidate.prefix); });
    group_.push_back(static_cast<size_t>(group - groups_.begin()));
    parameters_.push_back(leaf);
    masters_.push_back(leaf.scalar_type() == at::kFloat ? leaf.detach() : leaf.detach().to(at::kFloat));
    first_.push_back(at::zeros_like(masters_.back()));
    second_.push_back(at::zeros_like(masters_.back()));
    steps_.push_back(at::zeros({}, masters_.back().options()));
    if (options_.ema_decay > 0) averages_.push_back(masters_.back().clone());
  }
}

void AdamW::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

namespace {

double norm_of(const std::vector<at::Tensor>& gradients) {
  return gradients.empty() ? 0.0 : at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
}

// What one call of the fused update takes.
struct Update {
  std::vector<at::Tensor> masters, gradients, first, second, steps;
};

}  // namespace

double AdamW::step(double learning_rate) {
  at::NoGradGuard no_grad;
  std::vector<Update> updates(groups_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    Update& update = updates[group_[i]];
    update.masters.push_back(masters_[i]);
    // The fused update walks memory in order, so gradients must lie as their parameters do.
    const at::Tensor& gradient = parameters_[i].grad();
    const bool alike = gradient.scalar_type() == at::kFloat && gradient.strides() == masters_[i].strides();
    update.gradients.push_back(alike ? gradient : at::empty_like(masters_[i]).copy_(gradient));
    update.first.push_back(first_[i]);
    update.second.push_back(second_[i]);
    update.steps.push_back(steps_[i]);
  }
  std::vector<at::Tensor> clipped, others;
  for (size_t i = 0; i < updates.size(); ++i) {
    std::vector<at::Tensor>& gradients = groups_[i].clipped ? clipped : others;
    gradients.insert(gradients.end(), updates[i].gradients.begin(), updates[i].gradients.end());
  }
  const double clipped_norm = norm_of(clipped), norm = std::hypot(clipped_norm, norm_of(others));
  if (!std::isfinite(norm)) return norm;
  if (options_.clip_norm > 0 && clipped_norm > options_.clip_norm) {
    at::_foreach_mul_(clipped, options_.clip_norm / (clipped_norm + 1e-6));
  }
  for (size_t i = 0; i < updates.size(); ++i) {
    Update& update = updates[i];
    if (update.masters.empty()) continue;
    const ParameterGroup& group = groups_[i];
    at::_foreach_add_(update.steps, 1);
    at::_fused_adamw_(update.masters, update.gradients, update.first, update.second, /*max_exp_avg_sqs=*/{},
                      update.steps, learning_rate * group.learning_rate, options_.beta1, options_.beta2,
                      group.weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].is_same(masters_[i])) parameters_[i].detach().copy_(masters_[i]);
  }
  if (options_.ema_decay > 0) {
    // The average of few steps must not remember the random start.
    const double count = at::stack(steps_).max().item<double>();
    const double decay = std::min(options_.ema_decay, (1 + count) / (10 + count));
    at::_foreach_lerp_(averages_, masters_, 1 - decay);
  }
  return norm;
}

checkpoint::TensorMap AdamW::averaged() const {
  checkpoint::TensorMap result;
  for (size_t i = 0; i < names_.size(); ++i) {
    result[names_[i]] = (averages_.empty() ? masters_[i] : averages_[i]).contiguous();
  }
  return result;
}

checkpoint::TensorMap AdamW::state() const {
  checkpoint::TensorMap result;
  for (size_t i = 0; i < names_.size(); ++i) {
    result["master." + names_[i]] = masters_[i].contiguous();
    result["first." + names_[i]] = first_[i].contiguous();
    result["second." + names_[i]] = second_[i].contiguous();
    result["steps." + names_[i]] = steps_[i];
    if (!averages_.empty()) result["average." + names_[i]] = averages_[i].contiguous();
  }
  return result;
}

void AdamW::load_state(const checkpoint::TensorMap& state) {
  at::NoGradGuard no_grad;
  const auto copy = [&](const std::string& key, at::Tensor target) {
    const auto found = state.find(key);
    if (found == state.end() || found->second.sizes() != target.sizes()) {
      throw CheckpointError(describe("training state", key + " of the model's shape",
                                     found == state.end() ? "none" : "another shape",
                                     "Start again in an empty folder"));
    }
    target.copy_(found->second);
  };
  for (size_t i = 0; i < names_.size(); ++i) {
    copy("master." + names_[i], masters_[i]);
    copy("first." + names_[i], first_[i]);
    copy("second." + names_[i], second_[i]);
    copy("steps." + names_[i], steps_[i]);
    if (!averages_.empty()) copy("average." + names_[i], averages_[i]);
    if (!parameters_[i].is_same(masters_[i])) parameters_[i].detach().copy_(masters_[i]);
  }
}

double schedule_factor(Schedule schedule, int64_t step, int64_t warmup, int64_t total, double floor) {
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule == Schedule::kConstant) return 1.0;
  const double done = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(total - warmup, 1));
  return floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
}

}  // namespace readback::train
