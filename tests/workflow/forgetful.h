// A world in which a message loses its last word each time it is read: a sample's words are "s3w0 s3w1 …", a picture
// says whose words it shows and how many of them.
#pragma once
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "../roundtrip/fakes.h"

namespace readback::workflow::forgetful {

using roundtrip::fakes::Folder;

inline std::string words(int sample, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i == 0 ? "s" : " s") + std::to_string(sample) + "w" + std::to_string(i);
  return text;
}
inline image::Image picture(int sample, int count) {
  image::Image image = roundtrip::fakes::grey(10 * count);
  image.pixels[0] = static_cast<uint8_t>(sample);
  return image;
}
inline int sample_of(const image::Image& image) { return image.pixels[0]; }
inline int count_of(const image::Image& image) { return image.pixels[1] / 10; }

// Samples a0, a1, … with a picture of seven words and these words.
class Dataset : public data::Dataset {
 public:
  explicit Dataset(int size) : size_(size) {}
  int64_t size() const override { return size_; }
  data::Sample sample(int64_t index) const override {
    const std::string id = "a" + std::to_string(index);
    data::Sample sample{id, pictures ? id + ".png" : "", {}, "", "far"};
    if (texts) sample.references = {words(static_cast<int>(index), kWords)};
    return sample;
  }
  image::Image load_image(int64_t index) const override { return picture(static_cast<int>(index), kWords); }
  std::string description() const override { return "forgettable <words>"; }
  std::string digest() const override { return "f"; }

  static constexpr int kWords = 7;
  bool pictures = true, texts = true;

 private:
  int size_;
};

class Captioner : public roundtrip::fakes::Captioner {
 public:
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions&,
                                                             const Context& context) override {
    std::vector<Result<std::vector<caption::Caption>>> results;
    for (const caption::Request& request : requests) {
      context.check();
      try {
        before(request);
      } catch (const DataError& error) {
        results.push_back(Failure{error.what()});
        continue;
      }
      const std::string text = words(sample_of(request.image), std::max(0, count_of(request.image) - 1));
      results.push_back(std::vector{caption::Caption{text, std::vector<int64_t>{1}, -1.0}});
    }
    return results;
  }
};

class Generator : public roundtrip::fakes::Generator {
 public:
  std::vector<Result<generate::Picture>> generate(std::span<const generate::Request> requests,
                                                  const generate::GenerationOptions& options,
                                                  const Context& context) override {
    std::vector<Result<generate::Picture>> results;
    for (const generate::Request& request : requests) {
      context.check();
      before(request);
      seeds.push_back(options.seed);
      std::istringstream text(request.prompt);
      int count = 0, sample = 0;
      for (std::string word; text >> word; ++count) sample = std::atoi(word.c_str() + 1);
      results.push_back(generate::Picture{.image = picture(sample, count), .seed = options.seed});
    }
    return results;
  }
  std::vector<uint64_t> seeds;  // of every request
};

}  // namespace readback::workflow::forgetful
