#include "readback/nn/key_value_cache.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"

namespace readback::nn {

std::pair<at::Tensor, at::Tensor> KeyValueCache::append(int64_t layer, const at::Tensor& key, const at::Tensor& value) {
  Layer& own = layers_.at(static_cast<size_t>(layer));
  const int64_t tokens = key.size(2);
  if (length_ + tokens > capacity_) {
    throw EngineError(describe("keys and values", "at most " + std::to_string(capacity_) + " tokens",
                               std::to_string(length_ + tokens)));
  }
  const auto add = [&](at::Tensor& all, const at::Tensor& some) {
    if (!all.defined()) all = at::empty({some.size(0), some.size(1), capacity_, some.size(3)}, some.options());
    all.narrow(2, length_, tokens).copy_(some);
    return all.narrow(2, 0, length_ + tokens);
  };
  return {add(own.key, key), add(own.value, value)};
}

void KeyValueCache::select(const at::Tensor& rows) {
  const auto keep = [&](at::Tensor& all) {
    if (!all.defined()) return;
    at::Tensor kept = at::empty({rows.size(0), all.size(1), capacity_, all.size(3)}, all.options());
    kept.narrow(2, 0, length_).copy_(all.narrow(2, 0, length_).index_select(0, rows));
    all = std::move(kept);
  };
  for (Layer& layer : layers_) {
    keep(layer.key);
    keep(layer.value);
  }
}

int64_t KeyValueCache::sequences() const { return layers_.front().key.defined() ? layers_.front().key.size(0) : 0; }

}  // namespace readback::nn
