// A world in which the answer is known: pictures are of one shade of grey, texts name a shade, and both models err by
// an amount that their candidate's random stream decides.
#pragma once
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/roundtrip/execute.h"

namespace readback::roundtrip::fakes {

inline image::Image grey(int shade) {
  image::Image image(4, 4);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(std::clamp(shade, 0, 255));
  return image;
}
inline int shade(const image::Image& image) { return image.pixels.at(0); }
inline std::string text(int shade) { return "shade " + std::to_string(shade); }
inline int shade(const std::string& text) { return std::atoi(text.substr(6).c_str()); }

class Dataset : public data::Dataset {
 public:
  explicit Dataset(int64_t size, uint64_t order = 0) : size_(size), order_(order) {}
  int64_t size() const override { return size_; }
  data::Sample sample(int64_t index) const override {
    const int64_t key = order_ == 0 ? index : size_ - 1 - index;
    data::Sample result{"s/" + std::to_string(key), std::to_string(key) + ".png", {}, ""};
    if (key != without_text) result.references = {text(original(key)), text(original(key) + 1)};
    if (key == without_image) result.image_name.clear();
    if (has_domains) result.domain = key % 2 == 0 ? "even" : "odd";
    return result;
  }
  image::Image load_image(int64_t index) const override {
    const int64_t key = order_ == 0 ? index : size_ - 1 - index;
    if (key == broken) throw DataError("broken.png: expected an image, got 3 bytes");
    if (key == without_image) throw DataError("it was asked for an image that it has not");
    return grey(original(key));
  }
  std::string description() const override { return "shades"; }
  std::string digest() const override { return "d"; }
  static int original(int64_t key) { return 60 + static_cast<int>(key * 37 % 120); }

  int64_t broken = -1, without_text = -1, without_image = -1;
  bool has_domains = false;

 private:
  int64_t size_;
  uint64_t order_;
};

class Captioner : public caption::Captioner {
 public:
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context& context) override {
    std::vector<Result<std::vector<caption::Caption>>> result;
    largest_batch = std::max(largest_batch, requests.size());
    calls += 1;
    for (const caption::Request& request : requests) {
      context.check();
      try {
        before(request);
      } catch (const DataError& error) {
        result.push_back(Failure{error.what()});
        continue;
      }
      if (delay_us > 0) ::usleep(static_cast<useconds_t>(delay_us));
      std::vector<caption::Caption> captions;
      for (int64_t k = 0; k < options.num_captions; ++k) {
        int error = 0;
        if (options.do_sample) {
          error =
              static_cast<int>(Random(options.seed, Purpose::kTest, request.sample, request.candidate + k).below(41)) -
              20;
        }
        const int read = shade(request.image) + error;
        captions.push_back({text(read), std::vector<int64_t>{1, read, 2}, -0.1 * std::abs(error)});
      }
      result.push_back(captions);
    }
    return result;
  }
  std::string description() const override { return "fake captioner"; }
  caption::Capabilities capabilities() const override { return {.honours_seeds = honours_seeds}; }
  caption::DecodingOptions defaults() const override { return {.max_length = 20}; }

  std::function<void(const caption::Request&)> before = [](const caption::Request&) {};
  int delay_us = 0;
  bool honours_seeds = true;
  size_t largest_batch = 0, calls = 0;
};

class Generator : public generate::Generator {
 public:
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options,
                                                  const Context& context) override {
    std::vector<Result<generate::Picture>> result;
    largest_batch = std::max(largest_batch, requests.size());
    calls += 1;
    for (const generate::Request& request : requests) {
      context.check();
      try {
        before(request);
      } catch (const DataError& error) {
        result.push_back(Failure{error.what()});
        continue;
      }
      if (delay_us > 0) ::usleep(static_cast<useconds_t>(delay_us));
      generate::Picture picture;
      picture.seed =
          derive_seed(options.seed, Purpose::kPictureSeed, request.sample, static_cast<uint64_t>(request.candidate));
      const int error = static_cast<int>(Random(*picture.seed, Purpose::kTest, "noise").below(2 * spread + 1)) - spread;
      picture.image = grey(shade(request.prompt) + error);
      picture.truncated_tokens = shade(request.prompt) % 50 == 0 ? 3 : 0;
      result.push_back(std::move(picture));
    }
    return result;
  }
  std::string description() const override { return "fake generator"; }
  generate::Capabilities capabilities() const override { return {.honours_seeds = honours_seeds}; }
  generate::GenerationOptions defaults() const override { return {.num_inference_steps = 50}; }

  std::function<void(const generate::Request&)> before = [](const generate::Request&) {};
  int delay_us = 0, spread = 0;
  bool honours_seeds = true;
  size_t largest_batch = 0, calls = 0;
};

// |shade of the candidate - shade of the original|.
class ShadeMetric : public score::Metric {
 public:
  explicit ShadeMetric(score::Inputs inputs)
      : info_{inputs == score::Inputs::kImages ? "shade-image" : "shade-text",
              "Shade",
              "|a - b|",
              score::Direction::kLowerIsBetter,
              inputs,
              ""} {}
  const score::MetricInfo& info() const override { return info_; }
  std::vector<double> score(std::span<const score::Comparison> comparisons, const Context&) override {
    std::vector<double> values;
    for (const score::Comparison& c : comparisons) {
      if (info_.inputs == score::Inputs::kImages) {
        values.push_back(c.original_image ? std::abs(shade(*c.candidate_image) - shade(*c.original_image)) : NAN);
      } else {
        values.push_back(c.original_text.empty() ? NAN : std::abs(shade(c.candidate_text) - shade(c.original_text)));
      }
    }
    return values;
  }

 private:
  score::MetricInfo info_;
};

inline std::vector<std::unique_ptr<score::Metric>> metrics() {
  std::vector<std::unique_ptr<score::Metric>> result;
  result.push_back(std::make_unique<ShadeMetric>(score::Inputs::kImages));
  result.push_back(std::make_unique<ShadeMetric>(score::Inputs::kTexts));
  return result;
}

inline RunOptions options(int64_t candidates = 5, int64_t batch_size = 7) {
  RunOptions result;
  result.dataset = "shades";
  result.num_candidates = candidates;
  result.batch_size = batch_size;
  result.captioner = "fake";
  result.generator = "fake";
  return result;
}

inline RunOptions resolved(const RunOptions& options) {
  return resolve(options, Captioner().defaults(), Generator().defaults());
}

inline Manifest manifest(const RunOptions& options) {
  return {identity(resolved(options), {}), {{"dataset", "d"}, {"captioner", "c"}}, {{"version", "test"}}};
}

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "readback-run-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw StoreError("no temporary folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  operator const std::filesystem::path&() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Plan, execute, measure; what `readback run` does.
inline Summary run(const std::filesystem::path& folder, const RunOptions& options, const data::Dataset& dataset,
                   caption::Captioner& captioner, generate::Generator& generator, const Context& context = {},
                   int64_t processes = 1) {
  const Plan plan = make_plan(resolve(options, captioner.defaults(), generator.defaults()), dataset, processes);
  Store store = Store::open_for_writing(folder, manifest(plan.options));
  const Summary summary = execute(plan, dataset, captioner, generator, store, context);
  measure(store, metrics(), context);
  return summary;
}

// Everything in a run folder but times: all rows of all tables and all pictures' bytes, one line each.
std::vector<std::string> contents(const std::filesystem::path& folder);

}  // namespace readback::roundtrip::fakes
