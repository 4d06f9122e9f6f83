// The layers' arithmetic while gradients are recorded. libtorch's own keeps the input of every convolution and of every
// activation behind a norm; these keep what the gradients that are wanted need: with frozen weights little but the
// norms' inputs. On CPUs, matrices are multiplied by oneDNN also in float32.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <initializer_list>
#include <vector>

namespace readback::nn {

// True when a gradient of one of these would be recorded. Undefined tensors have none.
bool records_gradients(std::initializer_list<at::Tensor> tensors);

// x weightᵀ + bias: [..., in] → [..., out]; bias may be undefined.
at::Tensor differentiable_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// [B, in, H, W] → [B, out, H', W']; bias may be undefined.
at::Tensor differentiable_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                      int64_t stride, int64_t padding);

// As fused_group_norm(), where fuses_group_norm(x).
at::Tensor differentiable_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                                     const at::Tensor& bias, double epsilon, bool silu);

// As fused_attention(), where fuses_attention(q, k, v).
at::Tensor differentiable_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

// The first half of x's last dimension times gelu of the second: [..., 2C] → [..., C].
at::Tensor gated_gelu(const at::Tensor& x);

// Gradient checkpointing (https://arxiv.org/abs/1604.06174): while one of these lives, checkpointed() keeps a block's
// input only, and computes the block again for its gradients. Of this thread.
class GradientCheckpointing {
 public:
  explicit GradientCheckpointing(bool enabled);
  ~GradientCheckpointing();
  GradientCheckpointing(const GradientCheckpointing&) = delete;
  GradientCheckpointing& operator=(const GradientCheckpointing&) = delete;
  static bool is_enabled();

 private:
  bool before_;
};

// block(inputs), all of which must be defined. `block` must give the same whenever it is called, and what else it reads
// must not need gradients, but for parameters.
using Block = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;
at::Tensor checkpointed(const Block& block, const std::vector<at::Tensor>& inputs);

}  // namespace readback::nn
