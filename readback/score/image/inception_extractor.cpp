#include "readback/score/image/inception_extractor.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <map>
#include <string_view>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/random.h"
#include "readback/image/codec.h"

namespace readback::score {

namespace {

models::Inception load(const std::string& name, c10::Device device) {
  const nn::Weights weights =
      nn::Weights(models::load_inception_tensors(name), device, at::kFloat, name).for_inference();
  models::Inception inception(weights);
  weights.finish();
  return inception;
}

}  // namespace

InceptionExtractor::InceptionExtractor(const std::string& weights, c10::Device device, InceptionOptions options)
    : device_(device), options_(std::move(options)), inception_(load(weights, device)) {
  if (options_.batch_size < 1 || options_.layers.empty()) {
    throw UsageError(describe("Inception", "a batch size of at least 1 and at least one layer",
                              fmt::format("{} and {}", options_.batch_size, options_.layers.size())));
  }
}

models::InceptionFeatures InceptionExtractor::extract(std::span<const image::Image* const> images) const {
  return extract(static_cast<int64_t>(images.size()), [&](int64_t i) { return *images[i]; });
}

models::InceptionFeatures InceptionExtractor::extract(std::span<const std::filesystem::path> files,
                                                      const Context& context) const {
  return extract(
      static_cast<int64_t>(files.size()), [&](int64_t i) { return image::load(files[i], image::Alpha::kDropped); },
      context);
}

models::InceptionFeatures InceptionExtractor::extract(int64_t count,
                                                      const std::function<image::Image(int64_t)>& picture,
                                                      const Context& context) const {
  if (count == 0) throw DataError(describe("Inception", "at least one image", "none"));
  c10::NoGradGuard no_grad;
  std::map<models::InceptionLayer, std::vector<at::Tensor>> parts;
  in_parts_that_fit(
      count, options_.batch_size,
      [&](int64_t begin, int64_t end) {
        context.check();
        const at::Tensor pixels = inception_input(
                                      end - begin, [&](int64_t i) { return picture(begin + i); }, options_.mode)
                                      .to(device_);
        models::InceptionFeatures batch = inception_.forward(pixels, options_.layers);
        for (auto& [layer, features] : batch) features = features.cpu();
        for (auto& [layer, features] : batch) parts[layer].push_back(features);
        context.progress().advance(end - begin);
      },
      context);
  models::InceptionFeatures all;
  for (const auto& [layer, batches] : parts) all[layer] = at::cat(batches);
  return all;
}

std::string InceptionExtractor::source() const {
  const at::Tensor sample = inception_.fc_weight.cpu().contiguous();
  const std::string_view bytes(static_cast<const char*>(sample.const_data_ptr()), sample.nbytes());
  return fmt::format("Inception 2048, weights {:08x}, {}", static_cast<uint32_t>(fnv1a(bytes)), name_of(options_.mode));
}

}  // namespace readback::score
