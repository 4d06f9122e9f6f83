// Keys and values of what a decoder has read, in storage that does not grow. S sequences, D values of a head.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace readback::nn {

class KeyValueCache {
 public:
  // Of `layers` layers, for `capacity` tokens.
  KeyValueCache(int64_t layers, int64_t capacity) : layers_(static_cast<size_t>(layers)), capacity_(capacity) {}

  int64_t length() const { return length_; }  // tokens that all layers have read

  // Adds T tokens of a layer, [S, heads, T, D]; gives all of its tokens, [S, heads, length + T, D]. All layers add
  // equally many before advance(T). Errors: EngineError beyond the capacity.
  std::pair<at::Tensor, at::Tensor> append(int64_t layer, const at::Tensor& key, const at::Tensor& value);
  void advance(int64_t tokens) { length_ += tokens; }

  // Keeps the sequences `rows`, which may repeat: int64 [S'], on the cache's device.
  void select(const at::Tensor& rows);
  int64_t sequences() const;

 private:
  struct Layer {
    at::Tensor key, value;  // [S, heads, capacity, D]; undefined before the first token
  };
  std::vector<Layer> layers_;
  int64_t capacity_, length_ = 0;
};

}  // namespace readback::nn
