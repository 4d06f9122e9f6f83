// The interface that roundtrip/ knows: prompts in, candidate pictures out.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/base/result.h"
#include "readback/generate/schedulers/table.h"
#include "readback/image/image.h"

namespace readback::generate {

// Names and meaning as in diffusers' pipelines. What is left open is the backend's to say (Generator::defaults).
struct GenerationOptions {
  std::string negative_prompt;
  std::optional<int64_t> num_inference_steps;
  std::optional<double> guidance_scale;
  std::optional<std::string> scheduler;
  std::optional<int64_t> height, width;
  std::optional<int64_t> prior_num_inference_steps, super_res_num_inference_steps;
  std::optional<double> prior_guidance_scale;
  uint64_t seed = 0;
  bool latents_only = false;

  static constexpr auto options() {
    using O = GenerationOptions;
    return std::tuple(
        option(&O::negative_prompt, "negative_prompt", "What the picture should not show"),
        option(&O::num_inference_steps, "num_inference_steps", "Denoising steps", at_least(1)),
        option(&O::guidance_scale, "guidance_scale", "How much the text counts; 1 or less: no guidance"),
        option(&O::scheduler, "scheduler", kSchedulerNames.text), option(&O::height, "height", "Pixels", at_least(1)),
        option(&O::width, "width", "Pixels", at_least(1)),
        option(&O::prior_num_inference_steps, "prior_num_inference_steps",
               "Steps from a text to an image's embedding, of unCLIP", at_least(2)),
        option(&O::super_res_num_inference_steps, "super_res_num_inference_steps",
               "Steps of super-resolution, of unCLIP", at_least(2)),
        option(&O::prior_guidance_scale, "prior_guidance_scale",
               "guidance_scale of the steps to an image's embedding, of unCLIP"),
        option(&O::seed, "seed", "Of the random streams", Scope::kCall),
        option(&O::latents_only, "latents_only", "Keep the final latents, decode no picture", Scope::kCall));
  }
};

// A generator's inner picture, row by row.
struct Latents {
  std::vector<int64_t> shape;  // channels, height, width
  std::vector<float> values;
  bool empty() const { return values.empty(); }
};

struct Request {
  std::string prompt;
  std::string sample;     // key of the random stream
  int64_t candidate = 0;  // noise comes from stream (seed, sample, candidate)
  Latents latents;        // optional initial noise; drawn from the seed when empty
  // To be drawn anew from its embedding, without words: the prompt is then empty. Only with Capabilities::variations.
  std::optional<image::Image> picture = {};
};

struct Picture {
  image::Image image;            // empty with latents_only
  Latents latents;               // the final ones, of generators that have any
  std::optional<uint64_t> seed;  // of this candidate's noise; none when seeds are not honoured
  bool flagged = false;          // by the safety checker; the image is then black, as in diffusers
  int64_t truncated_tokens = 0;  // how many prompt tokens did not fit the text encoder
};

// What a generator can do. The defaults promise nothing.
struct Capabilities {
  bool honours_seeds = false;     // equal seed, sample and candidate give equal pictures
  bool denoising_errors = false;  // of any picture, given any text
  bool latents = false;           // Request::latents, Picture::latents and latents_only
  bool prompts = true;            // texts; a generator that only varies pictures reads none
  bool variations = false;        // Request::picture
  bool own_defaults = false;      // what is left open stays open: it has defaults and does not tell them
  bool concurrent = false;        // generate() may be called by several threads at once
  int64_t max_prompt_tokens = 0;  // 0: no limit that is known
  int64_t best_batch = 0;         // requests of a call beyond which it gains nothing; 0: any number
};

class Generator {
 public:
  virtual ~Generator() = default;

  // One result a request, in their order. Errors, all of which concern the call as a whole: UsageError (an option or a
  // request that the generator does not know), Interrupted, EngineError, NetworkError; what else is thrown is a fault
  // of the program.
  virtual std::vector<Result<Picture>> generate(std::span<const Request> requests, const GenerationOptions& options,
                                                const Context& context = {}) = 0;

  // How badly noise is removed from each picture when it is drawn for the text in its place: the mean squared error of
  // what the network predicts at eight timesteps, each the middle of an eighth of all. The noise is the same for all
  // pictures, so that errors differ by picture and text alone. Pictures of other sizes are brought to the generator's
  // as when it is trained. As many texts as pictures; a picture that stands several times in a row is encoded once.
  // Only of generators with denoising_errors. Errors: as generate()'s.
  virtual std::vector<Result<double>> denoising_errors(std::span<const image::Image* const> images,
                                                       std::span<const std::string> prompts,
                                                       const Context& context = {});

  virtual std::string description() const = 0;  // for people
  // What must be equal for pictures to be, as "KIND:VALUE": the digest of a local model's repository, the endpoint and
  // model of a remote one.
  virtual std::string identity() const { return "name:" + description(); }
  virtual Capabilities capabilities() const { return {}; }
  // An optional option that has no value here is one that the generator does not have.
  virtual GenerationOptions defaults() const { return {}; }
  // Of generators elsewhere, for people; empty of others. What so many pictures will be asked for at most and cost, and
  // what calls have asked for and cost so far.
  virtual std::string estimate(int64_t /*pictures*/) const { return {}; }
  virtual std::string account() const { return {}; }
  // By which rule defaults() were chosen, for people; empty where there is nothing to say.
  virtual std::string defaults_rule() const { return {}; }
};

// `options` with the generator's defaults, in range. Errors: UsageError, also for an option that its defaults leave
// open: it would do nothing.
GenerationOptions resolve(const GenerationOptions& options, const Generator& generator);

// Errors: UsageError for a request with a picture or a text that the generator cannot draw, or with both.
void expect_drawable(std::span<const Request> requests, const Generator& generator);

}  // namespace readback::generate
