#include "readback/nn/differentiable.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

#include "readback/nn/fused_attention.h"
#include "readback/nn/fused_norm.h"
#include "readback/nn/packing.h"

namespace readback::nn {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool records_gradients(std::initializer_list<at::Tensor> tensors) {
  return c10::GradMode::is_enabled() && std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& x) {
           return x.defined() && x.requires_grad();
         });
}

namespace {

// As Function::apply() takes a tensor that may be undefined.
std::optional<at::Tensor> optional(const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; }

// `x` where it will be needed, else nothing.
at::Tensor kept(const at::Tensor& x, bool needed) { return needed ? x : at::Tensor(); }

// left · rightᵀ: [..., n] and [m, n] → [..., m]
at::Tensor product(const at::Tensor& left, const at::Tensor& right, const at::Tensor& bias = {}) {
  return multiplies_by_onednn(left) ? onednn_linear(left, right, bias) : at::linear(left, right, bias);
}

struct LinearFunction : Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({kept(x, weight.requires_grad()), kept(weight, x.requires_grad())});
    context->saved_data["bias"] = bias && bias->requires_grad();
    return product(x, weight, bias.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &gradient = gradients[0], &x = saved[0], &weight = saved[1];
    variable_list result(3);
    if (weight.defined()) result[0] = product(gradient, weight.t());
    const at::Tensor rows = gradient.reshape({-1, gradient.size(-1)});  // [N, out]
    if (x.defined()) result[1] = product(rows.t(), x.reshape({-1, x.size(-1)}).t());
    if (context->saved_data["bias"].toBool()) result[2] = rows.sum(0);
    return result;
  }
};

// A convolution as one product of matrices reads its kernels once and where they lie; libtorch's brings them into
// oneDNN's order first, which on the small maps in the middle of a U-Net takes three times as long as the arithmetic.
// Above a quarter as many places as kernels, gathering the places costs more than that.
bool is_matrix_product(at::IntArrayRef places, const at::Tensor& weight) {
  return weight.device().is_cpu() && weight.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         4 * places[0] * places[2] * places[3] <= weight.size(0);
}

// [out, in, K, K], channels-last → [out, K · K · in], a view
at::Tensor as_matrix(const at::Tensor& weight) { return weight.permute({0, 2, 3, 1}).flatten(1); }

// Windows of padded maps [B, H, W, C] for the places of an output [B, out, H', W']: [B, H', W', K, K · C], a view.
at::Tensor windows(const at::Tensor& maps, at::IntArrayRef places, int64_t kernel, int64_t stride) {
  const int64_t row = maps.stride(1), column = maps.stride(2);
  return maps.as_strided({places[0], places[2], places[3], kernel, kernel * maps.size(3)},
                         {maps.stride(0), stride * row, stride * column, row, 1});
}

at::Tensor convolution_by_matrices(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                   at::IntArrayRef places, int64_t stride, int64_t padding) {
  const at::Tensor maps =
      at::constant_pad_nd(x.permute({0, 2, 3, 1}), {0, 0, padding, padding, padding, padding}).contiguous();
  const at::Tensor rows = windows(maps, places, weight.size(2), stride).flatten(3).flatten(0, 2);  // [N, K · K · C]
  // The kernels on the left, for oneDNN rearranges what is on the right before it multiplies.
  at::Tensor out = product(as_matrix(weight), rows);  // [out, N]
  if (bias.defined()) out.add_(bias.unsqueeze(1));
  // A function's own tensor: autograd refuses to change views of one in place.
  return out.unflatten(1, {places[0], places[2], places[3]}).transpose(0, 1).clone(at::MemoryFormat::ChannelsLast);
}

// The gradient of an input of `sizes`.
at::Tensor input_gradient_by_matrices(const at::Tensor& gradient, const at::Tensor& weight, at::IntArrayRef sizes,
                                      int64_t stride, int64_t padding) {
  const int64_t kernel = weight.size(2), channels = sizes[1], height = sizes[2], width = sizes[3];
  const at::Tensor rows = product(gradient.permute({0, 2, 3, 1}), as_matrix(weight).t());  // [B, H', W', K · K · C]
  const at::Tensor maps =
      at::zeros({sizes[0], height + 2 * padding, width + 2 * padding, channels}, gradient.options());
  const at::Tensor into = windows(maps, gradient.sizes(), kernel, stride), from = rows.unflatten(3, {kernel, -1});
  for (int64_t i = 0; i < kernel; ++i) {
    for (int64_t j = 0; j < kernel; ++j) {  // one place of the window at a time: windows overlap
      const auto place = [&](const at::Tensor& all) { return all.select(3, i).narrow(3, j * channels, channels); };
      place(into).add_(place(from));
    }
  }
  return maps.narrow(1, padding, height).narrow(2, padding, width).permute({0, 3, 1, 2});
}

