#include "readback/caption/chat_captioner.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"

namespace readback::caption {

using nlohmann::json;
using nlohmann::ordered_json;

// A question to be: captions of one request from `first` on.
struct ChatCaptioner::Want {
  const Request* request = nullptr;
  int64_t first = 0, count = 1;  // candidates, counted from the request's own
};

namespace {

constexpr const char* kPath = "/chat/completions";

ordered_json text_part(const std::string& text) { return {{"type", "text"}, {"text", text}}; }

ordered_json image_part(const image::Image& image) {
  return {{"type", "image_url"},
          {"image_url", {{"url", "data:image/png;base64," + wire::to_base64(image::encode_png(image))}}}};
}

// The examples as a talk that went before: a picture with the prompt, and what was answered.
ordered_json messages(const Request& request, const std::string& prompt) {
  ordered_json result = ordered_json::array();
  const auto ask = [&](const image::Image& image) {
    ordered_json content = {image_part(image)};
    if (!prompt.empty()) content.push_back(text_part(prompt));
    result.push_back({{"role", "user"}, {"content", content}});
  };
  for (const Part& part : request.examples) {
    if (const auto* image = std::get_if<image::Image>(&part)) {
      ask(*image);
    } else {
      result.push_back({{"role", "assistant"}, {"content", std::get<std::string>(part)}});
    }
  }
  ask(request.image);
  return result;
}

// A word as it counts, however a tokenizer has it.
std::string lowered(std::string word) {
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::tolower(c); });
  return word;
}

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r\n";
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kBlank) + 1 - first);
}

void expect_choices(const json& answer) {
  if (answer.at("choices").empty()) throw DataError(describe("the answer", "choices", "none"));
  for (const json& choice : answer.at("choices")) {
    if (!choice.at("message").is_object()) throw DataError(describe("the answer", "a message", "none"));
  }
}

// Errors: DataError with the server's reason where it says nothing of the picture.
Caption to_caption(const json& choice) {
  const json& message = choice.at("message");
  Caption caption;
  const json content = message.value("content", json());
  if (content.is_string()) {
    caption.text = trimmed(content.get<std::string>());
  } else if (content.is_array()) {
    for (const json& part : content) caption.text += part.value("text", "");
    caption.text = trimmed(caption.text);
  } else {
    throw DataError(describe("the server", "a caption", message.value("refusal", json("nothing")).dump()));
  }
  if (choice.value("finish_reason", json()) == "content_filter") {
    throw DataError(describe("the server", "a caption", "one that its filter took away"));
  }
  if (const auto ids = choice.find("token_ids"); ids != choice.end() && ids->is_array()) {
    caption.token_ids = ids->get<std::vector<int64_t>>();
  }
  const json tokens = choice.value(json::json_pointer("/logprobs/content"), json());
  if (tokens.is_array() && !tokens.empty()) {
    caption.log_probability = 0;
    for (const json& token : tokens) *caption.log_probability += token.at("logprob").get<double>();
  }
  return caption;
}

std::vector<Caption> to_captions(const json& answer) {
  std::vector<Caption> captions;
  for (const json& choice : answer.at("choices")) captions.push_back(to_caption(choice));
  return captions;
}

// Of the first token's alternatives those that are the answer, whatever their case and blanks. Errors: DataError where
// the server lists none.
double answer_probability(const json& answer, const std::string& word) {
  const json tokens = answer.at("choices").at(0).value(json::json_pointer("/logprobs/content"), json());
  const json alternatives =
      tokens.is_array() && !tokens.empty() ? tokens[0].value("top_logprobs", json::array()) : json::array();
  if (alternatives.empty()) {
    throw DataError(describe("the server", "log-probabilities of the first token's alternatives", "none",
                             "Ask a server that knows logprobs and top_logprobs"));
  }
  double sum = 0;
  for (const json& alternative : alternatives) {
    if (lowered(trimmed(alternative.at("token"))) == lowered(word)) {
      sum += std::exp(alternative.at("logprob").get<double>());
    }
  }
  return std::min(sum, 1.0);
}

}  // namespace

ChatCaptioner::ChatCaptioner(const std::string& spec, const wire::WireOptions& options, bool asks)
    : endpoint_(wire::parse_endpoint(spec), options,
                {{"n", ""},
                 {"seed", ""},
                 {"logprobs", ""},
                 {"top_logprobs", ""},
                 {"temperature", ""},
                 {"top_p", ""},
                 {"top_k", ""},
                 {"repetition_penalty", ""},
                 {"num_beams", ""},
                 {"length_penalty", ""},
                 {"min_tokens", ""},
                 {"max_tokens", "max_completion_tokens"}}),
      options_(options),
      can_{.examples = true} {
  if (asks) ask_what_it_knows();
}

std::string ChatCaptioner::description() const {
  const wire::Endpoint& where = endpoint_.client().endpoint();
  return (where.model.empty() ? "a captioner" : where.model) + " at " + where.url;
}

DecodingOptions ChatCaptioner::defaults() const {
  return {.prompt = "Describe the image in one sentence.", .max_new_tokens = 64, .min_new_tokens = 0};
}

std::string ChatCaptioner::estimate(int64_t images, int64_t captions) const {
  return endpoint_.client().estimate(knows_n_ ? images : images * captions,
                                     options_.caption_price * static_cast<double>(images * captions));
}

