#include <ATen/ATen.h>

#include <algorithm>

#include "readback/image/preprocess.h"
#include "readback/models/clip/clip.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace {

// A picture and its caption are close, those of other scenes far: CLIP's contrastive loss over the batch.
class ClipTask : public Task {
 public:
  ClipTask(const TaskOptions& options, const Machine& machine)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        config_(models::ClipConfig::read(models::part_config(repository_))),
        preprocess_(image::read_preprocess_options(repository_)),
        tokenizer_(text::load_clip_tokenizer(repository_.path())),
        weights_(starting_weights(repository_, machine, options.seed)),
        clip_(config_, weights_) {
    weights_.finish();
  }

  std::map<std::string, at::Tensor> parameters() const override { return weights_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    Random random(options_.seed, Purpose::kTraining, "clip batch", static_cast<uint64_t>(step));
    const std::vector<data::Scene> scenes =
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes);
    std::vector<std::string> texts;
    for (const data::Scene& scene : scenes) texts.push_back(data::captions(scene)[draw_phrasing(random)]);
    const at::Tensor images = degrade(render_scenes(scenes, options_.image_size), options_.degradation, random);
    const at::Tensor pixels = normalise(images, preprocess_).to(machine_.device, machine_.dtype);
    const at::Tensor padded = token_batch(*tokenizer_, texts, config_.text.max_position_embeddings);
    // Pooling reads the first end token and the mask is causal: columns of nothing but padding change nothing.
    const int64_t used = padded.ne(config_.text.eos_token_id).any(0).sum().item<int64_t>() + 1;
    const at::Tensor ids = padded.narrow(1, 0, std::min(used, padded.size(1))).to(machine_.device);

    const at::Tensor image_embeds = clip_.visual_projection(clip_.vision_model.forward(pixels).pooler_output);
    const at::Tensor text_embeds = clip_.text_projection(clip_.text_model.forward(ids).pooler_output);
    metrics = {{"logit_scale", clip_.logit_scale.item<double>()}};
    return clip_.contrastive_loss(text_embeds.to(at::kFloat), image_embeds.to(at::kFloat));
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path(), folder, weights, "model.safetensors");
  }

 private:
  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  models::ClipConfig config_;
  image::PreprocessOptions preprocess_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  nn::Weights weights_;
  models::Clip clip_;
};

}  // namespace

std::unique_ptr<Task> make_clip_task(const TaskOptions& options, const Machine& machine, const Context& /*context*/) {
  return std::make_unique<ClipTask>(options, machine);
}

}  // namespace readback::train
