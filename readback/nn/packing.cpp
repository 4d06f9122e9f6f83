#include "readback/nn/packing.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "readback/base/device.h"

namespace readback::nn {

namespace {

// libtorch's own names for what its compiler uses on frozen models; they are not in the C++ headers.
std::optional<c10::OperatorHandle> find(const char* name) {
  if (!at::globalContext().hasMKLDNN()) return {};
  return c10::Dispatcher::singleton().findSchema({name, ""});
}

const std::optional<c10::OperatorHandle>& linear_operator() {
  static const auto found = find("mkldnn::_linear_pointwise");
  return found;
}

bool has_layout(const at::Tensor& weight) {
  const at::ScalarType type = weight.scalar_type();
  return weight.device().is_cpu() && (type == at::kFloat || (type == at::kBFloat16 && cpu_has_bfloat16()));
}

c10::IValue optional(const at::Tensor& tensor) { return tensor.defined() ? c10::IValue(tensor) : c10::IValue(); }

}  // namespace

at::Tensor pack_weight(const at::Tensor& weight) {
  static const auto reorder = find("mkldnn::_reorder_linear_weight");
  if (!reorder || !linear_operator() || !has_layout(weight)) return {};
  // From a few dozen rows on oneDNN chooses the layout that also is the best for few and for many.
  constexpr int64_t kRows = 64;
  c10::Stack stack = {weight.contiguous(), kRows};
  reorder->callBoxed(stack);
  return stack.front().toTensor();
}

at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  c10::List<std::optional<at::Scalar>> no_scalars;
  c10::Stack stack = {x, weight, optional(bias), "none", no_scalars, c10::IValue("")};
  linear_operator()->callBoxed(stack);
  return stack.front().toTensor();
}

at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  return onednn_linear(x, packed, bias);
}

bool multiplies_by_onednn(const at::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && linear_operator().has_value();
}

at::Tensor pack_convolution(const at::Tensor& weight, int64_t stride, int64_t padding) {
  static const auto reorder = find("mkldnn::_reorder_convolution_weight"),
                    convolve = find("mkldnn::_convolution_pointwise");
  const bool suits = weight.size(2) == 3 && weight.size(3) == 3 && stride == 1 && padding == 1;
  if (!reorder || !convolve || !suits || !has_layout(weight)) return {};
  // The order that oneDNN chooses for maps of this size is as fast as its own choice on all larger ones.
  const std::vector<int64_t> one = {1, 1}, map = {8, weight.size(1), 8, 8};
  c10::Stack stack = {weight, one, one, one, int64_t{1}, map};
  reorder->callBoxed(stack);
  return stack.front().toTensor();
}

at::Tensor packed_convolution(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  static const auto convolve = find("mkldnn::_convolution_pointwise");
  const std::vector<int64_t> one = {1, 1};
  c10::List<std::optional<at::Scalar>> no_scalars;
  c10::Stack stack = {x, packed, optional(bias), one, one, one, int64_t{1}, "none", no_scalars, c10::IValue("")};
  convolve->callBoxed(stack);
  return stack.front().toTensor();
}

}  // namespace readback::nn
