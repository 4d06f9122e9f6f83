#include "readback/train/gradients.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace readback::train {

namespace {

// A figure's sum, and over how many batches.
struct Sum {
  double value = 0;
  int64_t batches = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Sum, value, batches)

using Sums = std::vector<std::pair<std::string, Sum>>;

Sum& find(Sums& sums, const std::string& name) {
  const auto known = std::ranges::find(sums, name, [](const auto& entry) { return entry.first; });
  return known != sums.end() ? known->second : sums.emplace_back(name, Sum{}).second;
}

// Ranks add up: each has its share of a batch's metrics. One may lack a figure that others have.
Sums sum_figures(const Sums& own, const Ranks& ranks) {
  Sums all;
  std::string bytes;
  nlohmann::json::to_cbor(own, bytes);  // which has all numbers, also those that are not finite
  for (const std::string& part : ranks.gather(bytes)) {
    for (const auto& [name, sum] : nlohmann::json::from_cbor(part).get<Sums>()) {
      Sum& total = find(all, name);
      total.value += sum.value;
      total.batches = std::max(total.batches, sum.batches);
    }
  }
  return all;
}

// One exchange for all: the loss, which parameters have a gradient, and the gradients. Returns the loss.
double sum_gradients(const std::map<std::string, at::Tensor>& parameters, double loss, const Ranks& ranks) {
  c10::NoGradGuard no_grad;
  std::vector<float> head = {static_cast<float>(loss)};
  std::vector<at::Tensor> parts = {at::Tensor()};
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor& gradient = parameter.grad();
    head.push_back(gradient.defined() ? 1 : 0);
    parts.push_back(gradient.defined() ? gradient.to(at::kFloat).flatten()
                                       : at::zeros({parameter.numel()}, parameter.options().dtype(at::kFloat)));
  }
  parts[0] = at::tensor(head).to(parts.back().device());
  const at::Tensor all = at::cat(parts);
  ranks.sum(all);

  const auto first = static_cast<int64_t>(head.size());
  const at::Tensor sums = all.narrow(0, 0, first).cpu();
  int64_t index = 0, offset = first;
  for (const auto& [name, parameter] : parameters) {
    if (sums[++index].item<float>() > 0) {
      parameter.mutable_grad() = all.narrow(0, offset, parameter.numel()).view(parameter.sizes());
    }
    offset += parameter.numel();
  }
  return sums[0].item<double>();
}

}  // namespace

Gathered gather_gradients(Task& task, int64_t step, const GradientOptions& options, const Ranks& ranks) {
  double loss = 0;
  Sums sums;
  for (int64_t i = 0; i < options.accumulation; ++i) {
    Metrics metrics;
    const at::Tensor part = task.loss(step * options.accumulation + i, metrics) / options.accumulation;
    if (part.requires_grad()) part.backward();  // a direction may have nothing to teach the models that are trained
    loss += part.item<double>();
    for (const auto& [name, value] : metrics) {
      Sum& sum = find(sums, name);
      sum.value += value;
      ++sum.batches;
    }
  }
  if (ranks.size() > 1) {
    loss = sum_gradients(task.parameters(), loss, ranks);
    if (options.metrics) sums = sum_figures(sums, ranks);
  }
  Gathered result{loss, {}};
  for (const auto& [name, sum] : sums) {
    result.metrics.emplace_back(name, sum.value / static_cast<double>(sum.batches));
  }
  return result;
}

}  // namespace readback::train
