#include "readback/roundtrip/shared_models.h"

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/options_json.h"

// Messages are CBOR, where pictures are bytes and numbers are exact.
namespace readback::image {

static void to_json(nlohmann::json& json, const Image& image) {
  json = {{"width", image.width}, {"height", image.height}, {"pixels", nlohmann::json::binary(image.pixels)}};
}

static void from_json(const nlohmann::json& json, Image& image) {
  json.at("width").get_to(image.width);
  json.at("height").get_to(image.height);
  image.pixels = json.at("pixels").get_binary();
}

}  // namespace readback::image

namespace readback {

namespace {

// An absent value is an absent key.
template <typename Value>
void put(nlohmann::json& json, const char* key, const std::optional<Value>& value) {
  if (value) json[key] = *value;
}
template <typename Value>
void get(const nlohmann::json& json, const char* key, std::optional<Value>& value) {
  if (json.contains(key)) value = json[key].get<Value>();
}

}  // namespace

template <typename Value>
static void to_json(nlohmann::json& json, const Result<Value>& result) {
  json = result.ok() ? nlohmann::json{{"value", result.value()}} : nlohmann::json{{"failure", result.failure()}};
}

}  // namespace readback

namespace readback::caption {

static void to_json(nlohmann::json& json, const Request& request) {
  json = {{"image", request.image}, {"sample", request.sample}, {"candidate", request.candidate}};
  put(json, "prompt", request.prompt);
  for (const Part& part : request.examples) {
    std::visit([&](const auto& value) { json["examples"].push_back(value); }, part);
  }
}

static void from_json(const nlohmann::json& json, Request& request) {
  json.at("image").get_to(request.image);
  json.at("sample").get_to(request.sample);
  json.at("candidate").get_to(request.candidate);
  get(json, "prompt", request.prompt);
  for (const nlohmann::json& part : json.value("examples", nlohmann::json::array())) {
    if (part.is_string()) {
      request.examples.emplace_back(part.get<std::string>());
    } else {
      request.examples.emplace_back(part.get<image::Image>());
    }
  }
}

static void to_json(nlohmann::json& json, const Caption& caption) {
  json = {{"text", caption.text}};
  put(json, "token_ids", caption.token_ids);
  put(json, "log_probability", caption.log_probability);
}

static void from_json(const nlohmann::json& json, Caption& caption) {
  json.at("text").get_to(caption.text);
  get(json, "token_ids", caption.token_ids);
  get(json, "log_probability", caption.log_probability);
}

}  // namespace readback::caption

namespace readback::generate {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Latents, shape, values)

static void to_json(nlohmann::json& json, const Request& request) {
  json = {{"prompt", request.prompt},
          {"sample", request.sample},
          {"candidate", request.candidate},
          {"latents", request.latents}};
  put(json, "picture", request.picture);
}

static void from_json(const nlohmann::json& json, Request& request) {
  json.at("prompt").get_to(request.prompt);
  json.at("sample").get_to(request.sample);
  json.at("candidate").get_to(request.candidate);
  json.at("latents").get_to(request.latents);
  get(json, "picture", request.picture);
}

static void to_json(nlohmann::json& json, const Picture& picture) {
  json = {{"image", picture.image},
          {"latents", picture.latents},
          {"flagged", picture.flagged},
          {"truncated_tokens", picture.truncated_tokens}};
  put(json, "seed", picture.seed);
}

static void from_json(const nlohmann::json& json, Picture& picture) {
  json.at("image").get_to(picture.image);
  json.at("latents").get_to(picture.latents);
  json.at("flagged").get_to(picture.flagged);
  json.at("truncated_tokens").get_to(picture.truncated_tokens);
  get(json, "seed", picture.seed);
}

}  // namespace readback::generate

namespace readback::roundtrip {

using nlohmann::json;

namespace {

std::string packed(const json& message) {
  std::string bytes;
  json::to_cbor(message, bytes);
  return bytes;
}

// An error's class and message, to be thrown again elsewhere. Every class that a call may throw.
json error_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Interrupted& error) {
    return {{"kind", "interrupted"}, {"error", error.what()}};
  } catch (const UsageError& error) {
    return {{"kind", "usage"}, {"error", error.what()}};
  } catch (const CheckpointError& error) {
    return {{"kind", "checkpoint"}, {"error", error.what()}};
  } catch (const DataError& error) {
    return {{"kind", "data"}, {"error", error.what()}};
  } catch (const OutOfMemory& error) {
    return {{"kind", "memory"}, {"error", error.what()}};
  } catch (const NetworkError& error) {
    return {{"kind", "network"}, {"error", error.what()}};
  } catch (const std::exception& error) {
    return {{"kind", "engine"}, {"error", error.what()}};
  }
}

void expect_results(const json& answer) {
  if (!answer.contains("error")) return;
  const std::string message = answer["error"], kind = answer["kind"];
  if (kind == "interrupted") throw Interrupted(message);
  if (kind == "usage") throw UsageError(message);
  if (kind == "checkpoint") throw CheckpointError(message);
  if (kind == "data") throw DataError(message);
  if (kind == "memory") throw OutOfMemory(message);
  if (kind == "network") throw NetworkError(message);
  throw EngineError(message);
}

template <typename Value>
Result<Value> result_of(const json& result) {
  if (result.contains("failure")) return Failure{result["failure"]};
  return result.at("value").get<Value>();
}

