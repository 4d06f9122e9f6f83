#include "readback/caption/smolvlm_captioner.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

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
    cache_.select(sent(sources, device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override {
    return read(model_.text.embed_tokens(sent(tokens, device()).unsqueeze(1)));
  }

 private:
  c10::Device device() const { return model_.text.embed_tokens.weight.device(); }
  const models::SmolVlm& model_;
  nn::KeyValueCache cache_;
};

// Of a thousand tokens.
int64_t cached_values(const models::LlamaConfig& text) {
  return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * 1024;
}

}  // namespace

struct SmolVlmCaptioner::Parts {
  std::shared_ptr<const models::SmolVlm> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  image::TileOptions tiles;
  About about;

  Parts(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity)
      : model(models::model_of<models::SmolVlm>(repository, weights)),
        tokenizer(text::load_tokenizer(repository.vocabulary())),
        tiles(image::read_tile_options(repository)),
        about{.description = fmt::format("SmolVLM {}, {}", repository.title(),
                                         dtype_name(model->text.embed_tokens.weight.scalar_type())),
              .identity = std::move(identity),
              .batch_size = requests_at_once(cached_values(model->config.text), model->text.embed_tokens.weight),
              .max_positions = model->config.text.max_position_embeddings,
              .end_tokens = caption::end_tokens(repository),
              .begin_token = tokenizer->id("<|im_start|>"),
              .vocabulary_size = model->config.text.vocab_size,
              .image_size = model->config.vision.image_size,
              .reads_sizes = true,
              .pieces_at_once = pieces_at_once(model->vision_model.positions.size(0))} {}
};

SmolVlmCaptioner::SmolVlmCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights,
                                   std::string identity)
    : SmolVlmCaptioner(Parts(repository, weights, std::move(identity))) {}

SmolVlmCaptioner::SmolVlmCaptioner(Parts parts)
    : TokenCaptioner(std::move(parts.about), std::move(parts.tokenizer), parts.tiles.pixels),
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
  const image::TileGrid grid =
      image.width > 0 ? image::tile_grid(image.width, image.height, tiles_) : image::TileGrid();  // write()
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

std::vector<image::Image> SmolVlmCaptioner::pieces(const image::Image& image) const {
  return image::cut_into_tiles(image, tiles_);
}

at::Tensor SmolVlmCaptioner::patches(const at::Tensor& pixels) const {
  return model_->vision_model.forward(pixels.to(model_->text.embed_tokens.weight.device()));
}

at::Tensor SmolVlmCaptioner::image_tokens(const at::Tensor& patches) const { return model_->image_tokens(patches); }

at::Tensor SmolVlmCaptioner::embeddings(const Pictures& pictures, const Texts& texts) const {
  std::vector<at::Tensor> tokens;
  for (const int64_t row : pictures.rows) tokens.push_back(pictures.sets[static_cast<size_t>(row)].flatten(0, 1));
  const at::Tensor all = at::cat(tokens);
  return model_->embeddings(texts.ids.to(all.device()), all);
}

at::Tensor SmolVlmCaptioner::text_logits(const Pictures& pictures, const Texts& texts) const {
  return model_->logits(asked(model_->text.forward(embeddings(pictures, texts), nullptr), texts));
}

TokenCaptioner::Started SmolVlmCaptioner::start(const Pictures& pictures, const Texts& prompts,
                                                int64_t max_length) const {
  auto steps = std::make_unique<SmolVlmSteps>(*model_, max_length);
  const at::Tensor logits = steps->read(embeddings(pictures, prompts));
  return {std::move(steps), logits};
}

}  // namespace readback::caption
