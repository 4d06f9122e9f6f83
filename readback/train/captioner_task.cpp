#include <ATen/ATen.h>

#include "readback/image/preprocess.h"
#include "readback/models/blip/blip.h"
#include "readback/models/part.h"
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
        config_(models::BlipConfig::read(models::part_config(repository_))),
        preprocess_(image::read_preprocess_options(repository_)),
        tokenizer_(text::load_bert_tokenizer(repository_.path())),
        weights_(starting_weights(repository_, machine, options.seed)),
        blip_(config_, weights_) {
    weights_.finish();
  }

  std::map<std::string, at::Tensor> parameters() const override { return weights_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, "captioner batch", static_cast<uint64_t>(step));
    const std::vector<data::Scene> scenes =
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes);
    std::vector<std::string> captions;
    for (const data::Scene& scene : scenes) captions.push_back(draw_caption(scene, options_.caption_noise, random));
    const at::Tensor images = degrade(render_scenes(scenes, options_.image_size), options_.degradation, random);
    const at::Tensor pixels = normalise(images, preprocess_).to(machine_.device, machine_.dtype);
    const auto [ids, labels] = caption_batch(*tokenizer_, config_.text, captions);
    // Padding stands at the end, where the causal mask hides it from every token that counts.
    return blip_.loss(blip_.forward(pixels, ids.to(machine_.device), {}), labels.to(machine_.device));
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path(), folder, weights, "model.safetensors");
  }

 private:
  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  models::BlipConfig config_;
  image::PreprocessOptions preprocess_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  nn::Weights weights_;
  models::Blip blip_;
};

}  // namespace

std::unique_ptr<Task> make_captioner_task(const TaskOptions& options, const Machine& machine,
                                          const Context& /*context*/) {
  return std::make_unique<CaptionerTask>(options, machine);
}

}  // namespace readback::train
