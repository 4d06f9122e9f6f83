#include "readback/train/anchor.h"

#include <ATen/ATen.h>

#include "readback/train/trained_parameters.h"

namespace readback::train {

namespace {

nn::Weights start_of(const nn::Weights& weights, const std::string& prefix,
                     const std::map<std::string, at::Tensor>& trained) {
  checkpoint::TensorMap tensors;
  for (const auto& [key, tensor] : weights.parameters()) {
    if (is_adapter_key(key)) continue;
    tensors[key] = trained.contains(prefix + key) ? tensor.detach().clone() : tensor;
  }
  const at::Tensor& any = weights.parameters().begin()->second;
  return nn::Weights(std::move(tensors), any.device(), any.scalar_type(), prefix + "start");
}

}  // namespace

StartingModels::StartingModels(const MakeCaptioner& make_captioner, const nn::Weights& captioner,
                               const models::UnetConfig& unet_config, const nn::Weights& unet,
                               const std::map<std::string, at::Tensor>& trained)
    : captioner_weights_(start_of(captioner, kCaptionerPrefix, trained)),
      unet_weights_(start_of(unet, kUnetPrefix, trained)),
      captioner_(make_captioner(captioner_weights_)),
      unet_(unet_config, unet_weights_) {
  for (const auto& [key, tensor] : trained) {
    const bool of_captioner = key.starts_with(kCaptionerPrefix);
    (of_captioner ? captioner_is_trained_ : unet_is_trained_) = true;
    const auto& starts = (of_captioner ? captioner_weights_ : unet_weights_).parameters();
    const auto found = starts.find(key.substr((of_captioner ? kCaptionerPrefix : kUnetPrefix).size()));
    parameters_.emplace_back(tensor, found != starts.end() ? found->second : tensor.detach().clone());
  }
}

at::Tensor StartingModels::half_squared_distance() const {
  at::Tensor sum;
  for (const auto& [tuned, start] : parameters_) {
    const at::Tensor distance = (tuned.to(at::kFloat) - start.to(at::kFloat)).square().sum();
    sum = sum.defined() ? sum + distance : distance;
  }
  return 0.5 * sum;
}

at::Tensor caption_divergence(const at::Tensor& p, const at::Tensor& q, const at::Tensor& labels) {
  const at::Tensor learned = labels.slice(1, 1).flatten().ge(0).nonzero().squeeze(1);
  const auto log_probabilities = [&](const at::Tensor& logits) {
    const at::Tensor rows = logits.slice(1, 0, -1).flatten(0, 1).index_select(0, learned);
    return at::log_softmax(rows.to(at::kFloat), 1);
  };
  const at::Tensor divergence = at::kl_div(log_probabilities(q), log_probabilities(p), at::Reduction::Sum,
                                           /*log_target=*/true);
  return divergence / learned.numel();
}

}  // namespace readback::train