struct ConvolutionFunction : Function<ConvolutionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t stride, int64_t padding) {
    context->save_for_backward({kept(x, weight.requires_grad()), weight});
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["wanted"] =
        std::vector<bool>{x.requires_grad(), weight.requires_grad(), bias && bias->requires_grad()};
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    const auto places = [&](int64_t side) { return (side + 2 * padding - weight.size(2)) / stride + 1; };
    const std::vector<int64_t> output = {x.size(0), weight.size(0), places(x.size(2)), places(x.size(3))};
    return is_matrix_product(output, weight)
               ? convolution_by_matrices(x, weight, bias.value_or(at::Tensor()), output, stride, padding)
               : at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &gradient = gradients[0], &weight = saved[1];
    const auto wanted = context->saved_data["wanted"].toBoolList();
    const int64_t stride = context->saved_data["stride"].toInt(), padding = context->saved_data["padding"].toInt();
    const std::vector<int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const bool by_matrices = wanted[0] && is_matrix_product(gradient.sizes(), weight);
    // Without a gradient of the weight only the input's shape is read.
    const at::Tensor x =
        saved[0].defined() ? saved[0] : at::empty(sizes, weight.options(), at::MemoryFormat::ChannelsLast);
    const int64_t channels = weight.size(0);
    auto [of_x, of_weight, of_bias] = at::convolution_backward(
        gradient, x, weight, at::IntArrayRef(channels), {stride, stride}, {padding, padding}, {1, 1},
        /*transposed=*/false, {0, 0}, /*groups=*/1, {wanted[0] && !by_matrices, wanted[1], wanted[2]});
    if (by_matrices) of_x = input_gradient_by_matrices(gradient, weight, sizes, stride, padding);
    return {of_x, of_weight, of_bias, {}, {}};
  }
};

struct GroupNormFunction : Function<GroupNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, int64_t groups, double epsilon, bool silu) {
    NormMoments moments;
    const at::Tensor out = fused_group_norm(x, groups, weight, bias, epsilon, silu, &moments);
    context->save_for_backward({x, weight, bias, moments.mean, moments.inverse});
    context->saved_data["silu"] = silu;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const NormGradients result = fused_group_norm_backward(gradients[0], saved[0], saved[1], saved[2],
                                                           {saved[3], saved[4]}, context->saved_data["silu"].toBool());
    return {result.x, result.weight, result.bias, {}, {}, {}};
  }
};

struct AttentionFunction : Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            double scale) {
    context->save_for_backward({q, k, v});
    context->saved_data["scale"] = scale;
    return fused_attention(q, k, v, scale);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto [of_q, of_k, of_v] =
        fused_attention_backward(gradients[0], saved[0], saved[1], saved[2], context->saved_data["scale"].toDouble(),
                                 {saved[0].requires_grad(), saved[1].requires_grad(), saved[2].requires_grad()});
    return {of_q, of_k, of_v, {}};
  }
};

struct GatedGeluFunction : Function<GatedGeluFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    const std::vector<at::Tensor> halves = x.chunk(2, -1);
    return halves[0] * at::gelu(halves[1]);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const std::vector<at::Tensor> halves = context->get_saved_variables()[0].chunk(2, -1);
    return {at::cat({gradients[0] * at::gelu(halves[1]), at::gelu_backward(gradients[0] * halves[0], halves[1])}, -1)};
  }
};

thread_local bool checkpointing = false;

struct CheckpointFunction : Function<CheckpointFunction> {
  static at::Tensor forward(AutogradContext* context, const Block& block, const at::TensorList& inputs) {
    context->save_for_backward(inputs.vec());
    std::vector<bool> wanted;
    for (const at::Tensor& input : inputs) wanted.push_back(input.requires_grad());
    context->saved_data["wanted"] = wanted;
    context->saved_data["block"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(block));
    return block(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto holder = context->saved_data["block"].toCapsule();
    const auto wanted = context->saved_data["wanted"].toBoolList();
    std::vector<at::Tensor> inputs = context->get_saved_variables();
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[i].detach().requires_grad_(wanted[i]);
    at::Tensor output;
    {
      at::AutoGradMode with_gradients(true);
      GradientCheckpointing plain(false);
      output = static_cast<const Holder*>(holder.get())->block(inputs);
    }
    torch::autograd::backward({output}, {gradients[0]});  // parameters gather theirs directly
    variable_list result = {at::Tensor()};                // none of the block
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    return result;
  }

 private:
  struct Holder : torch::CustomClassHolder {
    explicit Holder(Block block) : block(std::move(block)) {}
    Block block;
  };
};

}  // namespace

at::Tensor differentiable_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return LinearFunction::apply(x, weight, optional(bias));
}

at::Tensor differentiable_convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                      int64_t stride, int64_t padding) {
  return ConvolutionFunction::apply(x, weight, optional(bias), stride, padding);
}

at::Tensor differentiable_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                                     const at::Tensor& bias, double epsilon, bool silu) {
  return GroupNormFunction::apply(x, weight, bias, groups, epsilon, silu);
}

at::Tensor differentiable_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  return AttentionFunction::apply(q, k, v, scale);
}

at::Tensor gated_gelu(const at::Tensor& x) { return GatedGeluFunction::apply(x); }

GradientCheckpointing::GradientCheckpointing(bool enabled) : before_(std::exchange(checkpointing, enabled)) {}
GradientCheckpointing::~GradientCheckpointing() { checkpointing = before_; }
bool GradientCheckpointing::is_enabled() { return checkpointing; }

at::Tensor checkpointed(const Block& block, const std::vector<at::Tensor>& inputs) {
  const bool records = std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& x) { return x.requires_grad(); });
  if (!checkpointing || !c10::GradMode::is_enabled() || !records) return block(inputs);
  return CheckpointFunction::apply(block, at::TensorList(inputs));  // only lists are searched for tensors
}

}  // namespace readback::nn
