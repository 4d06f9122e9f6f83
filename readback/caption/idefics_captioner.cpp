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
    models::select(state_, at::tensor(groups).to(device()), at::tensor(sources).to(device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override {
    return read(at::tensor(tokens).unsqueeze(1).to(device()), {});
  }

 private:
  c10::Device device() const { return model_.text.embed_tokens.weight.device(); }
  const models::Idefics& model_;
  models::IdeficsState state_;
};

// As many as keep the keys and values of 256 tokens each below 256 MiB.
int64_t default_batch_size(const models::Idefics& model) {
  const int64_t values = 2 * model.config.text.num_hidden_layers * model.config.text.hidden_size * 256;
  const auto bytes = values * static_cast<int64_t>(model.text.embed_tokens.weight.element_size());
  return std::clamp<int64_t>((int64_t{256} << 20) / bytes, 1, 32);
}

}  // namespace

struct IdeficsCaptioner::Parts {
  std::shared_ptr<const models::Idefics> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  image::PreprocessOptions preprocessing;
  About about;
  bool instructed;

  Parts(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
      : model(models::load_part<models::Idefics>(repository, "", device, dtype).model),
        tokenizer(text::load_tokenizer(repository.vocabulary())),
        preprocessing(image::read_preprocess_options(repository)),
        about{.description = fmt::format("IDEFICS {}, {}", repository.title(), dtype_name(dtype)),
              .identity = repository.digest(),
              .batch_size = default_batch_size(*model),
              .max_positions = model->config.text.max_position_embeddings,
              .end_tokens = caption::end_tokens(repository)},
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

IdeficsCaptioner::IdeficsCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : IdeficsCaptioner(Parts(repository, device, dtype)) {}

IdeficsCaptioner::IdeficsCaptioner(Parts parts)
    : TokenCaptioner(std::move(parts.about), std::move(parts.tokenizer)),
      model_(std::move(parts.model)),
      preprocessing_(parts.preprocessing),
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

at::Tensor IdeficsCaptioner::image_states(std::span<const Reading> readings) const {
  const DistinctImages images = distinct_images(readings);
  const c10::Device device = model_->text.embed_tokens.weight.device();
  std::vector<at::Tensor> of_sets;
  for (const auto& set : images.sets) {
    std::vector<at::Tensor> pixels;
    for (const image::Image* image : set) pixels.push_back(image::preprocess(*image, preprocessing_));
    of_sets.push_back(model_->read_images(at::stack(pixels).unsqueeze(0).to(device)));
  }
  return at::cat(of_sets).index_select(0, at::tensor(images.rows).to(device));
}

// Each token sees the picture before it.
at::Tensor IdeficsCaptioner::seen(std::span<const Reading> readings) const {
  std::vector<at::Tensor> rows;
  for (const Reading& reading : readings) {
    std::vector<int64_t> row;
    int64_t last = -1;
    for (const int64_t id : reading.ids) row.push_back(id == image_token_ ? ++last : last);
    rows.push_back(at::tensor(row));
  }
  return at::stack(rows).to(model_->text.embed_tokens.weight.device());
}

namespace {

at::Tensor ids_of(std::span<const Reading> readings, c10::Device device) {
  std::vector<at::Tensor> rows;
  for (const Reading& reading : readings) rows.push_back(at::tensor(reading.ids));
  return at::stack(rows).to(device);
}

}  // namespace

std::vector<std::vector<Decoded>> IdeficsCaptioner::decode(std::span<const Reading> readings,
                                                           const DecodingOptions& options,
                                                           std::span<const Random> streams,
                                                           const TokenCallback& on_token) const {
  return decode_alike(readings, about().end_tokens, options, streams, on_token,
                      [&](std::span<const Reading> alike, int64_t max_length) {
                        const at::Tensor states = image_states(alike), seen_by = seen(alike);
                        const auto count = std::ssize(alike.front().images);
                        auto steps =
                            std::make_unique<IdeficsSteps>(*model_, model_->prepare(states, count, max_length));
                        const at::Tensor logits = steps->read(ids_of(alike, seen_by.device()), seen_by);
                        return StartedSteps{std::move(steps), logits};
                      });
}

at::Tensor IdeficsCaptioner::logits(std::span<const Reading> readings, int64_t known) const {
  const auto count = std::ssize(readings.front().images);
  const at::Tensor seen_by = seen(readings), ids = ids_of(readings, seen_by.device());
  models::IdeficsState state = model_->prepare(image_states(readings), count, ids.size(1));
  const at::Tensor hidden = model_->hidden_states(ids, seen_by, state);
  return model_->logits(hidden.slice(1, known - 1, -1)).to(at::kFloat);
}

}  // namespace readback::caption
