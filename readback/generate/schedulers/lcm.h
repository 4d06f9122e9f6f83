// What sampling from a latent consistency model and distilling one share.
#pragma once

namespace readback::generate {

// A consistency model's answer is out · x̂_0 + skip · sample, the sample itself at t = 0.
// Appendix C of https://arxiv.org/abs/2303.01469, with the timestep scaled as in https://arxiv.org/abs/2310.04378.
struct BoundaryScalings {
  float skip, out;
};
inline constexpr float kTimestepScaling = 10.0f;
BoundaryScalings boundary_scalings(float t, float timestep_scaling = kTimestepScaling);

}  // namespace readback::generate
