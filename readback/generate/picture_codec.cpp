#include "readback/generate/picture_codec.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "readback/image/preprocess.h"

namespace readback::generate {

namespace {

// The type and the device that the VAE computes with.
at::TensorOptions options_of(const models::Vae& vae) { return vae.decoder_norm_out.weight.options(); }

}  // namespace

at::Tensor to_pixels(const image::Image& image, int64_t height, int64_t width) {
  if (image.height == height && image.width == width) return image::to_signed_unit(image);
  return image::to_signed_unit(image::resize(image, width, height, image::Filter::kBilinear));
}

LatentDistribution encode(const models::Vae& vae, const at::Tensor& pixels) {
  const models::VaeMoments moments = vae.encode(pixels.to(options_of(vae)));
  return {(moments.mean.to(at::kFloat) - vae.config.shift_factor) * vae.config.scaling_factor,
          (0.5 * moments.logvar.to(at::kFloat)).exp() * vae.config.scaling_factor};
}

at::Tensor decode(const models::Vae& vae, const at::Tensor& latents) {
  const at::Tensor unscaled = latents / vae.config.scaling_factor + vae.config.shift_factor;
  return vae.decode(unscaled.to(options_of(vae)));
}

std::vector<image::Image> decode_pictures(const models::Vae& vae, const at::Tensor& latents) {
  // A picture of 512 × 512 takes a gigabyte by itself; small ones go together.
  const int64_t factor = vae.config.factor(), pixels = latents.size(2) * latents.size(3) * factor * factor;
  const int64_t at_once = std::max<int64_t>(1, 128 * 128 / pixels);
  std::vector<image::Image> pictures;
  for (const at::Tensor& some : latents.split(at_once)) {
    for (const at::Tensor& decoded : decode(vae, some).unbind()) {
      const bool finite = decoded.isfinite().all().item<bool>();
      pictures.push_back(finite ? image::from_signed_unit(decoded) : image::Image());
    }
  }
  return pictures;
}

}  // namespace readback::generate
