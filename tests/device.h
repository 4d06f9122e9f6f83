// Where the tests compute, in which types, and how far their results may be from the references'.
//
//   READBACK_TEST_DEVICE=cuda    every model on the GPU, also cuda:1; cpu unless set
//   READBACK_TEST_DEVICE=far     as if on a GPU, without one: far_device.h
//
// Results are compared on the CPU. Gradients and losses of training are float32 on either device.
#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "far_device.h"
#include "readback/base/device.h"

namespace readback {

// The device that READBACK_TEST_DEVICE names, as --device takes it. Errors: UsageError where it is not usable, so that
// no test passes on another device than the one that was asked for.
inline c10::Device test_device() {
  static const c10::Device device = [] {
    const char* name = std::getenv("READBACK_TEST_DEVICE");
    if (name != nullptr && std::string_view(name) == "far") return far_device();
    return parse_device(name == nullptr || *name == '\0' ? "cpu" : name);
  }();
  return device;
}

inline constexpr at::ScalarType kTestTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

// float32: the largest difference over the largest expected magnitude. Half precision: the norm of the difference over
// the norm of what is expected, which averages over the roundings of all values and so can have a narrower bound.
// Both in float64 on the CPU; infinite for other shapes and for NaN.
inline double error_in(at::ScalarType dtype, const at::Tensor& actual, const at::Tensor& expected) {
  if (!actual.defined() || actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble), b = expected.detach().to(at::kCPU, at::kDouble);
  const at::Tensor error = dtype == at::kFloat ? (a - b).abs().max() / b.abs().max() : (a - b).norm() / b.norm();
  const double value = error.item<double>();
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  return error_in(at::kFloat, actual, expected);
}

// The bound of error_in(). float32: 2e-5, about what two orders of summation differ by.
//
// Half precision rounds the weights, the inputs and what every layer gives, each by up to the unit roundoff u: 2^-9 in
// bfloat16, 2^-12 in float16. Such errors add like the steps of a random walk, so that n of them make about √n u: the
// bound is a number of u that depends on the model's depth. The suites say what they measured: the error, and the error
// once one of the model's biases is missing.
inline double tolerance(at::ScalarType dtype, double roundoffs) {
  if (dtype == at::kFloat) return 2e-5;
  return roundoffs * (dtype == at::kBFloat16 ? 0x1p-9 : 0x1p-12);
}

}  // namespace readback
