#include "readback/train/batches.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "readback/generate/sampler.h"

namespace readback::train {

std::vector<data::Scene> draw_scenes(Random& random, int64_t count, int64_t first, int64_t scenes) {
  std::vector<data::Scene> drawn;
  for (int64_t i = 0; i < count; ++i) {
    drawn.push_back(data::make_scene(data::Split::kTrain, first + random.below(scenes)));
  }
  return drawn;
}

at::Tensor render_scenes(std::span<const data::Scene> scenes, int64_t size) {
  at::Tensor pixels = at::empty({static_cast<int64_t>(scenes.size()), size, size, 3}, at::kByte);
  uint8_t* out = pixels.data_ptr<uint8_t>();
  for (const data::Scene& scene : scenes) {
    const image::Image image = data::render(scene, size);
    out = std::copy(image.pixels.begin(), image.pixels.end(), out);
  }
  return pixels.permute({0, 3, 1, 2}).to(at::kFloat).div_(255.0);
}

at::Tensor degrade(const at::Tensor& images, double share, Random& random) {
  at::Tensor result = images.clone();
  for (int64_t i = 0; i < images.size(0); ++i) {
    if (random.uniform() >= share) continue;
    at::Tensor image = result[i];
    if (random.uniform() < 0.5) {
      const at::Tensor blurred =
          at::avg_pool2d(at::replication_pad2d(image.unsqueeze(0), {1, 1, 1, 1}), {3, 3}, {1, 1});
      image.lerp_(blurred[0], random.uniform());
    }
    image.add_(normal_like(image, random), 0.1 * random.uniform());
  }
  return result.clamp_(0, 1);
}

at::Tensor normalise(const at::Tensor& images, const image::PreprocessOptions& options) {
  const auto channel = [&images](const std::array<double, 3>& values) {
    return at::tensor(at::ArrayRef<double>(values.data(), 3), at::kFloat).view({1, 3, 1, 1}).to(images.device());
  };
  return (images - channel(options.image_mean)) / channel(options.image_std);
}

size_t draw_phrasing(Random& random) {
  const double draw = random.uniform();
  if (draw < 0.5) return 0;
  return 1 + static_cast<size_t>((draw - 0.5) * 8.0);  // 1 … 4, an eighth each
}

std::string draw_caption(const data::Scene& scene, double noise, Random& random) {
  if (noise > 0 && random.uniform() < noise) return data::noisy_caption(scene, random);
  return data::captions(scene)[draw_phrasing(random)];
}

at::Tensor min_snr_weights(const generate::NoiseSchedule& schedule, const at::Tensor& t, double gamma) {
  if (gamma <= 0) return at::ones(t.sizes(), at::kFloat);
  const at::Tensor snr = schedule.signal_to_noise(t), bounded = snr.clamp_max(gamma);
  switch (schedule.prediction) {
    case generate::Prediction::kVelocity:
      return bounded / (snr + 1);
    case generate::Prediction::kSample:
      return bounded;
    case generate::Prediction::kEpsilon:
      break;
  }
  return bounded / snr.clamp_min(1e-8);
}

at::Tensor normal_like(const at::Tensor& shape, Random& random) { return generate::normal(random, shape.sizes()); }

}  // namespace readback::train
