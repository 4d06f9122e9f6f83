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

}  // namespace

at::Tensor pack_weight(const at::Tensor& weight) {
  static const auto reorder = find("mkldnn::_reorder_linear_weight"), multiply = find("mkldnn::_linear_pointwise");
  const at::ScalarType type = weight.scalar_type();
  const bool known = type == at::kFloat || (type == at::kBFloat16 && cpu_has_bfloat16());
  if (!reorder || !multiply || !known || !weight.device().is_cpu()) return {};
  // From a few dozen rows on oneDNN chooses the layout that also is the best for few and for many.
  constexpr int64_t kRows = 64;
  c10::Stack stack = {weight.contiguous(), kRows};
  reorder->callBoxed(stack);
  return stack.front().toTensor();
}

at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  static const auto multiply = find("mkldnn::_linear_pointwise");
  c10::List<std::optional<at::Scalar>> no_scalars;
  c10::Stack stack = {x,      packed,     bias.defined() ? c10::IValue(bias) : c10::IValue(),
                      "none", no_scalars, c10::IValue("")};
  multiply->callBoxed(stack);
  return stack.front().toTensor();
}

}  // namespace readback::nn
