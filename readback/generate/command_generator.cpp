#include "readback/generate/command_generator.h"

#include "readback/base/error.h"
#include "readback/base/options_json.h"
#include "readback/base/random.h"
#include "readback/image/codec.h"
#include "readback/wire/base64.h"

namespace readback::generate {

using nlohmann::json;
using nlohmann::ordered_json;

CommandGenerator::CommandGenerator(const std::string& spec, double seconds)
    : spec_(spec), command_(spec, seconds), can_{.own_defaults = true} {
  const ordered_json hello = {{"role", "generator"}};
  const Result<json> answer = command_.ask(std::span(&hello, 1), {}).front();
  if (!answer) throw NetworkError(describe(spec, "a generator", answer.failure()));
  try {
    name_ = answer.value().at("name");
    can_.honours_seeds = answer.value().value("honours_seeds", false);
  } catch (const json::exception& error) {
    throw NetworkError(describe(spec, "what a generator says of itself", error.what()));
  }
}

std::vector<Result<Picture>> CommandGenerator::generate(std::span<const Request> requests,
                                                        const GenerationOptions& options, const Context& context) {
  check_options(options);
  expect_drawable(requests, *this);
  if (options.latents_only)
    throw UsageError(describe("latents_only", "left away", "a value", "A program gives pictures"));
  std::vector<ordered_json> questions;
  std::vector<uint64_t> seeds;
  for (const Request& request : requests) {
    if (!request.latents.empty()) throw UsageError(describe(name_, "a request without latents", "one with them"));
    // What every program's numbers hold.
    seeds.push_back(
        derive_seed(options.seed, Purpose::kPictureSeed, request.sample, static_cast<uint64_t>(request.candidate)) &
        0x7fffffff);
    questions.push_back({{"prompt", request.prompt},
                         {"seed", seeds.back()},
                         {"options", options_to_json(options, [](Scope scope) { return scope != Scope::kCall; })},
                         {"sample", request.sample},
                         {"candidate", request.candidate}});
  }
  std::vector<Result<Picture>> results;
  for (const Result<json>& answer : command_.ask(questions, context)) {
    try {
      const std::optional<std::string> bytes = wire::from_base64(answer.value().at("image").get<std::string>());
      if (!bytes) throw DataError(describe(name_, "a picture in base64", "something else"));
      Picture picture{.image = image::decode(*bytes, name_, image::Alpha::kOnWhite)};
      if (can_.honours_seeds) picture.seed = seeds[results.size()];
      results.push_back(std::move(picture));
    } catch (const DataError& error) {
      results.push_back(Failure{error.what()});
    } catch (const json::exception& error) {
      results.push_back(Failure{describe(name_, "a picture", error.what())});
    }
  }
  return results;
}

}  // namespace readback::generate
