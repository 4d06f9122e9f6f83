// Pictures to latents and back, by an autoencoder. The latents are scaled as diffusion models see them: about unit
// variance. B pictures of H × W pixels, c × h × w latents.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "readback/image/image.h"
#include "readback/models/stable_diffusion/vae.h"

namespace readback::generate {

// fp32 [B, c, h, w]; the VAE gives each latent value a normal distribution.
struct LatentDistribution {
  at::Tensor mean, deviation;
};

// The picture brought to this size by Pillow's bilinear, as Stable Diffusion is trained: fp32 [3, H, W] in [-1, 1].
at::Tensor to_pixels(const image::Image& image, int64_t height, int64_t width);
// pixels: [B, 3, H, W] in [-1, 1], any type and device.
LatentDistribution encode(const models::Vae& vae, const at::Tensor& pixels);
// latents: [B, c, h, w], any type → [B, 3, H, W] in the VAE's type, about [-1, 1]. Differentiable.
at::Tensor decode(const models::Vae& vae, const at::Tensor& latents);
// As many at once as fit into about a gigabyte. An image without pixels where the decoder gave numbers that are not
// finite.
std::vector<image::Image> decode_pictures(const models::Vae& vae, const at::Tensor& latents);

}  // namespace readback::generate
