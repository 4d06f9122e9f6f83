// Latents between the interface, which knows no tensors, and the backends.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/generate/generator.h"

namespace readback::generate {

at::Tensor to_tensor(const Latents& latents);  // fp32 on the CPU, of its own
Latents to_latents(const at::Tensor& tensor);  // of any type, on any device

}  // namespace readback::generate
