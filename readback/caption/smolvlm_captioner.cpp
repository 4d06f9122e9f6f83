#include "readback/caption/smolvlm_captioner.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "readback/base/device.h"
#include "readback/models/part.h"

namespace readback::caption {

namespace {

class SmolVlmSteps final : public StepModel {
 public:
  SmolVlmSteps(const models::SmolVlm& model, int64_t capacity)
      : model_(model), cache_(model.config.text.num_hidden_layers, capacity) {}

  at::Tensor read(const at::Tensor& embeddings) {  // [S, T, C] → [S, V]
    return model_.logits(model_.text.forward(embeddings, &cache_).select(1, -1)).to(at::kFloat);
  }
  void select(const std::vector<int64_t>& /*groups*/, const std::vector<int64_t>& sources) override {
    cache_.select(at::tensor(sources).to(device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override {
    return read(model_.text.embed_tokens(at::tensor(tokens).unsqueeze(1).to(device())));
  }

 private:
  c10::Device device() const { return model_.text.embed_tokens.weight.device(); }
  const models::SmolVlm& model_;
  nn::KeyValueCache cache_;
};

// As many as keep the keys and values of a thousand tokens each below 256 MiB.
int64_t default_batch_size(const models::SmolVlm& model) {
  const models::LlamaConfig& text = model.config.text;
  const int64_t values = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * 1024;
  const auto bytes = values * static_cast<int64_t>(model.text.embed_tokens.weight.element_size());
  return std::clamp<int64_t>((int64_t{256} << 20) / bytes, 1, 32);
}

}  // namespace

struct SmolVlmCaptioner::Parts {
  std::shared_ptr<const models::SmolVlm> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  image::TileOptions tiles;
  About about;

  Parts(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
      : model(models::load_part<models::SmolVlm>(repository, "", device, dtype).model),
        tokenizer(text::load_tokenizer(repository.vocabulary())),
        tiles(image::read_tile_options(repository)),
        about{.description = fmt::format("SmolVLM {}, {}", repository.title(), dtype_name(dtype)),
              .identity = repository.digest(),
              .batch_size = default_batch_size(*model),
              .max_positions = model->config.text.max_position_embeddings,
              .end_tokens = caption::end_tokens(repository)} {}
};

SmolVlmCaptioner::SmolVlmCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : SmolVlmCaptioner(Parts(repository, device, dtype)) {}

SmolVlmCaptioner::SmolVlmCaptioner(Parts parts)
    : TokenCaptioner(std::move(parts.about), std::move(parts.tokenizer)),
      model_(std::move(parts.model)),
      tiles_(parts.tiles) {}

Capabilities SmolVlmCaptioner::capabilities() const {
  Capabilities known = TokenCaptioner::capabilities();
  known.examples = true;
  return known;
}

DecodingOptions SmolVlmCaptioner::defaults() const {
  return {.prompt = kSmolVlmPrompt, .num_beams = 3, .max_new_tokens = 40, .top_p = 0.9};
}

// As SmolVLMProcessor writes them.
std::string SmolVlmCaptioner::picture_tokens(const image::Image& image) const {
  std::string patches;
  for (int64_t i = 0; i < model_->config.image_tokens(); ++i) patches += "<image>";
  const image::TileGrid grid = image::tile_grid(image.width, image.height, tiles_);
  std::string tokens;
  for (int64_t row = 1; row <= grid.rows; ++row) {
    for (int64_t column = 1; column <= grid.columns; ++column) {
      tokens += fmt::format("<fake_token_around_image><row_{}_col_{}>{}", row, column, patches);
    }
    tokens += "\n";
  }
  return tokens + (grid.rows > 0 ? "\n" : "") + "<fake_token_around_image><global-img>" + patches +
         "<fake_token_around_image>";
}

Reading SmolVlmCaptioner::read(const Request& request, const std::string& prompt) const {
  Reading reading;
  std::string text = "<|im_start|>";
  const auto show = [&](const image::Image& image) {
    reading.images.push_back(&image);
    text += "User:" + picture_tokens(image) + prompt + "<end_of_utterance>\nAssistant:";
  };
  for (const Shot& shot : shots(request)) {
    show(*shot.image);
    text += " " + shot.text + "<end_of_utterance>\n";
  }
  show(request.image);
  reading.ids = tokenizer().encode_with_special_tokens(text);
  return reading;
}

std::vector<int64_t> SmolVlmCaptioner::encode(const std::string& text) const {
  return tokenizer().encode(" " + text);  // the template leaves no space behind "Assistant:"
}

at::Tensor SmolVlmCaptioner::embeddings(std::span<const Reading> readings) const {
  const DistinctImages images = distinct_images(readings);
  const c10::Device device = model_->text.embed_tokens.weight.device();
  const models::ClipVisionConfig& vision = model_->config.vision;
  // About a thousand patches at a time fill the machine, and more would only take memory.
  const int64_t side = vision.image_size / vision.patch_size, at_once = std::max<int64_t>(1, 1024 / (side * side));
  std::vector<at::Tensor> of_sets;  // [tokens of a set's pictures, C]
  for (const auto& set : images.sets) {
    std::vector<at::Tensor> pixels, features;
    for (const image::Image* image : set) {
      for (const image::Image& tile : image::cut_into_tiles(*image, tiles_)) {
        pixels.push_back(image::preprocess(tile, tiles_.pixels));
      }
    }
    for (const at::Tensor& some : at::stack(pixels).split(at_once)) {
      features.push_back(model_->image_features(some.to(device)).flatten(0, 1));
    }
    of_sets.push_back(at::cat(features));
  }
  std::vector<at::Tensor> ids, features;
  for (size_t i = 0; i < readings.size(); ++i) {
    ids.push_back(at::tensor(readings[i].ids));
    features.push_back(of_sets[static_cast<size_t>(images.rows[i])]);
  }
  return model_->embeddings(at::stack(ids).to(device), at::cat(features));
}

std::vector<std::vector<Decoded>> SmolVlmCaptioner::decode(std::span<const Reading> readings,
                                                           const DecodingOptions& options,
                                                           std::span<const Random> streams,
                                                           const TokenCallback& on_token) const {
  return decode_alike(readings, about().end_tokens, options, streams, on_token,
                      [&](std::span<const Reading> alike, int64_t max_length) {
                        auto steps = std::make_unique<SmolVlmSteps>(*model_, max_length);
                        const at::Tensor logits = steps->read(embeddings(alike));
                        return StartedSteps{std::move(steps), logits};
                      });
}

at::Tensor SmolVlmCaptioner::logits(std::span<const Reading> readings, int64_t known) const {
  const at::Tensor hidden = model_->text.forward(embeddings(readings), nullptr);
  return model_->logits(hidden.slice(1, known - 1, -1)).to(at::kFloat);
}

}  // namespace readback::caption
