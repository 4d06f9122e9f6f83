#include "readback/caption/command_captioner.h"

#include "readback/base/error.h"
#include "readback/base/options_json.h"
#include "readback/base/random.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"

namespace readback::caption {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

std::string png(const image::Image& image) { return wire::to_base64(image::encode_png(image)); }

std::vector<Caption> to_captions(const json& answer, int64_t count) {
  std::vector<Caption> captions;
  for (const json& entry : answer.at("captions")) {
    Caption caption{.text = entry.at("text")};
    if (entry.contains("log_probability")) caption.log_probability = entry["log_probability"].get<double>();
    if (entry.contains("token_ids")) caption.token_ids = entry["token_ids"].get<std::vector<int64_t>>();
    captions.push_back(std::move(caption));
  }
  if (std::ssize(captions) != count) {
    throw DataError(describe("the program", std::to_string(count) + " captions", std::to_string(captions.size())));
  }
  return captions;
}

}  // namespace

CommandCaptioner::CommandCaptioner(const std::string& spec, double seconds) : spec_(spec), command_(spec, seconds) {
  const ordered_json hello = {{"role", "captioner"}};
  const Result<json> answer = command_.ask(std::span(&hello, 1), {}).front();
  if (!answer) throw NetworkError(describe(spec, "a captioner", answer.failure()));
  try {
    name_ = answer.value().at("name");
    can_.honours_seeds = answer.value().value("honours_seeds", false);
    can_.log_probabilities = answer.value().value("log_probabilities", false);
    can_.examples = answer.value().value("examples", false);
    options_from_json(answer.value().value("defaults", json::object()), defaults_, "defaults");
  } catch (const json::exception& error) {
    throw NetworkError(describe(spec, "what a captioner says of itself", error.what()));
  }
}

std::vector<Result<std::vector<Caption>>> CommandCaptioner::caption(std::span<const Request> requests,
                                                                    const DecodingOptions& asked,
                                                                    const Context& context) {
  const DecodingOptions options = resolve(asked, defaults_);
  std::vector<ordered_json> questions;
  for (const Request& request : requests) {
    DecodingOptions own = options;
    if (request.prompt) own.prompt = request.prompt;
    ordered_json question = {{"image", png(request.image)}, {"examples", ordered_json::array()}};
    for (const Part& part : request.examples) {
      const auto* image = std::get_if<image::Image>(&part);
      question["examples"].push_back(image ? ordered_json{{"image", png(*image)}} : ordered_json(std::get<1>(part)));
    }
    question["count"] = options.num_captions;
    for (int64_t i = 0; i < options.num_captions; ++i) {
      question["seeds"].push_back(
          derive_seed(options.seed, Purpose::kCaption, request.sample, static_cast<uint64_t>(request.candidate + i)) &
          0x7fffffff);
    }
    question["options"] = options_to_json(own, [](Scope scope) { return scope != Scope::kCall; });
    question["sample"] = request.sample;
    question["candidate"] = request.candidate;
    questions.push_back(std::move(question));
  }
  std::vector<Result<std::vector<Caption>>> results;
  for (const Result<json>& answer : command_.ask(questions, context)) {
    try {
      results.push_back(to_captions(answer.value(), options.num_captions));
    } catch (const DataError& error) {
      results.push_back(Failure{error.what()});
    } catch (const json::exception& error) {
      results.push_back(Failure{describe(name_, "captions", error.what())});
    }
  }
  return results;
}

}  // namespace readback::caption
