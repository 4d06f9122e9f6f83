#include "readback/caption/token_captioner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/machine.h"

namespace readback::caption {

Capabilities TokenCaptioner::capabilities() const {
  return {.log_probabilities = true,
          .text_probabilities = true,
          .token_ids = true,
          .honours_seeds = true,
          .concurrent = true,
          .max_prompt_tokens = about_.max_positions - 1,
          .best_batch = about_.batch_size};
}

std::vector<Result<std::vector<Caption>>> TokenCaptioner::caption(std::span<const Request> requests,
                                                                  const DecodingOptions& options,
                                                                  const Context& context) {
  const DecodingOptions resolved = resolve(options, defaults());
  std::vector<Reading> readings;
  for (const Request& request : requests) {
    readings.push_back(read(request, request.prompt ? *request.prompt : resolved.prompt.value()));
    const auto tokens = std::ssize(readings.back().ids);
    const DecodingOptions own = for_prompt(resolved, tokens);
    if (own.max_length.value() > about_.max_positions) {
      throw UsageError(
          describe(resolved.max_new_tokens ? "max_new_tokens" : "max_length",
                   fmt::format("at most the model's {} positions{}", about_.max_positions,
                               resolved.max_new_tokens ? fmt::format(", {} of them the prompt's", tokens) : ""),
                   std::to_string(resolved.max_new_tokens.value_or(*own.max_length))));
    }
    check(own, tokens);
  }
  std::vector<Result<std::vector<Caption>>> results;
  const auto batch_size = static_cast<size_t>(about_.batch_size);
  for (size_t begin = 0; begin < requests.size(); begin += batch_size) {
    context.check();
    const size_t count = std::min(requests.size() - begin, batch_size);
    for (auto& result :
         caption_batch(requests.subspan(begin, count), std::span(readings).subspan(begin, count), resolved, context)) {
      results.push_back(std::move(result));
    }
  }
  return results;
}

std::vector<Result<std::vector<Caption>>> TokenCaptioner::caption_batch(std::span<const Request> requests,
                                                                        std::span<const Reading> readings,
                                                                        const DecodingOptions& options,
                                                                        const Context& context) const {
  try {
    std::vector<Result<std::vector<Caption>>> results;
    for (auto& captions : on_engine([&] { return decode_batch(requests, readings, options, context); })) {
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
    results.push_back(std::move(caption_batch(requests.subspan(i, 1), readings.subspan(i, 1), options, context)[0]));
  }
  return results;
}

std::vector<std::vector<Caption>> TokenCaptioner::decode_batch(std::span<const Request> requests,
                                                               std::span<const Reading> readings,
                                                               const DecodingOptions& options,
                                                               const Context& context) const {
  const c10::InferenceMode no_gradients;
  std::vector<Random> streams;
  for (const Request& request : requests) {
    for (int64_t k = 0; k < options.num_captions; ++k) {
      streams.emplace_back(options.seed, Purpose::kCaption, request.sample,
                           static_cast<uint64_t>(request.candidate + k));
    }
  }
  const auto text_of = [&](size_t request, const std::vector<int64_t>& ids) {
    return text(ids, std::ssize(readings[request].ids));
  };
  const TokenCallback on_token = [&](int64_t group, int64_t candidate, const std::vector<int64_t>& ids) {
    context.check();
    if (Observer* const observer = context.observer()) {
      const auto place = static_cast<size_t>(group);
      observer->on_token({requests[place].sample, requests[place].candidate + candidate, text_of(place, ids)});
    }
  };
  std::vector<std::vector<Caption>> result;
  for (std::vector<Decoded>& candidates : decode(readings, options, streams, on_token)) {
    result.emplace_back();
    for (Decoded& decoded : candidates) {
      std::string caption = text_of(result.size() - 1, decoded.token_ids);
      result.back().push_back({std::move(caption), std::move(decoded.token_ids), decoded.log_probability});
    }
  }
  return result;
}

std::string TokenCaptioner::text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const {
  std::string text = tokenizer_->decode({ids.begin() + prompt_tokens, ids.end()});
  text.erase(0, std::min(text.find_first_not_of(" \n"), text.size()));
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::vector<Result<TextProbability>> TokenCaptioner::text_probabilities(std::span<const image::Image* const> images,
                                                                        std::span<const std::string> texts,
                                                                        const Context& context) {
  const std::string prompt = resolve({}, defaults()).prompt.value();
  std::vector<Result<TextProbability>> results(texts.size(), Failure{});
  struct Part {
    size_t place;
    Reading reading;
  };
  std::map<std::pair<int64_t, size_t>, std::vector<Part>> alike;  // by tokens of the prompt and number of pictures
  for (size_t i = 0; i < texts.size(); ++i) {
    Request request;
    request.image.width = images[i]->width, request.image.height = images[i]->height;
    Reading reading = read(request, prompt);
    reading.images.back() = images[i];
    const auto known = std::ssize(reading.ids);
    for (const int64_t id : encode(texts[i])) reading.ids.push_back(id);
    reading.ids.push_back(about_.end_tokens.front());
    if (std::ssize(reading.ids) > about_.max_positions) {
      results[i] = Failure{describe("probability of a text",
                                    fmt::format("at most {} tokens with the prompt's", about_.max_positions),
                                    std::to_string(reading.ids.size()))};
      continue;
    }
    alike[{known, reading.images.size()}].push_back({i, std::move(reading)});
  }
  for (const auto& group : alike) {
    const int64_t known = group.first.first;
    const std::vector<Part>& parts = group.second;
    in_parts_that_fit(
        std::ssize(parts), about_.batch_size,
        [&](int64_t begin, int64_t end) {
          context.check();
          std::vector<Reading> readings;
          for (int64_t i = begin; i < end; ++i) readings.push_back(parts[static_cast<size_t>(i)].reading);
          const std::vector<TextProbability> values = score(std::move(readings), known);
          for (size_t i = 0; i < values.size(); ++i) results[parts[static_cast<size_t>(begin) + i].place] = values[i];
        },
        context);
  }
  return results;
}

std::vector<TextProbability> TokenCaptioner::score(std::vector<Reading> readings, int64_t known) const {
  const c10::InferenceMode no_gradients;
  size_t longest = 0;
  for (const Reading& reading : readings) longest = std::max(longest, reading.ids.size());
  std::vector<int64_t> lengths;
  at::Tensor labels = at::zeros({std::ssize(readings), static_cast<int64_t>(longest) - known}, at::kLong);
  for (size_t s = 0; s < readings.size(); ++s) {
    std::vector<int64_t>& ids = readings[s].ids;
    lengths.push_back(std::ssize(ids) - known);
    // What follows a text's end cannot change what precedes it.
    ids.resize(longest, ids.back());
    std::copy(ids.begin() + known, ids.end(), labels[static_cast<int64_t>(s)].data_ptr<int64_t>());
  }
  const at::Tensor scores = at::log_softmax(logits(readings, known), 2);
  const at::Tensor chosen =
      scores.gather(2, labels.to(scores.device()).unsqueeze(2)).squeeze(2).to(at::kCPU, at::kDouble);
  std::vector<TextProbability> result;
  for (size_t s = 0; s < readings.size(); ++s) {
    result.push_back({chosen[static_cast<int64_t>(s)].narrow(0, 0, lengths[s]).sum().item<double>(), lengths[s]});
  }
  return result;
}

void refuse_examples(const Request& request, const std::string& description) {
  if (request.examples.empty()) return;
  throw UsageError(describe(description, "a picture alone", "examples before it", "It is no few-shot captioner"));
}

std::vector<Shot> shots(const Request& request) {
  std::vector<Shot> result;
  for (const Part& part : request.examples) {
    const auto* const image = std::get_if<image::Image>(&part);
    if ((result.empty() || !result.back().text.empty()) != (image != nullptr)) {
      throw UsageError(describe("examples", "pictures, each with its text behind it",
                                image ? "a picture behind a picture" : "a text without a picture"));
    }
    if (image) {
      result.push_back({image, ""});
    } else {
      result.back().text = std::get<std::string>(part);
    }
  }
  if (!result.empty() && result.back().text.empty()) {
    throw UsageError(describe("examples", "pictures, each with its text behind it", "a last picture without one"));
  }
  return result;
}

std::vector<int64_t> end_tokens(const checkpoint::Repository& repository) {
  nlohmann::json ids;
  if (repository.has("generation_config.json")) {
    const nlohmann::json config = repository.json("generation_config.json");
    if (config.contains("eos_token_id")) ids = config["eos_token_id"];
  }
  const nlohmann::json config = repository.json();
  if (ids.is_null() && config.contains("eos_token_id")) ids = config["eos_token_id"];
  if (ids.is_null() && config.contains("text_config"))
    ids = config["text_config"].value("eos_token_id", nlohmann::json());
  if (ids.is_number_integer()) ids = nlohmann::json::array({ids});
  std::vector<int64_t> tokens;
  for (const nlohmann::json& id : ids) {
    if (id.is_number_integer()) tokens.push_back(id);
  }
  if (tokens.empty()) {
    throw CheckpointError(describe(repository.name(), "an eos_token_id in generation_config.json or config.json",
                                   ids.is_null() ? "none" : ids.dump()));
  }
  return tokens;
}

std::vector<std::vector<Decoded>> decode_alike(
    std::span<const Reading> readings, const std::vector<int64_t>& end_tokens, const DecodingOptions& options,
    std::span<const Random> streams, const TokenCallback& on_token,
    const std::function<StartedSteps(std::span<const Reading> readings, int64_t max_length)>& start) {
  std::map<std::tuple<size_t, size_t, size_t>, std::vector<size_t>> alike;
  for (size_t i = 0; i < readings.size(); ++i) {
    alike[{readings[i].ids.size(), readings[i].source_ids.size(), readings[i].images.size()}].push_back(i);
  }
  std::vector<std::vector<Decoded>> result(readings.size());
  for (const auto& group : alike) {
    const std::vector<size_t>& places = group.second;
    std::vector<Reading> own;
    std::vector<Random> own_streams;
    std::vector<std::vector<int64_t>> prompts;
    for (const size_t place : places) {
      own.push_back(readings[place]);
      prompts.push_back(readings[place].ids);
      if (!options.do_sample) continue;
      const auto some =
          streams.subspan(place * static_cast<size_t>(options.num_captions), static_cast<size_t>(options.num_captions));
      own_streams.insert(own_streams.end(), some.begin(), some.end());
    }
    const DecodingOptions lengths = for_prompt(options, std::ssize(prompts.front()));
    const StartedSteps started = start(own, *lengths.max_length);
    TokenCallback on_own_token;
    if (on_token) {
      on_own_token = [&](int64_t g, int64_t candidate, const std::vector<int64_t>& tokens) {
        on_token(static_cast<int64_t>(places[static_cast<size_t>(g)]), candidate, tokens);
      };
    }
    auto decoded =
        decode(*started.steps, {std::move(prompts), started.logits, end_tokens}, lengths, own_streams, on_own_token);
    for (size_t i = 0; i < places.size(); ++i) result[places[i]] = std::move(decoded[i]);
  }
  return result;
}

DistinctImages distinct_images(std::span<const Reading> readings) {
  DistinctImages result;
  for (const Reading& reading : readings) {
    if (result.sets.empty() || result.sets.back() != reading.images) result.sets.push_back(reading.images);
    result.rows.push_back(std::ssize(result.sets) - 1);
  }
  return result;
}

}  // namespace readback::caption
