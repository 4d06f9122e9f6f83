#include "readback/caption/blip_captioner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/machine.h"

namespace readback::caption {

namespace {

// A decoder that has read the images and the prompt.
class BlipSteps final : public StepModel {
 public:
  BlipSteps(const models::BlipTextDecoder& decoder, models::BlipState state)
      : decoder_(decoder), state_(std::move(state)) {}

  // Logits after each image's prompt, float32 [B, V]; the prompts are equally long.
  at::Tensor read_prompts(const std::vector<std::vector<int64_t>>& prompts) {
    std::vector<at::Tensor> ids;
    for (const std::vector<int64_t>& prompt : prompts) ids.push_back(at::tensor(prompt));
    return run(at::stack(ids));
  }

  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    models::select(state_, indices(groups, state_.front().image_key.size(0)),
                   indices(sources, state_.front().key.size(0)));
  }

  at::Tensor step(const std::vector<int64_t>& tokens) override { return run(at::tensor(tokens).unsqueeze(1)); }

 private:
  at::Tensor run(const at::Tensor& ids) {
    const at::Tensor hidden =
        decoder_.hidden_states(ids.to(state_.front().image_key.device()), state_, /*cache=*/true);  // [S, T, C]
    return decoder_.logits(hidden.select(1, -1)).to(at::kFloat);
  }

