#include "worlds.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/data/oracle.h"
#include "readback/roundtrip/execute.h"
#include "readback/score/registry.h"

namespace readback::report::worlds {

namespace {

using data::Scene;

std::set<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::set<std::string> result;
  for (std::string word; stream >> word;) result.insert(word);
  return result;
}

double overlap(const std::string& a, const std::string& b) {
  const std::set<std::string> left = words(a), right = words(b);
  std::vector<std::string> both;
  std::ranges::set_intersection(left, right, std::back_inserter(both));
  return 2.0 * static_cast<double>(both.size()) / static_cast<double>(std::max<size_t>(1, left.size() + right.size()));
}

// Each part of what was understood goes wrong now and then.
data::Reading mistaken(data::Reading reading, Random& random, double rate) {
  const auto slips = [&] { return random.uniform() < rate; };
  for (data::ReadObject& object : reading.objects) {
    if (slips()) object.object = static_cast<int>(random.below(data::object_names().size()));
  }
  if (slips()) reading.background = static_cast<int>(random.below(data::background_names().size()));
  if (reading.objects.size() == 2 && slips()) std::swap(reading.objects[0], reading.objects[1]);
  if (reading.objects.size() == 2 && slips()) reading.objects.pop_back();
  return reading;
}

// A scene with the reading's content, in places of its own.
Scene scene_of(const data::Reading& reading, Random& random) {
  for (int64_t index = 0;; ++index) {
    Scene scene = data::make_scene(data::Split::kTrain, static_cast<int64_t>(random.below(50000)));
    const bool pair = reading.objects.size() == 2;
    if (scene.single() == pair && index < 1000) continue;
    if (pair && reading.relation != data::Relation::kNone && scene.relation != reading.relation && index < 1000)
      continue;
    if (!reading.objects.empty()) scene.first = reading.objects[0].object;
    if (pair) scene.second = reading.objects[1].object;
    if (reading.background >= 0) scene.background = reading.background;
    return scene;
  }
}

class Captioner : public caption::Captioner {
 public:
  explicit Captioner(const data::Dataset& dataset) : dataset_(dataset) {
    for (int64_t i = 0; i < dataset.size(); ++i) samples_[dataset.sample(i).id] = i;
  }
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context&) override {
    std::vector<Result<std::vector<caption::Caption>>> result;
    for (const caption::Request& request : requests) {
      std::vector<caption::Caption> captions;
      for (int64_t k = 0; k < options.num_captions; ++k) {
        Random random(options.seed, Purpose::kTest, request.sample, request.candidate + k);
        captions.push_back(
            {options.do_sample || !seen(request) ? say(request, random, options) : said(request), {}, -1.0});
      }
      result.push_back(std::move(captions));
    }
    return result;
  }
  std::string description() const override { return "an oracle that slips"; }

 private:
  bool seen(const caption::Request& request) const { return request.image.width > 64; }
  std::string said(const caption::Request& request) const {
    const auto references = dataset_.sample(samples_.at(request.sample)).references;
    return references.at(static_cast<size_t>(request.image.pixels.at(0)) % references.size());
  }
  std::string say(const caption::Request& request, Random& random, const caption::DecodingOptions& options) const {
    if (seen(request)) {
      const auto references = dataset_.sample(samples_.at(request.sample)).references;
      return references.at(random.below(references.size()));
    }
    const data::Reading reading = mistaken(data::read_image(request.image), random, options.do_sample ? 0.12 : 0.03);
    if (reading.objects.empty()) return "an empty picture";
    const auto phrasings = data::captions(scene_of(reading, random));
    return phrasings.at(options.do_sample ? random.below(phrasings.size()) : 0);
  }
  const data::Dataset& dataset_;
  std::map<std::string, int64_t> samples_;
};

class Generator : public generate::Generator {
 public:
  explicit Generator(const data::Dataset& dataset) : dataset_(dataset) {}
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options, const Context&) override {
    std::vector<Result<generate::Picture>> result;
    for (const generate::Request& request : requests) {
      generate::Picture picture;
      picture.seed =
          derive_seed(options.seed, Purpose::kPictureSeed, request.sample, static_cast<uint64_t>(request.candidate));
      Random random(*picture.seed, Purpose::kTest, "drawing");
      picture.image = dataset_.sample(0).truth.empty() ? find(request.prompt, random) : draw(request.prompt, random);
      result.push_back(std::move(picture));
    }
    return result;
  }
  std::string description() const override { return "a painter by numbers"; }

 private:
  static image::Image draw(const std::string& prompt, Random& random) {
    const data::Reading reading = mistaken(data::parse_caption(prompt), random, 0.07);
    image::Image image = data::render(scene_of(reading, random));
    for (uint8_t& value : image.pixels) {
      value = static_cast<uint8_t>(std::clamp(value + static_cast<int>(random.below(13)) - 6, 0, 255));
    }
    return image;
  }
  image::Image find(const std::string& prompt, Random& random) const {
    int64_t best = 0;
    double most = -1;
    for (int64_t i = 0; i < dataset_.size(); ++i) {
      double likeness = 0.5 * random.uniform();
      for (const std::string& reference : dataset_.sample(i).references) likeness += overlap(prompt, reference);
      if (likeness > most) most = likeness, best = i;
    }
    return dataset_.load_image(best);
  }
  const data::Dataset& dataset_;
};

