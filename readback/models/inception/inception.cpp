#include "readback/models/inception/inception.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/StringUtil.h>

#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/pickle.h"
#include "readback/checkpoint/repository.h"

namespace readback::models {

namespace {

constexpr std::pair<const char*, InceptionLayer> kLayers[] = {
    {"64", InceptionLayer::k64},
    {"192", InceptionLayer::k192},
    {"768", InceptionLayer::k768},
    {"2048", InceptionLayer::k2048},
    {"logits_unbiased", InceptionLayer::kLogitsUnbiased},
    {"logits", InceptionLayer::kLogits},
};

// oneDNN's convolution with ReLU in the same pass, and its weight layout; libtorch's own names for what its compiler
// uses on frozen models, which the C++ headers lack.
std::optional<c10::OperatorHandle> find(const char* name) {
  if (!at::globalContext().hasMKLDNN()) return {};
  return c10::Dispatcher::singleton().findSchema({name, ""});
}

std::optional<c10::OperatorHandle> fused_convolution() {
  static const auto op = find("mkldnn::_convolution_pointwise");
  return op;
}

at::Tensor reorder(const at::Tensor& weight, int64_t stride, const InceptionConv::Pair& padding) {
  static const auto op = find("mkldnn::_reorder_convolution_weight");
  if (!op || !fused_convolution() || !weight.device().is_cpu()) return {};
  c10::Stack stack = {weight,       at::IntArrayRef(padding), at::IntArrayRef{stride, stride}, at::IntArrayRef{1, 1}, 1,
                      c10::IValue()};
  op->callBoxed(stack);
  return stack.front().toTensor();
}

at::Tensor max_pool(const at::Tensor& x) { return at::max_pool2d(x, {3, 3}, {2, 2}); }

// TensorFlow's mean leaves the padding out of the count.
at::Tensor mean_pool(const at::Tensor& x) {
  return at::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1}, /*ceil_mode=*/false, /*count_include_pad=*/false);
}

at::Tensor mean_over_positions(const at::Tensor& x) { return x.mean(at::IntArrayRef{2, 3}); }  // [B, C]

}  // namespace