// `compute` on the first share of the requests, while the other ranks are at theirs.
template <typename Value, typename Request, typename Options, typename Compute>
std::vector<Result<Value>> split(const Ranks& ranks, const char* model, std::span<const Request> requests,
                                 const Options& options, Compute&& compute) {
  const auto size = static_cast<size_t>(ranks.size()), count = requests.size(), share = (count + size - 1) / size;
  const auto part = [&](size_t rank) {
    const size_t first = std::min(rank * share, count);
    return requests.subspan(first, std::min(share, count - first));
  };
  std::vector<std::string> messages = {""};
  for (size_t rank = 1; rank < size; ++rank) {
    const std::vector<Request> others(part(rank).begin(), part(rank).end());
    messages.push_back(packed({{"model", model}, {"requests", others}, {"options", options_to_json(options)}}));
  }
  ranks.scatter(messages);
  std::vector<Result<Value>> results;
  std::exception_ptr failure;
  try {
    results = compute(part(0));
  } catch (...) {
    failure = std::current_exception();  // not before the others' answers have been taken
  }
  std::vector<json> answers;
  for (const std::string& answer : ranks.gather("")) {
    if (!answer.empty()) answers.push_back(json::from_cbor(answer));
  }
  if (failure) std::rethrow_exception(failure);
  for (const json& answer : answers) {
    expect_results(answer);
    for (const json& result : answer.at("results")) results.push_back(result_of<Value>(result));
  }
  return results;
}

class SharedCaptioner : public caption::Captioner {
 public:
  SharedCaptioner(const Ranks& ranks, caption::Captioner& own) : ranks_(ranks), own_(own) {}
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context& context) override {
    return split<std::vector<caption::Caption>>(ranks_, "captioner", requests, options,
                                                [&](auto own) { return own_.caption(own, options, context); });
  }
  // By rank 0 alone.
  std::vector<Result<caption::TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                                   std::span<const std::string> texts,
                                                                   const Context& context) override {
    return own_.text_probabilities(images, texts, context);
  }
  std::vector<Result<double>> answer_probabilities(std::span<const image::Image* const> images,
                                                   std::span<const std::string> questions, const std::string& answer,
                                                   const Context& context) override {
    return own_.answer_probabilities(images, questions, answer, context);
  }
  std::string description() const override { return own_.description(); }
  std::string identity() const override { return own_.identity(); }
  caption::Capabilities capabilities() const override { return own_.capabilities(); }
  caption::DecodingOptions defaults() const override { return own_.defaults(); }
  std::string estimate(int64_t images, int64_t captions) const override { return own_.estimate(images, captions); }
  std::string account() const override { return own_.account(); }

 private:
  Ranks ranks_;
  caption::Captioner& own_;
};

class SharedGenerator : public generate::Generator {
 public:
  SharedGenerator(const Ranks& ranks, generate::Generator& own) : ranks_(ranks), own_(own) {}
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options,
                                                  const Context& context) override {
    return split<generate::Picture>(ranks_, "generator", requests, options,
                                    [&](auto own) { return own_.generate(own, options, context); });
  }
  // By rank 0 alone.
  std::vector<Result<double>> denoising_errors(std::span<const image::Image* const> images,
                                               std::span<const std::string> prompts, const Context& context) override {
    return own_.denoising_errors(images, prompts, context);
  }
  std::string description() const override { return own_.description(); }
  std::string identity() const override { return own_.identity(); }
  generate::Capabilities capabilities() const override { return own_.capabilities(); }
  generate::GenerationOptions defaults() const override { return own_.defaults(); }
  std::string defaults_rule() const override { return own_.defaults_rule(); }
  std::string estimate(int64_t pictures) const override { return own_.estimate(pictures); }
  std::string account() const override { return own_.account(); }

 private:
  Ranks ranks_;
  generate::Generator& own_;
};

template <typename Options>
Options options_of(const json& message) {
  Options options;
  options_from_json(message.at("options"), options);
  return options;
}

json answer_to(const json& message, caption::Captioner& captioner, generate::Generator& generator,
               const Context& context) {
  json results = json::array();
  try {
    context.check();
    if (message.at("requests").empty()) return {{"results", results}};
    if (message.at("model") == "captioner") {
      for (const auto& result : captioner.caption(message["requests"].get<std::vector<caption::Request>>(),
                                                  options_of<caption::DecodingOptions>(message), context)) {
        results.push_back(result);
      }
    } else {
      for (const auto& result : generator.generate(message["requests"].get<std::vector<generate::Request>>(),
                                                   options_of<generate::GenerationOptions>(message), context)) {
        results.push_back(result);
      }
    }
  } catch (...) {
    return error_of(std::current_exception());
  }
  return {{"results", results}};
}

}  // namespace

SharedModels::SharedModels(const Ranks& ranks, caption::Captioner& captioner, generate::Generator& generator)
    : ranks_(ranks),
      captioner_(std::make_unique<SharedCaptioner>(ranks, captioner)),
      generator_(std::make_unique<SharedGenerator>(ranks, generator)) {}

SharedModels::~SharedModels() {
  try {
    ranks_.scatter(std::vector<std::string>(static_cast<size_t>(ranks_.size())));
  } catch (const RankError&) {
    // A rank that has died need not be let go; the others learn of it by themselves.
  }
}

void serve_models(const Ranks& ranks, caption::Captioner& captioner, generate::Generator& generator,
                  const Context& context) {
  for (std::string message = ranks.scatter({}); !message.empty(); message = ranks.scatter({})) {
    ranks.gather(packed(answer_to(json::from_cbor(message), captioner, generator, context)));
  }
}

}  // namespace readback::roundtrip
