// Inception-v3 as FID, KID and the Inception Score use it: the network of TensorFlow's "2015-12-05" graph.
// Paper: https://arxiv.org/abs/1512.00567. Loads torch-fidelity's weights-inception-2015-12-05-6726825d.pth and
// pytorch-fid's pt_inception-2015-12-05-6726825d.pth, which have the same keys. For inference only.
// B batch, C channels, H × W positions.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <map>
#include <set>
#include <string>

#include "readback/checkpoint/safetensors.h"
#include "readback/nn/layers.h"

namespace readback::models {

// By torch-fidelity's names: "64", "192", "768" and "2048" are means over the positions; "logits_unbiased" lacks the
// last layer's bias, as the Inception Score needs it.
enum class InceptionLayer { k64, k192, k768, k2048, kLogitsUnbiased, kLogits };
InceptionLayer inception_layer(const std::string& name);  // Errors: UsageError that lists the names

using InceptionFeatures = std::map<InceptionLayer, at::Tensor>;  // [B, 64 | 192 | 768 | 2048 | 1008] each, fp32

// Convolution, batch norm (epsilon 0.001, folded into the convolution) and ReLU.
struct InceptionConv {
  using Pair = std::array<int64_t, 2>;  // height, width
  at::Tensor weight, bias;              // `weight` in oneDNN's own layout when `packed`
  bool packed = false;
  int64_t stride = 1;
  Pair padding{};
  InceptionConv(const nn::Weights& weights, int64_t in, int64_t out, Pair kernel, int64_t stride = 1,
                Pair padding = {0, 0});
  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionA {  // [B, in, 35, 35] → [B, 224 + pooled, 35, 35]
  InceptionConv branch1x1, branch5x5_1, branch5x5_2, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3, branch_pool;
  InceptionA(const nn::Weights& weights, int64_t in, int64_t pooled);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionB {  // [B, 288, 35, 35] → [B, 768, 17, 17]
  InceptionConv branch3x3, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3;
  explicit InceptionB(const nn::Weights& weights);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionC {  // [B, 768, 17, 17] → the same
  InceptionConv branch1x1, branch7x7_1, branch7x7_2, branch7x7_3;
  InceptionConv branch7x7dbl_1, branch7x7dbl_2, branch7x7dbl_3, branch7x7dbl_4, branch7x7dbl_5, branch_pool;
  InceptionC(const nn::Weights& weights, int64_t inner);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionD {  // [B, 768, 17, 17] → [B, 1280, 8, 8]
  InceptionConv branch3x3_1, branch3x3_2, branch7x7x3_1, branch7x7x3_2, branch7x7x3_3, branch7x7x3_4;
  explicit InceptionD(const nn::Weights& weights);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct InceptionE {  // [B, in, 8, 8] → [B, 2048, 8, 8]
  InceptionConv branch1x1, branch3x3_1, branch3x3_2a, branch3x3_2b;
  InceptionConv branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3a, branch3x3dbl_3b, branch_pool;
  bool max_pool;  // the last block of the original graph takes the maximum where the others take the mean
  InceptionE(const nn::Weights& weights, int64_t in, bool max_pool);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct Inception {
  static constexpr int64_t kSide = 299;
  InceptionConv conv_1a, conv_2a, conv_2b, conv_3b, conv_4a;
  InceptionA mixed_5b, mixed_5c, mixed_5d;
  InceptionB mixed_6a;
  InceptionC mixed_6b, mixed_6c, mixed_6d, mixed_6e;
  InceptionD mixed_7a;
  InceptionE mixed_7b, mixed_7c;
  at::Tensor fc_weight, fc_bias;  // [1008, 2048], [1008]
  explicit Inception(const nn::Weights& weights);
  // `pixels`: fp32 [B, 3, 299, 299], (value − 128) / 128, channels-last for speed. What lies behind the last layer
  // that is asked for is not computed. Errors: UsageError for another shape.
  InceptionFeatures forward(const at::Tensor& pixels, const std::set<InceptionLayer>& layers) const;
};

// The tensors of `name`: a .pth, .pt or .safetensors file, a repository (folder or hub id) as checkpoint::Repository
// reads it, or a folder with exactly one .pth or .pt file. Errors: CheckpointError.
checkpoint::TensorMap load_inception_tensors(const std::string& name);

}  // namespace readback::models