// Stand-ins for CLIP's: mean absolute difference of colours, and words not shared.
class Likeness : public score::Metric {
 public:
  explicit Likeness(score::Inputs inputs) {
    const bool images = inputs == score::Inputs::kImages;
    info_ = {images ? "colour" : "word",
             images ? "Colour distance" : "Word distance",
             images ? "mean |a − b| of the mean colours of 4 × 4 fields" : "1 − 2 · |A ∩ B| / (|A| + |B|)",
             score::Direction::kLowerIsBetter,
             inputs,
             ""};
  }
  const score::MetricInfo& info() const override { return info_; }
  std::vector<double> score(std::span<const score::Comparison> comparisons, const Context&) override {
    std::vector<double> values;
    for (const score::Comparison& c : comparisons) {
      if (info_.inputs == score::Inputs::kImages) {
        values.push_back(c.original_image ? difference(*c.candidate_image, *c.original_image) : NAN);
      } else {
        values.push_back(c.original_text.empty() ? NAN : 1 - overlap(c.candidate_text, c.original_text));
      }
    }
    return values;
  }

 private:
  static double difference(const image::Image& a, const image::Image& b) {
    double sum = 0;
    for (int64_t i = 0; i < 64; ++i) {
      for (int c = 0; c < 3; ++c) {
        const auto at = [&](const image::Image& image) {
          return double(image.at((i % 8 * 2 + 1) * image.width / 16, (i / 8 * 2 + 1) * image.height / 16)[c]);
        };
        sum += std::abs(at(a) - at(b));
      }
    }
    return sum / (64 * 3 * 255);
  }
  score::MetricInfo info_;
};

class Broken : public data::Dataset {
 public:
  Broken(std::unique_ptr<data::Dataset> dataset, int64_t broken) : dataset_(std::move(dataset)), broken_(broken) {}
  int64_t size() const override { return dataset_->size(); }
  data::Sample sample(int64_t index) const override { return dataset_->sample(index); }
  image::Image load_image(int64_t index) const override {
    if (index == broken_) throw DataError("picture.png: expected an image, got 3 bytes");
    return dataset_->load_image(index);
  }
  std::string description() const override { return dataset_->description(); }
  std::string digest() const override { return dataset_->digest(); }

 private:
  std::unique_ptr<data::Dataset> dataset_;
  int64_t broken_;
};

}  // namespace

Folder::Folder(const std::string& name) {
  if (const char* reports = std::getenv("READBACK_REPORTS")) {
    keep_ = true;
    path_ = std::filesystem::path(reports) / name;
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    return;
  }
  std::string made = (std::filesystem::temp_directory_path() / "readback-report-XXXXXX").string();
  if (!::mkdtemp(made.data())) throw StoreError("no temporary folder");
  path_ = made;
}

Folder::~Folder() {
  std::error_code ignored;
  if (!keep_) std::filesystem::remove_all(path_, ignored);
}

roundtrip::Store make_run(const std::filesystem::path& folder, const data::Dataset& dataset, int64_t num_candidates) {
  roundtrip::RunOptions options;
  options.num_candidates = num_candidates;
  options.captioner = "fakes/captioner";
  options.generator = "fakes/generator";
  options.dataset_options.limit = dataset.size();
  options.generation.num_inference_steps = 20;
  Captioner captioner(dataset);
  Generator generator(dataset);
  const roundtrip::Plan plan = roundtrip::make_plan(roundtrip::resolve(options, {}, {}), dataset);
  auto store = roundtrip::Store::open_for_writing(
      folder, {roundtrip::identity(plan.options, {}),
               {{"dataset", dataset.digest()}, {"captioner", "0123456789abcdef"}, {"generator", "fedcba9876543210"}},
               {{"version", "0.1.0"},
                {"dataset", dataset.description()},
                {"captioner", captioner.description()},
                {"generator", generator.description()},
                {"command", "readback run emoji-scenes --limit 24 --num-candidates 6 --output run"},
                {"machine", "a test"}}});
  roundtrip::execute(plan, dataset, captioner, generator, store, {});

  score::MetricContext context;
  bool truth = false;
  for (const data::Sample& sample : plan.samples) {
    context.corpus.push_back(sample.references);
    truth |= !sample.truth.empty();
  }
  std::vector<std::unique_ptr<score::Metric>> metrics;
  metrics.push_back(std::make_unique<Likeness>(score::Inputs::kImages));
  metrics.push_back(std::make_unique<Likeness>(score::Inputs::kTexts));
  for (const char* name : {"bleu-4", "cider"}) metrics.push_back(score::make_metric(name, context));
  if (truth) {
    for (const char* name : {"oracle-text", "oracle-image"}) metrics.push_back(score::make_metric(name, context));
  }
  roundtrip::measure(store, metrics, {});
  return store;
}

std::unique_ptr<data::Dataset> with_broken(std::unique_ptr<data::Dataset> dataset, int64_t broken) {
  return std::make_unique<Broken>(std::move(dataset), broken);
}

}  // namespace readback::report::worlds
