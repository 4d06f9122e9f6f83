#include "readback/roundtrip/shared_models.h"

#include <algorithm>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/context.h"

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

namespace readback::caption {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DecodingOptions, prompt, num_captions, num_beams, max_length, min_length,
                                   length_penalty, repetition_penalty, do_sample, top_p, top_k, temperature, seed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Request, image, sample, candidate)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Caption, text, token_ids, log_probability)

}  // namespace readback::caption

namespace readback::generate {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GenerationOptions, negative_prompt, num_inference_steps, guidance_scale, scheduler,
                                   height, width, seed, latents_only)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Request, prompt, sample, candidate)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Picture, image, seed, flagged, truncated_tokens)

}  // namespace readback::generate

namespace readback::roundtrip {

using nlohmann::json;

namespace {

std::string packed(const json& message) {
  std::string bytes;
  json::to_cbor(message, bytes);
  return bytes;
}

// Throws what another rank answered when it is an error.
void expect_results(const json& answer) {
  if (answer.at("interrupted")) {
    request_interrupt();
    context.check();
  }
  if (!answer.contains("error")) return;
  const std::string message = answer["error"], kind = answer["kind"];
  if (kind == "usage") throw UsageError(message);
  if (kind == "checkpoint") throw CheckpointError(message);
  throw DataError(message);
}

// `compute` on the first share of the requests, while the other ranks are at theirs.
template <typename Result, typename Request, typename Options, typename Compute>
std::vector<Result> split(const Ranks& ranks, const char* model, std::span<const Request> requests,
                          const Options& options, Compute&& compute) {
  const auto size = static_cast<size_t>(ranks.size()), count = requests.size(), share = (count + size - 1) / size;
  const auto part = [&](size_t rank) {
    const size_t first = std::min(rank * share, count);
    return requests.subspan(first, std::min(share, count - first));
  };
  std::vector<std::string> messages = {""};
  for (size_t rank = 1; rank < size; ++rank) {
    const std::vector<Request> others(part(rank).begin(), part(rank).end());
    messages.push_back(packed({{"model", model}, {"requests", others}, {"options", options}}));
  }
  ranks.scatter(messages);
  std::vector<Result> results;
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
    for (const json& result : answer.at("results")) results.push_back(result.get<Result>());
  }
  return results;
}

class SharedCaptioner : public caption::Captioner {
 public:
  SharedCaptioner(const Ranks& ranks, caption::Captioner& own) : ranks_(ranks), own_(own) {}
  std::vector<std::vector<caption::Caption>> caption(std::span<const caption::Request> requests,
                                                     const caption::DecodingOptions& options) override {
    return split<std::vector<caption::Caption>>(ranks_, "captioner", requests, options,
                                                [&](auto own) { return own_.caption(own, options); });
  }
  std::string description() const override { return own_.description(); }

 private:
  Ranks ranks_;
  caption::Captioner& own_;
};

class SharedGenerator : public generate::Generator {
 public:
  SharedGenerator(const Ranks& ranks, generate::Generator& own) : ranks_(ranks), own_(own) {}
  std::vector<generate::Picture> generate(std::span<const generate::Request> requests,
                                          const generate::GenerationOptions& options) override {
    return split<generate::Picture>(ranks_, "generator", requests, options,
                                    [&](auto own) { return own_.generate(own, options); });
  }
  std::string description() const override { return own_.description(); }

 private:
  Ranks ranks_;
  generate::Generator& own_;
};

json results_of(const json& message, caption::Captioner& captioner, generate::Generator& generator) {
  if (message.at("requests").empty()) return json::array();
  if (message.at("model") == "captioner") {
    return captioner.caption(message["requests"].get<std::vector<caption::Request>>(),
                             message.at("options").get<caption::DecodingOptions>());
  }
  return generator.generate(message["requests"].get<std::vector<generate::Request>>(),
                            message.at("options").get<generate::GenerationOptions>());
}

json answer_to(const json& message, caption::Captioner& captioner, generate::Generator& generator) {
  json answer;
  try {
    answer["results"] = results_of(message, captioner, generator);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const UsageError& error) {
    answer = {{"error", error.what()}, {"kind", "usage"}};
  } catch (const CheckpointError& error) {
    answer = {{"error", error.what()}, {"kind", "checkpoint"}};
  } catch (const std::exception& error) {
    answer = {{"error", error.what()}, {"kind", "data"}};
  }
  answer["interrupted"] = interrupt_requested();
  return answer;
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

void serve_models(const Ranks& ranks, caption::Captioner& captioner, generate::Generator& generator) {
  for (std::string message = ranks.scatter({}); !message.empty(); message = ranks.scatter({})) {
    ranks.gather(packed(answer_to(json::from_cbor(message), captioner, generator)));
  }
}

}  // namespace readback::roundtrip
