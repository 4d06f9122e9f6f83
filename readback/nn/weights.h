// The parameters of a model while it is being built. Module names are the checkpoint's keys.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "readback/checkpoint/safetensors.h"

namespace readback::nn {

// How a fresh parameter is drawn when a model is made from its configuration instead of a checkpoint.
struct Init {
  enum class Kind { kNormal, kUniform, kConstant } kind = Kind::kNormal;
  double scale = 0.02;  // standard deviation, bound, or the constant
  static Init normal(double std) { return {Kind::kNormal, std}; }
  static Init uniform(double bound) { return {Kind::kUniform, bound}; }
  static Init zeros() { return {Kind::kConstant, 0.0}; }
  static Init ones() { return {Kind::kConstant, 1.0}; }
};

// Low-rank adapters for training: beside the frozen weight W of each linear layer that `targets` takes, by its module
// name, stand A [rank, in] and B [out, rank], and the layer computes W x + alpha / rank · B A x.
// Paper: https://arxiv.org/abs/2106.09685; names and initial values as PEFT's: A uniform within 1 / √in, B zero.
struct AdapterSpec {
  int64_t rank = 8;
  double alpha = 8;
  std::function<bool(const std::string& module)> targets;
  uint64_t seed = 0;  // of A, drawn by the parameter's name
};

// One layer's adapter. Its parameters are "lora_A.weight" and "lora_B.weight" in the layer's scope.
struct Adapter {
  at::Tensor a, b;  // undefined: the layer has none
  double scale = 0;
};

// A scope "text_decoder.bert." within one source of parameters. A layer's constructor asks for its tensors by name and
// shape; whoever builds the model then calls finish() so that nothing stays unread.
//
//   nn::Weights weights(repository.tensors(), device, dtype);      // or nn::Weights::fresh(seed)
//   models::Clip model(config, weights);
//   weights.finish();
class Weights {
 public:
  // Tensors of a checkpoint, moved to `device` and `dtype` as they are asked for.
  Weights(checkpoint::TensorMap tensors, c10::Device device, c10::ScalarType dtype, std::string where);
  // The same for inference only: layers take the layout that multiplies fastest (nn/packing.h) and give the original
  // up, and nothing is kept for parameters(). Not differentiable. On a CPU matrices for which memory has no room stay
  // in the mapped file, see get_matrix(). `room`: bytes of memory for weights; none: what is free now, less a reserve.
  Weights for_inference(std::optional<int64_t> room = {}) &&;
  // The same for training adapters: they are drawn, everything else is the checkpoint's.
  Weights with_adapters(AdapterSpec spec) &&;
  // Convolutions under `prefix` keep the checkpoint's order of memory, in which they are slower, but where its type is
  // kept they take no memory beside the mapped file: for what is hardly used.
  Weights keeping_order(std::string prefix) &&;
  // Drawn from Random(seed, Purpose::kWeights, key): a parameter's values depend on its name only, not on the order of
  // construction.
  static Weights fresh(uint64_t seed, c10::Device device = c10::kCPU, c10::ScalarType dtype = c10::kFloat);

  Weights operator[](const std::string& name) const;  // sub-scope: w["layers"][3]
  Weights operator[](int64_t index) const { return (*this)[std::to_string(index)]; }
  // This scope, whose tensors stay float32 where the model is float16: what transformers lists in
  // _keep_in_fp32_modules, since float16's range or precision does not do for it.
  Weights float32_for_float16() const;
  c10::ScalarType dtype() const;  // of this scope's parameters

  // The tensor `name` in this scope. Missing and misshapen keys are collected and reported by finish(); until then
  // the caller gets zeros of the right shape.
  at::Tensor get(const std::string& name, at::IntArrayRef shape, Init init = {}) const;
  // Of what a layer multiplies by: as get() gives it; or true and, where memory has no room for it, the tensor as the
  // file holds it, in the file's type.
  std::pair<at::Tensor, bool> get_matrix(const std::string& name, at::IntArrayRef shape, Init init) const;
  Adapter adapter(int64_t in, int64_t out) const;  // of the linear layer in this scope
  bool has(const std::string& name) const;         // always false for fresh parameters
  bool is_fresh() const;
  bool is_for_inference() const;
  // Keys that older exports carry and that the model does not need, e.g. "embeddings.position_ids".
  void ignore(const std::string& name) const;
  // Another name under which this scope may also be stored (documented legacy layouts only).
  void rename(const std::string& old_name, const std::string& new_name) const;

  // Throws CheckpointError that lists missing, unexpected and misshapen keys.
  void finish() const;

  // Every parameter handed out so far, by full name; the tensors that the model computes with. Empty for inference.
  const std::map<std::string, at::Tensor>& parameters() const;
  // Memory of all parameters handed out so far.
  int64_t bytes() const;
  const std::string& prefix() const { return prefix_; }

 private:
  struct Source;
  at::Tensor find(const std::string& key, at::IntArrayRef shape, Init init) const;
  at::Tensor hand_out(const std::string& key, at::Tensor tensor) const;
  Weights(std::shared_ptr<Source> source, std::string prefix, bool float32_for_float16 = false)
      : source_(std::move(source)), prefix_(std::move(prefix)), float32_for_float16_(float32_for_float16) {}
  std::shared_ptr<Source> source_;
  std::string prefix_;
  bool float32_for_float16_ = false;
};

}  // namespace readback::nn
