#include "readback/train/latent_scenes.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "readback/generate/picture_codec.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

LatentScenes::LatentScenes(const TaskOptions& options, const Machine& machine, const checkpoint::Repository& vae,
                           const std::string& part, const text::Tokenizer& tokenizer, int64_t positions,
                           const Context& context)
    : options_(options), tokenizer_(tokenizer), positions_(positions), empty_(ids_of({""})[0]) {
  c10::NoGradGuard no_grad;
  const nn::Weights weights = models::part_weights(vae, part, machine.device, at::kFloat);
  const models::Vae encoder(models::VaeConfig::read(models::part_config(vae, part)), weights);
  weights.finish();
  std::vector<at::Tensor> means, deviations, ids;
  constexpr int64_t kBatch = 250;
  context.progress().begin("encode scenes", options_.scenes);
  for (int64_t begin = 0; begin < options_.scenes; begin += kBatch) {
    context.check();
    std::vector<data::Scene> scenes;
    std::vector<std::string> texts;
    for (int64_t i = begin; i < std::min(begin + kBatch, options_.scenes); ++i) {
      scenes.push_back(scene_at(i));
      for (std::string& caption : data::captions(scenes.back())) texts.push_back(std::move(caption));
    }
    const at::Tensor pixels = render_scenes(scenes, options_.image_size) * 2 - 1;
    const generate::LatentDistribution latents = generate::encode(encoder, pixels);
    means.push_back(latents.mean.cpu());
    deviations.push_back(latents.deviation.cpu());
    ids.push_back(ids_of(texts).view({static_cast<int64_t>(scenes.size()), 5, -1}));
    context.progress().advance(static_cast<int64_t>(scenes.size()));
  }
  context.progress().end();
  mean_ = at::cat(means).contiguous();
  deviation_ = at::cat(deviations).contiguous();
  ids_ = at::cat(ids);
}

LatentScenes::Row LatentScenes::draw(Random& random) const {
  const int64_t scene = random.below(options_.scenes);
  if (options_.caption_noise > 0 && random.uniform() < options_.caption_noise) {
    return {scene, ids_of({data::noisy_caption(scene_at(scene), random)})[0]};
  }
  return {scene, ids_[scene][static_cast<int64_t>(draw_phrasing(random))]};
}

at::Tensor LatentScenes::latents(const at::Tensor& scenes, Random& random) const {
  const at::Tensor mean = mean_.index_select(0, scenes);
  return mean + deviation_.index_select(0, scenes) * normal_like(mean, random);
}

data::Scene LatentScenes::scene_at(int64_t index) const {
  return data::make_scene(data::Split::kTrain, options_.first_scene + index);
}

at::Tensor LatentScenes::ids_of(const std::vector<std::string>& texts) const {
  return token_batch(tokenizer_, texts, positions_);
}

}  // namespace readback::train
