#include "readback/caption/idefics_captioner.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/models/part.h"

namespace readback::caption {

namespace {

constexpr const char* kEndOfUtterance = "<end_of_utterance>";

class IdeficsSteps final : public StepModel {
 public:
  IdeficsSteps(const models::Idefics& model, models::IdeficsState state) : model_(model), state_(std::move(state)) {}

  at::Tensor read(const at::Tensor& ids, const at::Tensor& seen) {
    return model_.logits(model_.hidden_states(ids, seen, state_).select(1, -1)).to(at::kFloat);
  }
  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    models::select(state_, sent(groups, device()), sent(sources, device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override { return read(sent(tokens, device()).unsqueeze(1), {}); }

 private:
  c10::Device device() const { return model_.text.embed_tokens.weight.device(); }
  const models::Idefics& model_;
  models::IdeficsState state_;
};

// Of 256 tokens.
int64_t cached_values(const models::LlamaConfig& text) { return 2 * text.num_hidden_layers * text.hidden_size * 256; }

}  // namespace

struct IdeficsCaptioner::Parts {
  std::shared_ptr<const models::Idefics> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  image::PreprocessOptions preprocessing;
  About about;
  bool instructed;

  Parts(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity)
      : model(models::model_of<models::Idefics>(repository, weights)),
        tokenizer(text::load_tokenizer(repository.vocabulary())),
        preprocessing(image::read_preprocess_options(repository)),
        about{.description = fmt::format("IDEFICS {}, {}", repository.title(),
                                         dtype_name(model->text.embed_tokens.weight.scalar_type())),
              .identity = std::move(identity),
              .batch_size = requests_at_once(cached_values(model->config.text), model->text.embed_tokens.weight),
              .max_positions = model->config.text.max_position_embeddings,
              .end_tokens = caption::end_tokens(repository),
              .begin_token = model->config.bos_token_id,
              .vocabulary_size = model->config.text.vocab_size + model->config.additional_vocab_size,
              .image_size = model->config.vision.image_size,
              .pieces_at_once = pieces_at_once(model->vision_model.position_embedding.weight.size(0))},
        instructed(tokenizer->id(kEndOfUtterance) >= 0) {
    // Where a caption ends; behind it the base model would go on with the next example.
    const int64_t end = tokenizer->id(instructed ? kEndOfUtterance : "<0x0A>");
    std::erase(about.end_tokens, end);
    if (end >= 0) about.end_tokens.insert(about.end_tokens.begin(), end);
    for (const char* token : {"<fake_token_around_image>", "<image>"}) {
      if (tokenizer->id(token) < 0) {
        throw CheckpointError(describe(repository.name(), std::string("a tokenizer that knows ") + token, "none"));
      }
    }
  }
};

IdeficsCaptioner::IdeficsCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights,
                                   std::string identity)
    : IdeficsCaptioner(Parts(repository, weights, std::move(identity))) {}

IdeficsCaptioner::IdeficsCaptioner(Parts parts)
    : TokenCaptioner(std::move(parts.about), std::move(parts.tokenizer), parts.preprocessing),
      model_(std::move(parts.model)),
      image_token_(tokenizer().id("<image>")),
      instructed_(parts.instructed) {}

Capabilities IdeficsCaptioner::capabilities() const {
  Capabilities known = TokenCaptioner::capabilities();
  known.examples = true;
  return known;
}

DecodingOptions IdeficsCaptioner::defaults() const {
  return {.prompt = instructed_ ? "Describe this image." : kIdeficsPrompt,
          .num_beams = 3,
          .max_new_tokens = 30,
          .top_p = 0.9};
}

Reading IdeficsCaptioner::read(const Request& request, const std::string& prompt) const {
  Reading reading;
  std::string text = tokenizer().token(model_->config.bos_token_id);
  const auto show = [&](const image::Image& image) {
    reading.images.push_back(&image);
    const std::string picture = kIdeficsPicture;
    text += instructed_ ? "User:" + picture + prompt + kEndOfUtterance + "\nAssistant:" : picture + prompt;
  };
  for (const Shot& shot : shots(request)) {
    show(*shot.image);
    text += " " + shot.text + (instructed_ ? kEndOfUtterance : "") + "\n";
  }
  show(request.image);
  reading.ids = tokenizer().encode(text);
  return reading;
}

at::Tensor IdeficsCaptioner::patches(const at::Tensor& pixels) const {
  return model_->vision_model.forward(pixels.to(model_->text.embed_tokens.weight.device())).last_hidden_state;
}

at::Tensor IdeficsCaptioner::image_tokens(const at::Tensor& patches) const {
  return model_->perceiver ? model_->perceiver->forward(patches) : patches;
}

// Texts side by side share the keys of their pictures.
at::Tensor IdeficsCaptioner::image_states(const Pictures& pictures) const {
  if (!pictures.side_by_side()) return of_each_text(pictures);
  std::vector<at::Tensor> sets;
  for (const at::Tensor& set : pictures.sets) sets.push_back(set.flatten(0, 1));
  return at::stack(sets);
}

// Each token sees the picture before it.
at::Tensor IdeficsCaptioner::seen(const at::Tensor& ids) const { return ids.eq(image_token_).cumsum(1) - 1; }

at::Tensor IdeficsCaptioner::text_logits(const Pictures& pictures, const Texts& texts) const {
  const at::Tensor states = image_states(pictures), ids = texts.ids.to(states.device());
  const at::Tensor hidden = model_->hidden_states(ids, seen(ids), states, pictures.sets.front().size(0));
  return model_->logits(asked(hidden, texts));
}

TokenCaptioner::Started IdeficsCaptioner::start(const Pictures& pictures, const Texts& prompts,
                                                int64_t max_length) const {
  const at::Tensor states = image_states(pictures), ids = prompts.ids.to(states.device());
  auto steps =
      std::make_unique<IdeficsSteps>(*model_, model_->prepare(states, pictures.sets.front().size(0), max_length));
  const at::Tensor logits = steps->read(ids, seen(ids));
  return {std::move(steps), logits};
}

}  // namespace readback::caption
