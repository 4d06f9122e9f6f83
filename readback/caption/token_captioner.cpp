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
  for (std::vector<Decoded>& candidates : decode_alike(see(readings), readings, options, streams, on_token)) {
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

Written TokenCaptioner::write(const std::string& text, int64_t width, int64_t height) const {
  Request request;
  request.image.width = width, request.image.height = height;
  Written written{read(request, resolve({}, defaults()).prompt.value())};
  written.reading.images.back() = nullptr;
  written.known = std::ssize(written.reading.ids);
  for (const int64_t id : encode(text)) written.reading.ids.push_back(id);
  written.reading.ids.push_back(about_.end_tokens.front());
  return written;
}

std::vector<Result<TextProbability>> TokenCaptioner::text_probabilities(std::span<const image::Image* const> images,
                                                                        std::span<const std::string> texts,
                                                                        const Context& context) {
  std::vector<Result<TextProbability>> results(texts.size(), Failure{});
  std::vector<Written> written;
  std::map<std::pair<int64_t, size_t>, std::vector<size_t>> alike;  // by tokens of the prompt and number of pictures
  for (size_t i = 0; i < texts.size(); ++i) {
    written.push_back(write(texts[i], images[i]->width, images[i]->height));
    Reading& reading = written.back().reading;
    reading.images.back() = images[i];
    if (std::ssize(reading.ids) > about_.max_positions) {
      results[i] = Failure{describe("probability of a text",
                                    fmt::format("at most {} tokens with the prompt's", about_.max_positions),
                                    std::to_string(reading.ids.size()))};
      continue;
    }
    alike[{written.back().known, reading.images.size()}].push_back(i);
  }
  for (const auto& group : alike) {
    const std::vector<size_t>& places = group.second;
    in_parts_that_fit(
        std::ssize(places), about_.batch_size,
        [&](int64_t begin, int64_t end) {
          context.check();
          std::vector<Written> part;
          for (int64_t i = begin; i < end; ++i) part.push_back(written[places[static_cast<size_t>(i)]]);
          const std::vector<TextProbability> values = score(part);
          for (size_t i = 0; i < values.size(); ++i) results[places[static_cast<size_t>(begin) + i]] = values[i];
        },
        context);
  }
  return results;
}

std::vector<TextProbability> TokenCaptioner::score(std::span<const Written> written) const {
  const c10::InferenceMode no_gradients;
  std::vector<Reading> readings;
  for (const Written& text : written) readings.push_back(text.reading);
  const Texts texts = texts_of(written);
  const at::Tensor labels = texts.ids.slice(1, texts.known.front());  // the prompts are equally long
  const at::Tensor scores = at::log_softmax(text_logits(see(readings), texts).slice(1, 0, -1).to(at::kFloat), 2);
  const at::Tensor chosen =
      scores.gather(2, labels.to(scores.device()).unsqueeze(2)).squeeze(2).to(at::kCPU, at::kDouble);
  std::vector<TextProbability> result;
  for (size_t s = 0; s < written.size(); ++s) {
    const int64_t length = std::ssize(written[s].reading.ids) - written[s].known;
    result.push_back({chosen[static_cast<int64_t>(s)].narrow(0, 0, length).sum().item<double>(), length});
  }
  return result;
}

// The image tokens of the readings' pictures. Lists of pictures that are equal and follow one another are read once.
Pictures TokenCaptioner::see(std::span<const Reading> readings) const {
  Pictures pictures;
  std::vector<const std::vector<const image::Image*>*> sets;
  for (const Reading& reading : readings) {
    if (sets.empty() || *sets.back() != reading.images) sets.push_back(&reading.images);
    pictures.rows.push_back(std::ssize(sets) - 1);
  }
  std::vector<at::Tensor> pixels, tokens;
  const auto read_pieces = [&] {
    tokens.push_back(image_tokens(patches(at::stack(pixels))));
    pixels.clear();
  };
  std::vector<int64_t> counts;
  for (const auto* const set : sets) {
    counts.push_back(0);
    for (const image::Image* const image : *set) {
      for (const image::Image& piece : pieces(*image)) {
        pixels.push_back(image::preprocess(piece, preprocessing_));
        ++counts.back();
        if (std::ssize(pixels) == about_.pieces_at_once) read_pieces();
      }
    }
  }
  if (!pixels.empty()) read_pieces();
  pictures.sets = at::cat(tokens).split_with_sizes(counts);
  return pictures;
}

Pictures TokenCaptioner::with_image_tokens(const Pictures& pictures) const {
  std::vector<int64_t> counts;
  for (const at::Tensor& set : pictures.sets) counts.push_back(set.size(0));
  return {image_tokens(at::cat(pictures.sets)).split_with_sizes(counts), pictures.rows};
}

at::Tensor TokenCaptioner::logits(const Pictures& pictures, const Texts& texts) const {
  return text_logits(with_image_tokens(pictures), texts);
}

std::vector<std::vector<Decoded>> TokenCaptioner::decode(const Pictures& pictures, std::span<const Reading> readings,
                                                         const DecodingOptions& options,
                                                         std::span<const Random> streams) const {
  const c10::InferenceMode no_gradients;
  return decode_alike(with_image_tokens(pictures), readings, options, streams, {});
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

// Readings of equally many tokens and pictures are decoded together. Results are in the readings' order; `streams` and
// `on_token` as decode() in decoding.h has them.
std::vector<std::vector<Decoded>> TokenCaptioner::decode_alike(const Pictures& pictures,
                                                               std::span<const Reading> readings,
                                                               const DecodingOptions& options,
                                                               std::span<const Random> streams,
                                                               const TokenCallback& on_token) const {
  std::map<std::tuple<size_t, size_t, int64_t>, std::vector<size_t>> alike;
  for (size_t i = 0; i < readings.size(); ++i) {
    const int64_t pieces = pictures.sets[static_cast<size_t>(pictures.rows[i])].size(0);
    alike[{readings[i].ids.size(), readings[i].source_ids.size(), pieces}].push_back(i);
  }
  std::vector<std::vector<Decoded>> result(readings.size());
  for (const auto& group : alike) {
    const std::vector<size_t>& places = group.second;
    Pictures own;
    std::vector<Written> prompts;
    std::vector<std::vector<int64_t>> ids;
    std::vector<Random> own_streams;
    int64_t last = -1;
    for (const size_t place : places) {
      if (pictures.rows[place] != last) own.sets.push_back(pictures.sets[static_cast<size_t>(pictures.rows[place])]);
      last = pictures.rows[place];
      own.rows.push_back(std::ssize(own.sets) - 1);
      prompts.push_back({readings[place], std::ssize(readings[place].ids)});
      ids.push_back(readings[place].ids);
      if (!options.do_sample) continue;
      const auto some =
          streams.subspan(place * static_cast<size_t>(options.num_captions), static_cast<size_t>(options.num_captions));
      own_streams.insert(own_streams.end(), some.begin(), some.end());
    }
    const DecodingOptions lengths = for_prompt(options, std::ssize(ids.front()));
    const Started started = start(own, texts_of(prompts), *lengths.max_length);
    TokenCallback on_own_token;
    if (on_token) {
      on_own_token = [&](int64_t g, int64_t candidate, const std::vector<int64_t>& tokens) {
        on_token(static_cast<int64_t>(places[static_cast<size_t>(g)]), candidate, tokens);
      };
    }
    auto decoded = caption::decode(*started.steps, {std::move(ids), started.logits, about_.end_tokens}, lengths,
                                   own_streams, on_own_token);
    for (size_t i = 0; i < places.size(); ++i) result[places[i]] = std::move(decoded[i]);
  }
  return result;
}

bool Pictures::side_by_side() const {
  const size_t each = sets.empty() ? 0 : rows.size() / sets.size();
  if (each == 0 || rows.size() != each * sets.size()) return false;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] != static_cast<int64_t>(i / each)) return false;
  }
  return true;
}

