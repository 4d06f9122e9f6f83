#include <ATen/ATen.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/caption/idefics_captioner.h"
#include "readback/image/preprocess.h"
#include "readback/models/idefics/idefics.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace {

// As Flamingo is made: a language model learns texts; then it is frozen, and what lets it look at pictures learns texts
// with pictures between them. A text has one to four captions in one style, so that examples show which.
class FlamingoTask : public Task {
 public:
  FlamingoTask(const TaskOptions& options, const Machine& machine, bool looks)
      : options_(options),
        machine_(machine),
        looks_(looks),
        repository_(options.model),
        preprocess_(image::read_preprocess_options(repository_)),
        tokenizer_(text::load_tokenizer(repository_.path())),
        weights_(starting_weights(repository_, machine, options.seed)),
        model_(models::IdeficsConfig::read(models::part_config(repository_)), weights_),
        image_token_(tokenizer_->id("<image>")),
        line_end_(tokenizer_->id("<0x0A>")) {
    weights_.finish();
    if (image_token_ < 0 || line_end_ < 0) {
      throw CheckpointError(describe(repository_.name(), "a tokenizer with <image> and <0x0A>", "one without"));
    }
  }

  std::map<std::string, at::Tensor> parameters() const override {
    std::map<std::string, at::Tensor> own;
    for (const auto& [key, parameter] : weights_.parameters()) {
      const bool sees = key.starts_with("model.vision_model.") || key.starts_with("model.perceiver_resampler.") ||
                        key.starts_with("model.gated_cross_attn_layers.");
      // Nothing reads the class token alone.
      if (sees == looks_ && !key.starts_with("model.vision_model.post_layernorm.")) own.emplace(key, parameter);
    }
    return own;
  }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, looks_ ? "flamingo batch" : "language model batch",
                  static_cast<uint64_t>(step));
    const int64_t pictures = 1 + random.below(4);
    std::vector<Document> documents;
    for (int64_t i = 0; i < options_.batch_size; ++i) documents.push_back(draw(pictures, random));
    const Batch batch = as_batch(documents);
    at::Tensor logits;
    if (looks_) {
      std::vector<data::Scene> scenes;
      for (const Document& document : documents) {
        scenes.insert(scenes.end(), document.scenes.begin(), document.scenes.end());
      }
      const at::Tensor images = degrade(render_scenes(scenes, options_.image_size), options_.degradation, random);
      const at::Tensor pixels = normalise(images, preprocess_).to(machine_.device, machine_.dtype).contiguous();
      logits = model_.forward(pixels.view({options_.batch_size, pictures, 3, pixels.size(2), pixels.size(3)}),
                              batch.ids, batch.seen);
    } else {
      logits = model_.logits(model_.text.forward(model_.embed(batch.ids), nullptr));
    }
    return at::cross_entropy_loss(logits.slice(1, 0, -1).flatten(0, 1).to(at::kFloat),
                                  batch.labels.slice(1, 1).flatten());
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    checkpoint::TensorMap all;
    for (const auto& [key, parameter] : weights_.parameters()) {
      const auto own = weights.find(key);
      all[key] = own == weights.end() ? parameter.detach() : own->second;
    }
    save_model(repository_.path(), folder, all, "model.safetensors");
  }

 private:
  struct Document {
    std::vector<data::Scene> scenes;
    std::vector<int64_t> ids;
  };
  struct Batch {
    at::Tensor ids, labels, seen;  // int64 [B, T]
  };

  // One picture alone is mostly captioned completely, as draw_caption() has it; of several all are as the first.
  Document draw(int64_t pictures, Random& random) const {
    Document document{draw_scenes(random, pictures, options_.first_scene, options_.scenes), {}};
    const auto any = static_cast<size_t>(random.below(5));
    const size_t phrasing = pictures == 1 ? draw_phrasing(random) : any;
    std::string text = tokenizer_->token(model_.config.bos_token_id);
    for (const data::Scene& scene : document.scenes) {
      text += std::string(caption::kIdeficsPicture) + caption::kIdeficsPrompt + " " + data::captions(scene)[phrasing] +
              "\n";
    }
    document.ids = tokenizer_->encode(text);
    return document;
  }

  Batch as_batch(const std::vector<Document>& documents) const {
    size_t longest = 0;
    for (const Document& document : documents) longest = std::max(longest, document.ids.size());
    const std::vector<int64_t> shape = {std::ssize(documents), static_cast<int64_t>(longest)};
    Batch batch{at::full(shape, model_.config.eos_token_id, at::kLong), at::full(shape, -100, at::kLong),
                at::full(shape, -1, at::kLong)};
    const std::vector<int64_t> prompt = tokenizer_->encode(caption::kIdeficsPrompt);
    for (size_t row = 0; row < documents.size(); ++row) {
      const std::vector<int64_t>& ids = documents[row].ids;
      int64_t* const id = batch.ids[static_cast<int64_t>(row)].data_ptr<int64_t>();
      int64_t* const label = batch.labels[static_cast<int64_t>(row)].data_ptr<int64_t>();
      int64_t* const seen = batch.seen[static_cast<int64_t>(row)].data_ptr<int64_t>();
      std::copy(ids.begin(), ids.end(), id);
      int64_t last = -1;
      bool learned = !looks_;  // who looks learns what stands between a prompt and its line's end
      for (size_t t = 0; t < ids.size(); ++t) {
        seen[t] = ids[t] == image_token_ ? ++last : last;
        if (learned) label[t] = ids[t];
        if (looks_ && ids[t] == line_end_) learned = false;
        if (looks_ && t + 1 >= prompt.size() &&
            std::equal(prompt.begin(), prompt.end(), ids.begin() + t + 1 - prompt.size())) {
          learned = true;
        }
      }
    }
    const c10::Device device = machine_.device;
    return {batch.ids.to(device), batch.labels.to(device), batch.seen.to(device)};
  }

  TaskOptions options_;
  Machine machine_;
  bool looks_;
  checkpoint::Repository repository_;
  image::PreprocessOptions preprocess_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  nn::Weights weights_;
  models::Idefics model_;
  int64_t image_token_, line_end_;
};

}  // namespace

std::unique_ptr<Task> make_language_model_task(const TaskOptions& options, const Machine& machine,
                                               const Context& /*context*/) {
  return std::make_unique<FlamingoTask>(options, machine, /*looks=*/false);
}

std::unique_ptr<Task> make_flamingo_task(const TaskOptions& options, const Machine& machine,
                                         const Context& /*context*/) {
  return std::make_unique<FlamingoTask>(options, machine, /*looks=*/true);
}

}  // namespace readback::train
