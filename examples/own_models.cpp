// A run with a captioner and a generator of one's own: own_models FOLDER [MILLISECONDS]
//
// The captioner names the colour that a picture has in the mean, knows no log-probabilities and no tokens, and fails on
// every third request. The generator draws the colour that it is told and ignores seeds. The run goes on when it is
// started again; MILLISECONDS is how long each answer takes.
#include <readback/base/error.h>
#include <readback/report/report.h>
#include <readback/workflow/run.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

namespace {

struct Colour {
  const char* name;
  std::array<uint8_t, 3> rgb;
};
constexpr Colour kColours[] = {{"black", {0, 0, 0}},     {"white", {255, 255, 255}}, {"red", {200, 60, 60}},
                               {"green", {60, 160, 80}}, {"blue", {70, 110, 200}},   {"yellow", {240, 210, 90}},
                               {"grey", {128, 128, 128}}};

void wait(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

class MeanColour : public readback::caption::Captioner {
 public:
  explicit MeanColour(int milliseconds) : milliseconds_(milliseconds) {}

  std::vector<readback::Result<std::vector<readback::caption::Caption>>> caption(
      std::span<const readback::caption::Request> requests, const readback::caption::DecodingOptions& options,
      const readback::Context& context) override {
    std::vector<readback::Result<std::vector<readback::caption::Caption>>> results;
    for (const readback::caption::Request& request : requests) {
      context.check();
      wait(milliseconds_);
      if (++asked_ % 3 == 0) {
        results.push_back(readback::Failure{"every third request fails"});
        continue;
      }
      const std::string text = std::string("a picture that is mostly ") + name_of(request.image);
      results.push_back(
          std::vector(static_cast<size_t>(options.num_captions), readback::caption::Caption{text, {}, {}}));
    }
    return results;
  }
  std::string description() const override { return "the mean colour's name"; }

 private:
  static const char* name_of(const readback::image::Image& image) {
    double mean[3] = {0, 0, 0};
    for (size_t i = 0; i < image.pixels.size(); ++i) mean[i % 3] += image.pixels[i];
    const char* nearest = "";
    double least = 1e12;
    for (const Colour& colour : kColours) {
      double distance = 0;
      for (int c = 0; c < 3; ++c) {
        const double difference = mean[c] / static_cast<double>(image.width * image.height) - colour.rgb[c];
        distance += difference * difference;
      }
      if (distance < least) nearest = colour.name;
      least = std::min(least, distance);
    }
    return nearest;
  }

  int milliseconds_, asked_ = 0;
};

class Painter : public readback::generate::Generator {
 public:
  explicit Painter(int milliseconds) : milliseconds_(milliseconds) {}

  std::vector<readback::Result<readback::generate::Picture>> generate(
      std::span<const readback::generate::Request> requests, const readback::generate::GenerationOptions&,
      const readback::Context& context) override {
    std::vector<readback::Result<readback::generate::Picture>> results;
    for (const readback::generate::Request& request : requests) {
      context.check();
      wait(milliseconds_);
      std::array<uint8_t, 3> rgb = {128, 128, 128};
      for (const Colour& colour : kColours) {
        if (request.prompt.find(colour.name) != std::string::npos) rgb = colour.rgb;
      }
      readback::generate::Picture picture;
      picture.image = readback::image::Image(32, 32);
      for (size_t i = 0; i < picture.image.pixels.size(); ++i) picture.image.pixels[i] = rgb[i % 3];
      results.push_back(std::move(picture));
    }
    return results;
  }
  std::string description() const override { return "a painter of one colour"; }

 private:
  int milliseconds_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: own_models FOLDER [MILLISECONDS]\n";
    return 2;
  }
  const int milliseconds = argc > 2 ? std::atoi(argv[2]) : 0;
  MeanColour captioner(milliseconds);
  Painter generator(milliseconds);
  readback::roundtrip::RunOptions options;
  options.captioner = "mean colour";
  options.generator = "painter";
  options.dataset_options.limit = 12;
  options.num_candidates = 3;
  options.batch_size = 4;
  const auto result = readback::workflow::run(options, captioner, generator, argv[1]);
  readback::report::write_report(readback::roundtrip::Store::open(argv[1]),
                                 std::filesystem::path(argv[1]) / "report.html");
  std::cout << "round trips\t" << result.summary.units << "\nfailures\t" << result.failures.size() << "\n";
  for (const std::string& note : result.notes) std::cout << "note\t" << note << "\n";
  return result.failures.empty() ? 0 : 1;
} catch (const readback::Error& error) {
  std::cerr << "own_models: " << error.what() << "\n";
  return 1;
}