InceptionLayer inception_layer(const std::string& name) {
  std::string names;
  for (const auto& [known, layer] : kLayers) {
    if (name == known) return layer;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw UsageError(describe("Inception layer", names, name));
}

InceptionConv::InceptionConv(const nn::Weights& weights, int64_t in, int64_t out, Pair kernel, int64_t stride,
                             Pair padding)
    : stride(stride), padding(padding) {
  constexpr double kEpsilon = 0.001;
  const nn::Weights conv = weights["conv"], norm = weights["bn"];
  norm.ignore("num_batches_tracked");
  const double fan_in = static_cast<double>(in * kernel[0] * kernel[1]);
  const at::Tensor filter =
      conv.get("weight", {out, in, kernel[0], kernel[1]}, nn::Init::normal(std::sqrt(2 / fan_in))).to(at::kDouble);
  const at::Tensor gain = norm.get("weight", {out}, nn::Init::ones()).to(at::kDouble);
  const at::Tensor offset = norm.get("bias", {out}, nn::Init::zeros()).to(at::kDouble);
  const at::Tensor mean = norm.get("running_mean", {out}, nn::Init::zeros()).to(at::kDouble);
  const at::Tensor variance = norm.get("running_var", {out}, nn::Init::ones()).to(at::kDouble);
  const at::Tensor scale = gain / (variance + kEpsilon).sqrt();
  weight = (filter * scale.view({out, 1, 1, 1})).to(at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  bias = (offset - mean * scale).to(at::kFloat);
  if (const at::Tensor reordered = reorder(weight, stride, padding); reordered.defined()) {
    weight = reordered;
    packed = true;
  }
}

at::Tensor InceptionConv::operator()(const at::Tensor& x) const {
  const Pair strides = {stride, stride};
  if (!packed) return at::conv2d(x, weight, bias, strides, padding).relu_();
  c10::Stack stack = {x,
                      weight,
                      bias,
                      at::IntArrayRef(padding),
                      at::IntArrayRef(strides),
                      at::IntArrayRef{1, 1},
                      1,
                      "relu",
                      c10::List<std::optional<at::Scalar>>(),
                      c10::IValue()};
  fused_convolution()->callBoxed(stack);
  return stack.front().toTensor();
}

InceptionA::InceptionA(const nn::Weights& weights, int64_t in, int64_t pooled)
    : branch1x1(weights["branch1x1"], in, 64, {1, 1}),
      branch5x5_1(weights["branch5x5_1"], in, 48, {1, 1}),
      branch5x5_2(weights["branch5x5_2"], 48, 64, {5, 5}, 1, {2, 2}),
      branch3x3dbl_1(weights["branch3x3dbl_1"], in, 64, {1, 1}),
      branch3x3dbl_2(weights["branch3x3dbl_2"], 64, 96, {3, 3}, 1, {1, 1}),
      branch3x3dbl_3(weights["branch3x3dbl_3"], 96, 96, {3, 3}, 1, {1, 1}),
      branch_pool(weights["branch_pool"], in, pooled, {1, 1}) {}

at::Tensor InceptionA::operator()(const at::Tensor& x) const {
  return at::cat({branch1x1(x), branch5x5_2(branch5x5_1(x)), branch3x3dbl_3(branch3x3dbl_2(branch3x3dbl_1(x))),
                  branch_pool(mean_pool(x))},
                 1);
}

InceptionB::InceptionB(const nn::Weights& weights)
    : branch3x3(weights["branch3x3"], 288, 384, {3, 3}, 2),
      branch3x3dbl_1(weights["branch3x3dbl_1"], 288, 64, {1, 1}),
      branch3x3dbl_2(weights["branch3x3dbl_2"], 64, 96, {3, 3}, 1, {1, 1}),
      branch3x3dbl_3(weights["branch3x3dbl_3"], 96, 96, {3, 3}, 2) {}

at::Tensor InceptionB::operator()(const at::Tensor& x) const {
  return at::cat({branch3x3(x), branch3x3dbl_3(branch3x3dbl_2(branch3x3dbl_1(x))), max_pool(x)}, 1);
}

InceptionC::InceptionC(const nn::Weights& weights, int64_t inner)
    : branch1x1(weights["branch1x1"], 768, 192, {1, 1}),
      branch7x7_1(weights["branch7x7_1"], 768, inner, {1, 1}),
      branch7x7_2(weights["branch7x7_2"], inner, inner, {1, 7}, 1, {0, 3}),
      branch7x7_3(weights["branch7x7_3"], inner, 192, {7, 1}, 1, {3, 0}),
      branch7x7dbl_1(weights["branch7x7dbl_1"], 768, inner, {1, 1}),
      branch7x7dbl_2(weights["branch7x7dbl_2"], inner, inner, {7, 1}, 1, {3, 0}),
      branch7x7dbl_3(weights["branch7x7dbl_3"], inner, inner, {1, 7}, 1, {0, 3}),
      branch7x7dbl_4(weights["branch7x7dbl_4"], inner, inner, {7, 1}, 1, {3, 0}),
      branch7x7dbl_5(weights["branch7x7dbl_5"], inner, 192, {1, 7}, 1, {0, 3}),
      branch_pool(weights["branch_pool"], 768, 192, {1, 1}) {}

at::Tensor InceptionC::operator()(const at::Tensor& x) const {
  const at::Tensor twice = branch7x7dbl_3(branch7x7dbl_2(branch7x7dbl_1(x)));  // [B, inner, 17, 17]
  return at::cat({branch1x1(x), branch7x7_3(branch7x7_2(branch7x7_1(x))), branch7x7dbl_5(branch7x7dbl_4(twice)),
                  branch_pool(mean_pool(x))},
                 1);
}

InceptionD::InceptionD(const nn::Weights& weights)
    : branch3x3_1(weights["branch3x3_1"], 768, 192, {1, 1}),
      branch3x3_2(weights["branch3x3_2"], 192, 320, {3, 3}, 2),
      branch7x7x3_1(weights["branch7x7x3_1"], 768, 192, {1, 1}),
      branch7x7x3_2(weights["branch7x7x3_2"], 192, 192, {1, 7}, 1, {0, 3}),
      branch7x7x3_3(weights["branch7x7x3_3"], 192, 192, {7, 1}, 1, {3, 0}),
      branch7x7x3_4(weights["branch7x7x3_4"], 192, 192, {3, 3}, 2) {}

at::Tensor InceptionD::operator()(const at::Tensor& x) const {
  return at::cat(
      {branch3x3_2(branch3x3_1(x)), branch7x7x3_4(branch7x7x3_3(branch7x7x3_2(branch7x7x3_1(x)))), max_pool(x)}, 1);
}

InceptionE::InceptionE(const nn::Weights& weights, int64_t in, bool max_pool)
    : branch1x1(weights["branch1x1"], in, 320, {1, 1}),
      branch3x3_1(weights["branch3x3_1"], in, 384, {1, 1}),
      branch3x3_2a(weights["branch3x3_2a"], 384, 384, {1, 3}, 1, {0, 1}),
      branch3x3_2b(weights["branch3x3_2b"], 384, 384, {3, 1}, 1, {1, 0}),
      branch3x3dbl_1(weights["branch3x3dbl_1"], in, 448, {1, 1}),
      branch3x3dbl_2(weights["branch3x3dbl_2"], 448, 384, {3, 3}, 1, {1, 1}),
      branch3x3dbl_3a(weights["branch3x3dbl_3a"], 384, 384, {1, 3}, 1, {0, 1}),
      branch3x3dbl_3b(weights["branch3x3dbl_3b"], 384, 384, {3, 1}, 1, {1, 0}),
      branch_pool(weights["branch_pool"], in, 192, {1, 1}),
      max_pool(max_pool) {}

at::Tensor InceptionE::operator()(const at::Tensor& x) const {
  const at::Tensor once = branch3x3_1(x);                      // [B, 384, 8, 8]
  const at::Tensor twice = branch3x3dbl_2(branch3x3dbl_1(x));  // [B, 384, 8, 8]
  const at::Tensor pooled = max_pool ? at::max_pool2d(x, {3, 3}, {1, 1}, {1, 1}) : mean_pool(x);
  return at::cat({branch1x1(x), branch3x3_2a(once), branch3x3_2b(once), branch3x3dbl_3a(twice), branch3x3dbl_3b(twice),
                  branch_pool(pooled)},
                 1);
}

Inception::Inception(const nn::Weights& weights)
    : conv_1a(weights["Conv2d_1a_3x3"], 3, 32, {3, 3}, 2),
      conv_2a(weights["Conv2d_2a_3x3"], 32, 32, {3, 3}),
      conv_2b(weights["Conv2d_2b_3x3"], 32, 64, {3, 3}, 1, {1, 1}),
      conv_3b(weights["Conv2d_3b_1x1"], 64, 80, {1, 1}),
      conv_4a(weights["Conv2d_4a_3x3"], 80, 192, {3, 3}),
      mixed_5b(weights["Mixed_5b"], 192, 32),
      mixed_5c(weights["Mixed_5c"], 256, 64),
      mixed_5d(weights["Mixed_5d"], 288, 64),
      mixed_6a(weights["Mixed_6a"]),
      mixed_6b(weights["Mixed_6b"], 128),
      mixed_6c(weights["Mixed_6c"], 160),
      mixed_6d(weights["Mixed_6d"], 160),
      mixed_6e(weights["Mixed_6e"], 192),
      mixed_7a(weights["Mixed_7a"]),
      mixed_7b(weights["Mixed_7b"], 1280, /*max_pool=*/false),
      mixed_7c(weights["Mixed_7c"], 2048, /*max_pool=*/true),
      fc_weight(weights["fc"].get("weight", {1008, 2048}, nn::Init::normal(1 / std::sqrt(2048.0))).to(at::kFloat)),
      fc_bias(weights["fc"].get("bias", {1008}, nn::Init::zeros()).to(at::kFloat)) {}

InceptionFeatures Inception::forward(const at::Tensor& pixels, const std::set<InceptionLayer>& layers) const {
  if (pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) != kSide || pixels.size(3) != kSide) {
    throw UsageError(describe("Inception", "[B, 3, 299, 299]", c10::str(pixels.sizes())));
  }
  InceptionFeatures features;
  if (layers.empty()) return features;
  const auto wanted = [&](InceptionLayer layer) { return layers.contains(layer); };
  const auto last = [&](InceptionLayer layer) { return *layers.rbegin() == layer; };
  at::Tensor x = conv_2b(conv_2a(conv_1a(pixels.contiguous(at::MemoryFormat::ChannelsLast))));  // [B, 64, 147, 147]
  x = max_pool(x);                                                                              // [B, 64, 73, 73]
  if (wanted(InceptionLayer::k64)) features[InceptionLayer::k64] = mean_over_positions(x);
  if (last(InceptionLayer::k64)) return features;
  x = max_pool(conv_4a(conv_3b(x)));  // [B, 192, 35, 35]
  if (wanted(InceptionLayer::k192)) features[InceptionLayer::k192] = mean_over_positions(x);
  if (last(InceptionLayer::k192)) return features;
  x = mixed_6a(mixed_5d(mixed_5c(mixed_5b(x))));  // [B, 768, 17, 17]
  x = mixed_6e(mixed_6d(mixed_6c(mixed_6b(x))));  // [B, 768, 17, 17]
  if (wanted(InceptionLayer::k768)) features[InceptionLayer::k768] = mean_over_positions(x);
  if (last(InceptionLayer::k768)) return features;
  x = mean_over_positions(mixed_7c(mixed_7b(mixed_7a(x))));  // [B, 2048]
  if (wanted(InceptionLayer::k2048)) features[InceptionLayer::k2048] = x;
  if (last(InceptionLayer::k2048)) return features;
  x = at::linear(x, fc_weight);  // [B, 1008]
  if (wanted(InceptionLayer::kLogitsUnbiased)) features[InceptionLayer::kLogitsUnbiased] = x;
  if (wanted(InceptionLayer::kLogits)) features[InceptionLayer::kLogits] = x + fc_bias;
  return features;
}

checkpoint::TensorMap load_inception_tensors(const std::string& name) {
  namespace fs = std::filesystem;
  const auto is_pickle = [](const fs::path& path) { return path.extension() == ".pth" || path.extension() == ".pt"; };
  std::error_code error;
  if (fs::is_regular_file(name, error)) {
    return is_pickle(name) ? checkpoint::load_pickle(name) : checkpoint::load_safetensors(name);
  }
  const checkpoint::Repository repository(name);
  std::vector<fs::path> pickles;
  for (const auto& entry : fs::directory_iterator(repository.path(), error)) {
    if (entry.is_regular_file() && is_pickle(entry.path())) pickles.push_back(entry.path());
  }
  if (pickles.size() == 1 && !repository.has("model.safetensors")) return checkpoint::load_pickle(pickles.front());
  return repository.tensors();
}

}  // namespace readback::models
