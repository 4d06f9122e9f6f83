// A device whose memory the CPU cannot reach, as a GPU's, on a machine without one: READBACK_TEST_DEVICE=far.
//
// It computes on the CPU, behind libtorch's interface for devices of others. Its addresses lead nowhere, so that
// whoever reads a tensor's memory directly crashes; and an operation on its tensors and those of the CPU throws, as
// CUDA's does. So the suite finds tensors left on the wrong device. It says nothing of CUDA's arithmetic.
// Forward passes only: autograd wants events, which it has none of.
#pragma once
#include <c10/core/Device.h>

namespace readback {

c10::Device far_device();

}  // namespace readback