  // Undefined when it would change nothing.
  at::Tensor indices(const std::vector<int64_t>& wanted, int64_t count) const {
    std::vector<int64_t> all(static_cast<size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    return wanted == all ? at::Tensor() : at::tensor(wanted).to(state_.front().key.device());
  }

  const models::BlipTextDecoder& decoder_;
  models::BlipState state_;
};

BlipCaptioner::Parts load(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype) {
  const std::string where = (repository.path() / "config.json").string();
  checkpoint::ConfigReader config(repository.json(), where);
  const std::vector<std::string> wanted = {"BlipForConditionalGeneration"};
  const auto type = config.get<std::string>("model_type", "none");
  const auto architectures = config.get("architectures", wanted);
  if (type != "blip" || architectures != wanted) {
    throw CheckpointError(describe(where, "BlipForConditionalGeneration of model_type blip",
                                   fmt::format("{} of model_type {}", fmt::join(architectures, ", "), type),
                                   "A captioner is a repository like Salesforce/blip-image-captioning-base."));
  }
  const nn::Weights weights = nn::Weights(repository.tensors(), device, dtype, repository.name()).for_inference();
  BlipCaptioner::Parts parts;
  parts.model = std::make_shared<models::Blip>(models::BlipConfig::read(std::move(config)), weights);
  weights.finish();
  parts.tokenizer = text::load_bert_tokenizer(repository.path());
  parts.preprocessing = image::read_preprocess_options(repository);
  parts.description = fmt::format("BLIP {}, {}", repository.name(), dtype_name(dtype));
  parts.identity = repository.digest();
  return parts;
}

// Images whose keys and values of all layers fit into 256 MiB: enough that the decoder's weights, which every step
// reads from memory, are shared by many.
int64_t default_batch_size(const models::Blip& model) {
  const models::BlipTextConfig& text = model.config.text;
  const int64_t values = 2 * text.num_hidden_layers * model.vision_model.position_embedding.size(1) * text.hidden_size;
  const int64_t bytes = values * static_cast<int64_t>(model.vision_model.position_embedding.element_size());
  return std::clamp<int64_t>((int64_t{256} << 20) / bytes, 1, 64);
}

}  // namespace

std::vector<std::vector<Decoded>> decode(const models::Blip& model, const at::Tensor& images,
                                         const std::vector<std::vector<int64_t>>& prompts,
                                         const DecodingOptions& options, std::span<const Random> streams,
                                         const TokenCallback& on_token) {
  const c10::InferenceMode no_gradients;
  std::map<size_t, std::vector<size_t>> images_by_length;  // BLIP's positions begin with the prompt
  for (size_t i = 0; i < prompts.size(); ++i) images_by_length[prompts[i].size()].push_back(i);
  std::vector<std::vector<Decoded>> result(prompts.size());
  for (const auto& [length, group_places] : images_by_length) {
    const std::vector<size_t>& places = group_places;
    std::vector<int64_t> rows;
    std::vector<std::vector<int64_t>> own_prompts;
    std::vector<Random> own_streams;
    for (const size_t place : places) {
      rows.push_back(static_cast<int64_t>(place));
      own_prompts.push_back(prompts[place]);
      if (!options.do_sample) continue;
      const auto own =
          streams.subspan(place * static_cast<size_t>(options.num_captions), static_cast<size_t>(options.num_captions));
      own_streams.insert(own_streams.end(), own.begin(), own.end());
    }
    const at::Tensor own_images =
        images_by_length.size() == 1 ? images : images.index_select(0, at::tensor(rows).to(images.device()));
    BlipSteps steps(model.text_decoder, model.text_decoder.prepare(own_images));
    const at::Tensor logits = steps.read_prompts(own_prompts);
    const DecodingStart start{std::move(own_prompts), logits, {model.config.text.sep_token_id}};
    TokenCallback on_own_token;
    if (on_token) {
      on_own_token = [&](int64_t group, int64_t candidate, const std::vector<int64_t>& tokens) {
        on_token(static_cast<int64_t>(places[static_cast<size_t>(group)]), candidate, tokens);
      };
    }
    auto decoded = decode(steps, start, options, own_streams, on_own_token);
    for (size_t i = 0; i < places.size(); ++i) result[places[i]] = std::move(decoded[i]);
  }
  return result;
}

std::vector<std::vector<Decoded>> decode(const models::Blip& model, const at::Tensor& images,
                                         const std::vector<int64_t>& prompt, const DecodingOptions& options,
                                         std::span<const Random> streams) {
  return decode(model, images, std::vector(static_cast<size_t>(images.size(0)), prompt), options, streams);
}

BlipCaptioner::BlipCaptioner(Parts parts) : parts_(std::move(parts)) {
  if (parts_.batch_size == 0) parts_.batch_size = default_batch_size(*parts_.model);
}

BlipCaptioner::BlipCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : BlipCaptioner(load(repository, device, dtype)) {}

Capabilities BlipCaptioner::capabilities() const {
  return {.log_probabilities = true,
          .text_probabilities = true,
          .token_ids = true,
          .honours_seeds = true,
          .concurrent = true,
          .max_prompt_tokens = parts_.model->config.text.max_position_embeddings - 1,
          .best_batch = parts_.batch_size};
}

DecodingOptions BlipCaptioner::defaults() const {
  return {.prompt = kBlipPrompt, .num_beams = 3, .max_length = 20, .min_length = 5, .top_p = 0.9};
}

// [CLS] gives way to the model's begin token, and the final [SEP] to what is to come.
std::vector<int64_t> BlipCaptioner::prompt_ids(const std::string& prompt) const {
  std::vector<int64_t> ids = {parts_.model->config.text.bos_token_id};
  for (const int64_t id : parts_.tokenizer->encode(prompt)) ids.push_back(id);
  return ids;
}

at::Tensor BlipCaptioner::read_images(std::span<const image::Image* const> images) const {
  const models::BlipVisionModel& vision = parts_.model->vision_model;
  // About a thousand patches at a time fill the machine, and more would only take memory.
  const size_t at_once = static_cast<size_t>(std::max<int64_t>(1, 1024 / vision.position_embedding.size(1)));
  std::vector<at::Tensor> embeds;
  for (size_t begin = 0; begin < images.size(); begin += at_once) {
    std::vector<at::Tensor> pixels;
    for (const image::Image* image : images.subspan(begin, std::min(at_once, images.size() - begin))) {
      pixels.push_back(image::preprocess(*image, parts_.preprocessing));
    }
    embeds.push_back(vision.forward(at::stack(pixels).to(vision.class_embedding.device())));  // [B, P, C]
  }
  return at::cat(embeds);
}

std::vector<Result<std::vector<Caption>>> BlipCaptioner::caption(std::span<const Request> requests,
                                                                 const DecodingOptions& options,
                                                                 const Context& context) {
  const DecodingOptions resolved = resolve(options, defaults());
  if (const int64_t positions = parts_.model->config.text.max_position_embeddings;
      resolved.max_length.value() > positions) {
    throw UsageError(describe("max_length", fmt::format("at most the model's {} positions", positions),
                              std::to_string(resolved.max_length.value())));
  }
  std::vector<std::vector<int64_t>> prompts;
  for (const Request& request : requests) {
    if (!request.examples.empty()) {
      throw UsageError(
          describe(description(), "a picture alone", "examples before it", "BLIP is no few-shot captioner"));
    }
    prompts.push_back(prompt_ids(request.prompt ? *request.prompt : resolved.prompt.value()));
    check(resolved, static_cast<int64_t>(prompts.back().size()));
  }
  std::vector<Result<std::vector<Caption>>> results;
  const auto batch_size = static_cast<size_t>(parts_.batch_size);
  for (size_t begin = 0; begin < requests.size(); begin += batch_size) {
    context.check();
    const size_t count = std::min(requests.size() - begin, batch_size);
    for (auto& result :
         caption_batch(requests.subspan(begin, count), std::span(prompts).subspan(begin, count), resolved, context)) {
      results.push_back(std::move(result));
    }
  }
  return results;
}

std::vector<Result<std::vector<Caption>>> BlipCaptioner::caption_batch(std::span<const Request> requests,
                                                                       std::span<const std::vector<int64_t>> prompts,
                                                                       const DecodingOptions& options,
                                                                       const Context& context) const {
  try {
    std::vector<Result<std::vector<Caption>>> results;
    for (auto& captions : on_engine([&] { return decode_batch(requests, prompts, options, context); })) {
      results.emplace_back(std::move(captions));
    }
    return results;
  } catch (const DataError& error) {
    if (requests.size() == 1) return {Failure{error.what()}};
  }
  // Something is wrong with one of them: each alone, so that it costs nobody else.
  std::vector<Result<std::vector<Caption>>> results;
  for (size_t i = 0; i < requests.size(); ++i) {
    context.check();
    results.push_back(std::move(caption_batch(requests.subspan(i, 1), prompts.subspan(i, 1), options, context)[0]));
  }
  return results;
}

std::vector<std::vector<Caption>> BlipCaptioner::decode_batch(std::span<const Request> requests,
                                                              std::span<const std::vector<int64_t>> prompts,
                                                              const DecodingOptions& options,
                                                              const Context& context) const {
  const c10::InferenceMode no_gradients;
  std::vector<const image::Image*> images;
  std::vector<Random> streams;
  std::vector<std::string> prompt_texts;
  for (size_t i = 0; i < requests.size(); ++i) {
    images.push_back(&requests[i].image);
    prompt_texts.push_back(parts_.tokenizer->decode(prompts[i]));
    for (int64_t k = 0; k < options.num_captions; ++k) {
      streams.emplace_back(options.seed, Purpose::kCaption, requests[i].sample,
                           static_cast<uint64_t>(requests[i].candidate + k));
    }
  }
  const auto text_of = [&](size_t request, const std::vector<int64_t>& token_ids) {
    std::string text = parts_.tokenizer->decode(token_ids);
    if (text.starts_with(prompt_texts[request]))
      text.erase(0, text.find_first_not_of(' ', prompt_texts[request].size()));
    return text;
  };
  const TokenCallback on_token = [&](int64_t group, int64_t candidate, const std::vector<int64_t>& token_ids) {
    context.check();
    if (Observer* const observer = context.observer()) {
      const Request& request = requests[static_cast<size_t>(group)];
      observer->on_token(
          {request.sample, request.candidate + candidate, text_of(static_cast<size_t>(group), token_ids)});
    }
  };
  std::vector<std::vector<Caption>> result;
  for (std::vector<Decoded>& candidates :
       decode(*parts_.model, read_images(images), std::vector(prompts.begin(), prompts.end()), options, streams,
              on_token)) {
    result.emplace_back();
    for (Decoded& decoded : candidates) {
      std::string text = text_of(result.size() - 1, decoded.token_ids);
      result.back().push_back({std::move(text), std::move(decoded.token_ids), decoded.log_probability});
    }
  }
  return result;
}

std::vector<Result<TextProbability>> BlipCaptioner::text_probabilities(std::span<const image::Image* const> images,
                                                                       std::span<const std::string> texts,
                                                                       const Context& context) {
  const models::BlipTextConfig& config = parts_.model->config.text;
  const std::vector<int64_t> prefix = prompt_ids(defaults().prompt.value());
  std::vector<Result<TextProbability>> results(texts.size(), Failure{});
  std::vector<size_t> places;  // of texts that the model can read
  std::vector<std::vector<int64_t>> sequences;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<int64_t> sequence = prefix;
    for (const int64_t id : parts_.tokenizer->encode(texts[i])) sequence.push_back(id);
    sequence.push_back(config.sep_token_id);
    if (static_cast<int64_t>(sequence.size()) > config.max_position_embeddings) {
      results[i] = Failure{describe("probability of a text",
                                    fmt::format("at most {} tokens with the prompt's", config.max_position_embeddings),
                                    std::to_string(sequence.size()))};
      continue;
    }
    places.push_back(i);
    sequences.push_back(std::move(sequence));
  }
  in_parts_that_fit(
      std::ssize(places), parts_.batch_size,
      [&](int64_t begin, int64_t end) {
        context.check();
        std::vector<const image::Image*> own;
        for (int64_t i = begin; i < end; ++i) own.push_back(images[places[static_cast<size_t>(i)]]);
        const auto values = probabilities(own, std::span(sequences).subspan(static_cast<size_t>(begin), own.size()),
                                          std::ssize(prefix));
        for (size_t i = 0; i < own.size(); ++i) results[places[static_cast<size_t>(begin) + i]] = values[i];
      },
      context);
  return results;
}