wire::Question ChatCaptioner::question(const Want& want, const DecodingOptions& options) const {
  const Request& request = *want.request;
  ordered_json body = {{"messages", messages(request, request.prompt.value_or(*options.prompt))},
                       {"max_tokens", *options.max_new_tokens},
                       {"logprobs", true}};
  if (want.count > 1) body["n"] = want.count;
  if (*options.min_new_tokens > 0) body["min_tokens"] = *options.min_new_tokens;
  if (*options.repetition_penalty != 1) body["repetition_penalty"] = *options.repetition_penalty;
  if (options.do_sample) {
    body["temperature"] = *options.temperature;
    if (*options.top_p < 1) body["top_p"] = *options.top_p;
    if (*options.top_k > 0) body["top_k"] = *options.top_k;
    // What every server's numbers hold.
    const auto candidate = static_cast<uint64_t>(request.candidate + want.first);
    body["seed"] = derive_seed(options.seed, Purpose::kCaption, request.sample, candidate) & 0x7fffffff;
  } else {
    body["temperature"] = 0;
    if (*options.num_beams > 1) {
      body["num_beams"] = *options.num_beams;
      body["length_penalty"] = *options.length_penalty;
    }
  }
  return {.path = kPath,
          .body = std::move(body),
          .price = options_.caption_price * static_cast<double>(want.count),
          .check = expect_choices};
}

// Whether it gives two captions when asked for two, the same ones when asked again, and how probable they are.
void ChatCaptioner::ask_what_it_knows() {
  Request request{.image = image::Image(32, 32)};
  Random random(0, Purpose::kTest, "what a captioner knows");
  for (uint8_t& value : request.image.pixels) value = static_cast<uint8_t>(random.below(256));
  DecodingOptions options = resolve({.max_new_tokens = 16, .do_sample = true}, defaults());
  wire::Question question = this->question({&request, 0, 2}, options);
  std::vector<std::vector<Caption>> answers;
  for (question.repetition = 0; question.repetition < 2; ++question.repetition) {
    const auto answer = endpoint_.ask(std::span(&question, 1), {}).front();
    if (!answer) throw NetworkError(answer.failure());
    answers.push_back(to_captions(answer.value()));
  }
  const auto same = [](const Caption& a, const Caption& b) { return a.text == b.text; };
  knows_n_ = answers[0].size() >= 2;
  can_.honours_seeds = !endpoint_.refuses("seed") && std::ranges::equal(answers[0], answers[1], same);
  can_.log_probabilities = can_.answers = answers[0].front().log_probability.has_value();
}

std::vector<Result<double>> ChatCaptioner::answer_probabilities(std::span<const image::Image* const> images,
                                                                std::span<const std::string> asked,
                                                                const std::string& answer, const Context& context) {
  constexpr int64_t kAlternatives = 20;  // the most that OpenAI's and vLLM's servers list
  std::vector<wire::Question> questions;
  for (size_t i = 0; i < images.size(); ++i) {
    questions.push_back({.path = kPath,
                         .body = {{"messages", messages({.image = *images[i]}, asked[i])},
                                  {"max_tokens", 1},
                                  {"temperature", 0},
                                  {"logprobs", true},
                                  {"top_logprobs", kAlternatives}},
                         .price = options_.caption_price,
                         .check = expect_choices});
  }
  std::vector<Result<double>> results;
  for (const auto& result : endpoint_.ask(questions, context)) {
    try {
      results.push_back(answer_probability(result.value(), answer));
    } catch (const DataError& error) {
      results.push_back(Failure{error.what()});
    }
  }
  return results;
}

std::vector<Result<std::vector<Caption>>> ChatCaptioner::caption(std::span<const Request> requests,
                                                                 const DecodingOptions& asked, const Context& context) {
  const DecodingOptions options = resolve(asked, defaults());
  if (!options.max_new_tokens || !options.min_new_tokens) {
    const bool most = !options.max_new_tokens;
    throw UsageError(describe(most ? "max_length" : "min_length", "left away", "a value",
                              "A server's prompt has unknown length: say it with " +
                                  std::string(most ? "max_new_tokens" : "min_new_tokens")));
  }
  const int64_t count = options.num_captions;
  const bool one_by_one = count > 1 && !knows_n_;
  if (one_by_one && !options.do_sample) {
    throw UsageError(describe("num_captions", "1 of a server that gives one caption at a time",
                              std::to_string(count) + " when searching", "Sample (do_sample)"));
  }
  std::vector<wire::Question> questions;
  for (const Request& request : requests) {
    for (int64_t i = 0; i < count; i += one_by_one ? 1 : count) {
      questions.push_back(question({&request, i, one_by_one ? 1 : count}, options));
    }
  }
  const auto answers = endpoint_.ask(questions, context);
  std::vector<Result<std::vector<Caption>>> results;
  for (size_t a = 0; a < answers.size();) {
    std::vector<Caption> captions;
    std::string failure;
    for (int64_t i = 0; i < count; i += one_by_one ? 1 : count, ++a) {
      try {
        for (Caption& caption : to_captions(answers[a].value())) captions.push_back(std::move(caption));
      } catch (const DataError& error) {
        failure = error.what();
      }
    }
    if (failure.empty() && std::ssize(captions) < count) {
      failure = describe(description(), std::to_string(count) + " captions", std::to_string(captions.size()));
    }
    if (!failure.empty()) {
      results.push_back(Failure{failure});
      continue;
    }
    captions.resize(static_cast<size_t>(count));
    results.push_back(std::move(captions));
  }
  return results;
}

}  // namespace readback::caption
