// Numbers and pictures that tools/reference/image_metrics.py computes by the same rules, so that none are stored.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "readback/base/random.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/image/image.h"
#include "readback/models/inception/inception.h"

namespace readback::models {

inline at::Tensor hashed(const std::string& name, at::IntArrayRef shape, double low = -1, double high = 1) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* values = tensor.mutable_data_ptr<float>();
  const auto start = static_cast<uint32_t>(fnv1a(name));
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    uint32_t x = (static_cast<uint32_t>(i) + start) * 0x9E3779B1U;
    x = (x ^ (x >> 15)) * 0x85EBCA6BU;
    x = (x ^ (x >> 13)) * 0xC2B2AE35U;
    x ^= x >> 16;
    values[i] = static_cast<float>(low + (high - low) * (static_cast<double>(x) / 4294967296.0));
  }
  return tensor;
}

// The tensors of an Inception checkpoint, its counters of batches included.
inline checkpoint::TensorMap hashed_inception() {
  const nn::Weights fresh = nn::Weights::fresh(0);
  const Inception model(fresh);
  checkpoint::TensorMap tensors;
  for (const auto& [name, parameter] : fresh.parameters()) {
    const at::IntArrayRef shape = parameter.sizes();
    if (shape.size() > 1) {
      const double bound = std::sqrt(6.0 / static_cast<double>(parameter.numel() / shape[0]));
      tensors[name] = hashed(name, shape, -bound, bound);
    } else if (name.ends_with("bn.weight") || name.ends_with("running_var")) {
      tensors[name] = hashed(name, shape, 0.7, 1.3);
    } else {
      tensors[name] = hashed(name, shape, -0.2, 0.2);
    }
    if (name.ends_with("running_var")) {
      tensors[name.substr(0, name.size() - 11) + "num_batches_tracked"] = at::zeros({}, at::kLong);
    }
  }
  return tensors;
}

inline image::Image picture(int64_t width, int64_t height, int64_t seed) {
  image::Image image(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t ramp = (x * (3 + seed) + y * 5 + c * 60) % 256;
        const int64_t checks = ((x / 7 + y / 5 + c) % 2) * 90;
        const int64_t noise = (x * 31 + y * 17 + c * 7 + (x * y) % 23 * seed) % 41;
        image.at(x, y)[c] = static_cast<uint8_t>((ramp + checks + noise) % 256);
      }
    }
  }
  return image;
}

}  // namespace readback::models