// `known`: how many tokens of each sequence are its prompt's.
std::vector<TextProbability> BlipCaptioner::probabilities(std::span<const image::Image* const> images,
                                                          std::span<const std::vector<int64_t>> sequences,
                                                          int64_t known) const {
  const c10::InferenceMode no_gradients;
  std::vector<const image::Image*> distinct;
  std::vector<int64_t> rows;  // of each sequence: its image's
  for (const image::Image* image : images) {
    if (distinct.empty() || distinct.back() != image) distinct.push_back(image);
    rows.push_back(std::ssize(distinct) - 1);
  }
  models::BlipState state = parts_.model->text_decoder.prepare(read_images(distinct));
  const c10::Device device = state.front().image_key.device();
  models::select(state, at::tensor(rows).to(device), {});

  // What follows a text's end cannot change what precedes it.
  const auto longest = std::ssize(*std::ranges::max_element(sequences, {}, &std::vector<int64_t>::size));
  at::Tensor ids = at::full({std::ssize(sequences), longest}, parts_.model->config.text.pad_token_id, at::kLong);
  for (size_t s = 0; s < sequences.size(); ++s) {
    std::ranges::copy(sequences[s], ids.data_ptr<int64_t>() + static_cast<int64_t>(s) * longest);
  }
  ids = ids.to(device);
  const at::Tensor hidden = parts_.model->text_decoder.hidden_states(ids, state, /*cache=*/false);
  const at::Tensor logits = parts_.model->text_decoder.logits(hidden.slice(1, known - 1, -1)).to(at::kFloat);
  const at::Tensor chosen = at::log_softmax(logits, 2).gather(2, ids.slice(1, known).unsqueeze(2)).squeeze(2);
  const at::Tensor on_cpu = chosen.to(at::kCPU, at::kDouble);  // [S, T - known]
  std::vector<TextProbability> result;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t tokens = std::ssize(sequences[s]) - known;
    result.push_back({on_cpu[static_cast<int64_t>(s)].narrow(0, 0, tokens).sum().item<double>(), tokens});
  }
  return result;
}

}  // namespace readback::caption
