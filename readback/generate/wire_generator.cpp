#include "readback/generate/wire_generator.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"

namespace readback::generate {

using nlohmann::json;
using nlohmann::ordered_json;

struct WireProtocol {
  const char* name;
  const char* path;
  const char* models_path;  // what is served, see wire::JsonEndpoint
  ordered_json (*body)(const std::string& prompt, const GenerationOptions& options, uint64_t seed);
  std::string (*picture)(const json& answer);    // in base64
  std::string (*next)(const json& answer) = {};  // see wire::Question
};

namespace {

std::string size_of(const GenerationOptions& options) { return fmt::format("{}x{}", *options.width, *options.height); }

ordered_json openai_body(const std::string& prompt, const GenerationOptions& options, uint64_t seed) {
  ordered_json body = {{"prompt", prompt}, {"n", 1}, {"response_format", "b64_json"}, {"seed", seed}};
  if (options.width) body["size"] = size_of(options);
  if (!options.negative_prompt.empty()) body["negative_prompt"] = options.negative_prompt;
  if (options.num_inference_steps) body["num_inference_steps"] = *options.num_inference_steps;
  if (options.guidance_scale) body["guidance_scale"] = *options.guidance_scale;
  return body;
}

ordered_json sdapi_body(const std::string& prompt, const GenerationOptions& options, uint64_t seed) {
  ordered_json body = {{"prompt", prompt}, {"negative_prompt", options.negative_prompt}, {"seed", seed}};
  if (options.width) body["width"] = *options.width, body["height"] = *options.height;
  if (options.num_inference_steps) body["steps"] = *options.num_inference_steps;
  if (options.guidance_scale) body["cfg_scale"] = *options.guidance_scale;
  return body;
}

ordered_json sdcpp_body(const std::string& prompt, const GenerationOptions& options, uint64_t seed) {
  ordered_json body = {
      {"prompt", prompt}, {"negative_prompt", options.negative_prompt}, {"seed", seed}, {"output_format", "png"}};
  if (options.width) body["width"] = *options.width, body["height"] = *options.height;
  if (options.num_inference_steps) body["sample_params"]["sample_steps"] = *options.num_inference_steps;
  if (options.guidance_scale) body["sample_params"]["guidance"]["txt_cfg"] = *options.guidance_scale;
  return body;
}

// The job's address while it is at work.
std::string sdcpp_next(const json& answer) {
  const std::string status = answer.at("status"), id = answer.at("id");
  if (status == "queued" || status == "generating") return "/sdcpp/v1/jobs/" + id;
  if (status != "completed")
    throw DataError(describe("the job", "completed", status + ": " + answer.value("error", json()).dump()));
  return "";
}

constexpr WireProtocol kProtocols[] = {
    {"openai", "/images/generations", "/models", openai_body,
     [](const json& answer) -> std::string { return answer.at("data").at(0).at("b64_json"); }},
    {"sdapi", "/sdapi/v1/txt2img", "/sdapi/v1/options", sdapi_body,
     [](const json& answer) -> std::string { return answer.at("images").at(0); }},
    {"sdcpp", "/sdcpp/v1/img_gen", "/sdcpp/v1/capabilities", sdcpp_body,
     [](const json& answer) -> std::string { return answer.at("result").at("images").at(0).at("b64_json"); },
     sdcpp_next}};

const WireProtocol& protocol_of(const std::string& spec) {
  return *std::ranges::find(kProtocols, spec.substr(0, spec.find(':')), &WireProtocol::name);
}

// Errors: DataError for what is no whole picture.
image::Image picture_of(const WireProtocol& protocol, const json& answer) {
  std::string text = protocol.picture(answer);
  if (text.starts_with("data:")) text = text.substr(std::min(text.find(',') + 1, text.size()));
  const std::optional<std::string> bytes = wire::from_base64(text);
  if (!bytes) throw DataError(describe("the answer", "a picture in base64", "something else"));
  return image::decode(*bytes, "the answer", image::Alpha::kOnWhite);
}

void expect_known(const GenerationOptions& options) {
  const auto refuse = [](bool given, const char* name, const char* next) {
    if (given) throw UsageError(describe(name, "left away", "a value", next));
  };
  constexpr const char* kNone = "No server knows it";
  refuse(options.scheduler.has_value(), "scheduler", "It is the server's to choose: set it there");
  refuse(options.prior_num_inference_steps.has_value(), "prior_num_inference_steps", kNone);
  refuse(options.super_res_num_inference_steps.has_value(), "super_res_num_inference_steps", kNone);
  refuse(options.prior_guidance_scale.has_value(), "prior_guidance_scale", kNone);
  refuse(options.latents_only, "latents_only", "A server gives pictures alone");
  if (options.width.has_value() != options.height.has_value()) {
    throw UsageError(describe("height and width", "both or neither", "one of them", "The server's own is not known"));
  }
  check_options(options);
}

}  // namespace

WireGenerator::WireGenerator(const std::string& spec, const wire::WireOptions& options, bool asks)
    : protocol_(protocol_of(spec)),
      endpoint_(wire::parse_endpoint(spec), options,
                {{"n", ""},
                 {"seed", ""},
                 {"response_format", ""},
                 {"negative_prompt", ""},
                 {"num_inference_steps", ""},
                 {"guidance_scale", ""}},
                protocol_.models_path),
      price_(options.picture_price),
      can_{.own_defaults = true} {
  if (asks && price_ == 0) try_seeds();
}

std::string WireGenerator::description() const {
  const wire::Endpoint& where = endpoint_.client().endpoint();
  return (where.model.empty() ? "a generator" : where.model) + " at " + where.url;
}

wire::Question WireGenerator::question(const Request& request, const GenerationOptions& options) const {
  // What every server's numbers hold.
  const uint64_t seed =
      derive_seed(options.seed, Purpose::kPictureSeed, request.sample, static_cast<uint64_t>(request.candidate)) &
      0x7fffffff;
  wire::Question question{
      .path = protocol_.path, .body = protocol_.body(request.prompt, options, seed), .price = price_};
  question.check = [this](const json& answer) { picture_of(protocol_, answer); };
  if (protocol_.next != nullptr) question.next = protocol_.next;
  return question;
}

void WireGenerator::try_seeds() {
  const Request request{.prompt = "a red circle", .sample = "whether seeds are honoured"};
  wire::Question question = this->question(request, {.num_inference_steps = 1, .height = 64, .width = 64});
  std::vector<image::Image> pictures;
  for (question.repetition = 0; question.repetition < 2; ++question.repetition) {
    const auto answer = endpoint_.ask(std::span(&question, 1), {}).front();
    if (!answer) return;  // it draws no picture as small as that
    pictures.push_back(picture_of(protocol_, answer.value()));
  }
  can_.honours_seeds = !endpoint_.refuses("seed") && pictures[0] == pictures[1];
}

std::vector<Result<Picture>> WireGenerator::generate(std::span<const Request> requests,
                                                     const GenerationOptions& options, const Context& context) {
  expect_known(options);
  expect_drawable(requests, *this);
  std::vector<wire::Question> questions;
  for (const Request& request : requests) {
    if (!request.latents.empty()) {
      throw UsageError(describe(description(), "a request without latents", "one with them", "A server takes none"));
    }
    questions.push_back(question(request, options));
  }
  const auto answers = endpoint_.ask(questions, context);
  std::vector<Result<Picture>> results;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) {
      results.push_back(Failure{answers[i].failure()});
      continue;
    }
    Picture picture{.image = picture_of(protocol_, answers[i].value())};
    if (options.width && (picture.image.width != *options.width || picture.image.height != *options.height)) {
      results.push_back(Failure{describe(description(), "a picture of " + size_of(options),
                                         fmt::format("{}x{}", picture.image.width, picture.image.height),
                                         "It draws another size than it is asked for: leave height and width away")});
      continue;
    }
    if (can_.honours_seeds) picture.seed = questions[i].body.at("seed").get<uint64_t>();
    results.push_back(std::move(picture));
  }
  return results;
}

}  // namespace readback::generate
