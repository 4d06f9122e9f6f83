#include <ATen/ATen.h>

#include "readback/caption/blip_captioner.h"
#include "readback/train/batches.h"
#include "readback/train/caption_batch.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace {

// The caption of a picture, token by token. As in BLIP's fine-tuning the prompt is read but not learned.
class CaptionerTask : public Task {
 public:
  CaptionerTask(const TaskOptions& options, const Machine& machine)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        weights_(starting_weights(repository_, machine, options.seed)),
        captioner_(repository_, weights_) {}

  std::map<std::string, at::Tensor> parameters() const override { return weights_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, "captioner batch", static_cast<uint64_t>(step));
    const std::vector<data::Scene> scenes =
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes);
    std::vector<std::string> captions;
    for (const data::Scene& scene : scenes) captions.push_back(draw_caption(scene, options_.caption_noise, random));
    const at::Tensor images = degrade(render_scenes(scenes, options_.image_size), options_.degradation, random);
    const CaptionBatch batch =
        caption_batch(captioner_, captions, std::vector<PictureSize>(captions.size()), machine_.device);
    const at::Tensor patches = captioner_.patches(normalise(images, captioner_.preprocessing()).to(machine_.dtype));
    return caption_loss(captioner_.logits(one_each(patches), batch.texts), batch.labels,
                        captioner_.about().label_smoothing);
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path(), folder, weights, "model.safetensors");
  }

 private:
  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  nn::Weights weights_;
  caption::BlipCaptioner captioner_;
};

}  // namespace

std::unique_ptr<Task> make_captioner_task(const TaskOptions& options, const Machine& machine,
                                          const Context& /*context*/) {
  return std::make_unique<CaptionerTask>(options, machine);
}

}  // namespace readback::train
