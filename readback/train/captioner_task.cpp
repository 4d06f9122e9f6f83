#include <ATen/ATen.h>

#include <algorithm>

#include "readback/image/preprocess.h"
#include "readback/models/blip/blip.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace {

// The caption of a picture, token by token. As in BLIP's fine-tuning the prompt is read but not learned.
class CaptionerTask : public Task {
 public:
  explicit CaptionerTask(const TaskOptions& options)
      : options_(options),
        repository_(options.model),
        config_(models::BlipConfig::read({repository_.json(), options.model + "/config.json"})),
        preprocess_(image::read_preprocess_options(repository_)),
        tokenizer_(text::load_bert_tokenizer(repository_.path())),
        prompt_tokens_(static_cast<int64_t>(tokenizer_->encode(kPrompt).size())),
        weights_(starting_weights(repository_, options)),
        blip_(config_, weights_) {
    weights_.finish();
  }

  std::map<std::string, at::Tensor> parameters() const override { return weights_.parameters(); }

  at::Tensor loss(int64_t step, Figures& figures) override {
    Random random(options_.seed, "captioner batch", static_cast<uint64_t>(step));
    const std::vector<data::Scene> scenes =
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes);
    std::vector<std::vector<int64_t>> texts;
    for (const data::Scene& scene : scenes) {
      texts.push_back(tokenizer_->encode(kPrompt + draw_caption(scene, options_.caption_noise, random)));
    }
    const at::Tensor images = degrade(render_scenes(scenes, options_.image_size), options_.degradation, random);
    const at::Tensor pixels = normalise(images, preprocess_).to(options_.device, options_.dtype);
    const auto [ids, labels] = pad(texts);
    // Padding stands at the end, where the causal mask hides it from every token that counts.
    return blip_.loss(blip_.forward(pixels, ids.to(options_.device), {}), labels.to(options_.device));
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path(), folder, weights, "model.safetensors");
  }

 private:
  static constexpr const char* kPrompt = "a picture of ";

  // Begin token, text, end token, padding; labels are -100 at the begin token, the prompt and the padding.
  std::pair<at::Tensor, at::Tensor> pad(const std::vector<std::vector<int64_t>>& texts) const {
    size_t longest = 0;
    for (const auto& text : texts) longest = std::max(longest, text.size());
    const auto rows = static_cast<int64_t>(texts.size()), columns = static_cast<int64_t>(longest) + 2;
    at::Tensor ids = at::full({rows, columns}, config_.text.pad_token_id, at::kLong);
    at::Tensor labels = at::full({rows, columns}, -100, at::kLong);
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<int64_t>& text = texts[static_cast<size_t>(row)];
      int64_t* id = ids[row].data_ptr<int64_t>();
      int64_t* label = labels[row].data_ptr<int64_t>();
      id[0] = config_.text.bos_token_id;
      std::copy(text.begin(), text.end(), id + 1);
      id[text.size() + 1] = config_.text.sep_token_id;
      std::copy(id + 1 + prompt_tokens_, id + text.size() + 2, label + 1 + prompt_tokens_);
    }
    return {ids, labels};
  }

  TaskOptions options_;
  checkpoint::Repository repository_;
  models::BlipConfig config_;
  image::PreprocessOptions preprocess_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  int64_t prompt_tokens_;
  nn::Weights weights_;
  models::Blip blip_;
};

}  // namespace

std::unique_ptr<Task> make_captioner_task(const TaskOptions& options, Progress& progress) {
  return std::make_unique<CaptionerTask>(options);
}

}  // namespace readback::train