Texts texts_of(std::span<const Written> written) {
  size_t longest = 0;
  for (const Written& text : written) longest = std::max(longest, text.reading.ids.size());
  std::vector<at::Tensor> ids, source_ids;
  Texts texts;
  for (const Written& text : written) {
    std::vector<int64_t> row = text.reading.ids;
    row.resize(longest, row.back());
    ids.push_back(at::tensor(row));
    if (!text.reading.source_ids.empty()) source_ids.push_back(at::tensor(text.reading.source_ids));
    texts.known.push_back(text.known);
  }
  texts.ids = at::stack(ids);
  if (!source_ids.empty()) texts.source_ids = at::stack(source_ids);
  return texts;
}

int64_t pieces_at_once(int64_t patches) { return std::max<int64_t>(1, 1024 / patches); }

int64_t requests_at_once(int64_t values, const at::Tensor& weight) {
  return std::clamp<int64_t>((int64_t{256} << 20) / (values * static_cast<int64_t>(weight.element_size())), 1, 64);
}

at::Tensor asked(const at::Tensor& hidden, const Texts& texts) {
  const auto [least, most] = std::ranges::minmax(texts.known);
  if (least == most) return hidden.slice(1, least - 1);
  const at::Tensor before = at::tensor(texts.known).sub(1).unsqueeze(1);  // [S, 1]
  const at::Tensor places = (before + at::arange(hidden.size(1) - least + 1)).clamp_max(hidden.size(1) - 1);
  return hidden.gather(1, places.to(hidden.device()).unsqueeze(2).expand({-1, -1, hidden.size(2)}));
}

at::Tensor of_each_text(const Pictures& pictures) {
  std::vector<at::Tensor> sets;
  for (const at::Tensor& set : pictures.sets) sets.push_back(set.flatten(0, 1));
  const at::Tensor all = at::stack(sets);
  if (pictures.side_by_side() && pictures.rows.size() == pictures.sets.size()) return all;
  return all.index_select(0, at::tensor(pictures.rows).to(all.device()));
}

}  // namespace readback::caption
