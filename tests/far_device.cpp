#include "far_device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdlib>

namespace readback {

namespace {

constexpr c10::DeviceType kFar = c10::DeviceType::PrivateUse1;
constexpr uintptr_t kDistance = uintptr_t{1} << 60;  // beyond any address that a process has

class FarAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* here = std::calloc(std::max<size_t>(bytes, 1), 1);
    return {reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(here) + kDistance), here, &std::free, {kFar, 0}};
  }
  void copy_data(void*, const void*, size_t) const override { TORCH_CHECK(false, "far memory is copied by tensors"); }
};

c10::Allocator* allocator() {
  static FarAllocator only;
  return &only;
}

// The same elements as a tensor of the CPU.
at::Tensor near(const at::Tensor& x) {
  if (!x.defined() || x.device().type() != kFar) return x;
  void* here = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(x.const_data_ptr()) - kDistance);
  if (x.numel() == 0) return at::empty_strided(x.sizes(), x.strides(), x.options().device(at::kCPU));
  return at::from_blob(here, x.sizes(), x.strides(), x.options().device(at::kCPU).requires_grad(false));
}

at::Tensor far(const at::Tensor& x) { return x.defined() ? x.to(far_device()) : x; }

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  near(to).copy_(near(from));
  return to;
}

// What the tensor held is lost, as nobody who resizes one here needs it.
const at::Tensor& take_size(const at::Tensor& x, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  if (x.sizes() == size) return x;
  const at::Tensor fresh = at::empty(size, x.options());
  x.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  x.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return x;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  return copy_from(from, take_size(to, from.sizes(), {}), false);
}

at::Scalar local_scalar(const at::Tensor& x) { return near(x).item(); }

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups) {
  const std::optional<at::Tensor> b = bias && bias->defined() ? std::optional(near(*bias)) : std::nullopt;
  return far(at::convolution(near(x), near(weight), b, stride, padding, dilation, transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& gradient, const at::Tensor& x,
                                                                    const at::Tensor& weight, at::IntArrayRef stride,
                                                                    at::IntArrayRef padding, at::IntArrayRef dilation,
                                                                    bool transposed, at::IntArrayRef output_padding,
                                                                    int64_t groups, std::array<bool, 3> wanted) {
  const at::IntArrayRef bias(weight.size(0));
  const auto [of_x, of_weight, of_bias] =
      at::convolution_backward(near(gradient), near(x), near(weight), bias, stride, padding, dilation, transposed,
                               output_padding, groups, wanted);
  return {far(of_x), far(of_weight), far(of_bias)};
}

// As CUDA: all tensors of an operation are there, but for single numbers and for indices.
void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string& name = op.schema().name();
  const bool indexes =
      name == "aten::index" || name.starts_with("aten::index_put") || name.starts_with("aten::_index_put");
  const auto check = [&](const at::Tensor& x) {
    TORCH_CHECK(!x.defined() || x.dim() == 0 || x.device().type() == kFar || indexes, name,
                ": expected all tensors on the far device, got one on ", x.device());
  };
  for (const c10::IValue& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList()) {
      for (const at::Tensor& x : value.toTensorVector()) check(x);
    }
  }
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &local_scalar);
  m.impl("resize_", &take_size);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1>);

}  // namespace

c10::Device far_device() { return {kFar, 0}; }

}  // namespace readback
