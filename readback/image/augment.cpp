#include "readback/image/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "readback/base/error.h"
#include "readback/image/formats.h"
#include "readback/image/resize.h"

namespace readback::image {
namespace {

constexpr int kGrey = 128;

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

std::array<Histogram, 3> histograms(const Image& image) {
  std::array<Histogram, 3> counts{};
  for (size_t i = 0; i < image.pixels.size(); ++i) ++counts[i % 3][image.pixels[i]];
  return counts;
}

Image look_up(const Image& image, const std::array<Table, 3>& tables) {
  Image result = image;
  for (size_t i = 0; i < image.pixels.size(); ++i) result.pixels[i] = tables[i % 3][image.pixels[i]];
  return result;
}

template <typename Function>
Table make_table(Function value) {
  Table table{};
  for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(std::clamp<double>(value(i), 0, 255));
  return table;
}

Table contrast_table(const Histogram& counts) {
  int low = 0, high = 255;
  while (low < 255 && counts[low] == 0) ++low;
  while (high > 0 && counts[high] == 0) --high;
  if (high <= low) return make_table([](int value) { return value; });
  const double scale = 255.0 / (high - low), offset = -low * scale;
  return make_table([&](int value) { return value * scale + offset; });
}

Table equal_table(const Histogram& counts) {
  int64_t sum = 0, highest = 0;
  for (const int64_t count : counts) {
    sum += count;
    if (count > 0) highest = count;  // of the highest value that occurs
  }
  const int64_t step = (sum - highest) / 255;
  if (step == 0) return make_table([](int value) { return value; });
  int64_t below = step / 2;
  return make_table([&](int value) {
    const int64_t level = below / step;
    below += counts[value];
    return static_cast<double>(level);
  });
}

Image change_contrast(const Image& image, Table (*table_of)(const Histogram&)) {
  const auto counts = histograms(image);
  return look_up(image, {table_of(counts[0]), table_of(counts[1]), table_of(counts[2])});
}

Image change_brightness(const Image& image, double factor) {
  const Table table = make_table([&](int value) { return static_cast<float>(value) * static_cast<float>(factor); });
  return look_up(image, {table, table, table});
}

// Away from, or for a factor below 1 towards, the 3 × 3 mean in which the middle counts five times. The margin stays.
Image change_sharpness(const Image& image, double factor) {
  Image result = image;
  for (int64_t y = 1; y + 1 < image.height; ++y) {
    for (int64_t i = 3; i < (image.width - 1) * 3; ++i) {
      const uint8_t* value = image.at(0, y) + i;
      int sum = 4 * *value;
      for (const int64_t row : {-1, 0, 1}) {
        const uint8_t* middle = value + row * image.width * 3;
        sum += middle[-3] + middle[0] + middle[3];
      }
      const auto smooth = static_cast<float>((2 * sum + 13) / 26);  // sum / 13, rounded
      const float sharpened = smooth + static_cast<float>(factor) * (static_cast<float>(*value) - smooth);
      result.at(0, y)[i] = static_cast<uint8_t>(std::clamp(sharpened, 0.0F, 255.0F));
    }
  }
  return result;
}

// x' = a x + b y + c, y' = d x + e y + f
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};

Affine inverse(const Affine& m) {
  const double determinant = 1 / (m.a * m.e - m.b * m.d);
  const double a = m.e * determinant, b = -m.b * determinant, d = -m.d * determinant, e = m.a * determinant;
  return {a, b, -a * m.c - b * m.f, d, e, -d * m.c - e * m.f};
}

Affine rotation(const Image& image, double degrees) {
  const double x = static_cast<double>(image.width) / 2, y = static_cast<double>(image.height) / 2;
  const double angle = degrees * std::numbers::pi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  return {cosine, sine, (1 - cosine) * x - sine * y, -sine, cosine, sine * x + (1 - cosine) * y};
}

// OpenCV's warpAffine with INTER_LINEAR: source positions in 1/1024 of a pixel, from the parts of column and row
// rounded each for itself, then cut to 1/32.
Image warp(const Image& image, const Affine& motion) {
  constexpr int64_t kUnits = 1024, kSteps = 32, kHalfStep = kUnits / kSteps / 2;
  const auto units = [](double pixels) { return static_cast<int64_t>(std::nearbyint(pixels * kUnits)); };
  const auto at_or_grey = [&](int64_t x, int64_t y, int c) {
    return x >= 0 && x < image.width && y >= 0 && y < image.height ? image.at(x, y)[c] : kGrey;
  };
  const Affine source = inverse(motion);
  Image result(image.width, image.height);
  for (int64_t row = 0; row < image.height; ++row) {
    const auto r = static_cast<double>(row);
    const int64_t first_x = units(source.b * r + source.c) + kHalfStep;
    const int64_t first_y = units(source.e * r + source.f) + kHalfStep;
    for (int64_t column = 0; column < image.width; ++column) {
      const auto n = static_cast<double>(column);
      const int64_t x = (first_x + units(source.a * n)) >> 5, y = (first_y + units(source.d * n)) >> 5;
      const int64_t left = x >> 5, top = y >> 5, right_share = x & (kSteps - 1), low_share = y & (kSteps - 1);
      for (int c = 0; c < 3; ++c) {
        const int64_t above =
            (kSteps - right_share) * at_or_grey(left, top, c) + right_share * at_or_grey(left + 1, top, c);
        const int64_t below =
            (kSteps - right_share) * at_or_grey(left, top + 1, c) + right_share * at_or_grey(left + 1, top + 1, c);
        const int64_t sum = (kSteps - low_share) * above + low_share * below;
        result.at(column, row)[c] = static_cast<uint8_t>((sum + kUnits / 2) / kUnits);
      }
    }
  }
  return result;
}

// OpenCV is given these matrices in single precision.
double single(double value) { return static_cast<float>(value); }

Image flip(const Image& image) {
  Image result(image.width, image.height);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) std::memcpy(result.at(image.width - 1 - x, y), image.at(x, y), 3);
  }
  return result;
}

bool goes_both_ways(Operation operation) { return operation >= Operation::kShearX; }

}  // namespace

Image apply(const Image& image, Operation operation, double level) {
  const double share = level / 10, factor = share * 1.8 + 0.1;
  switch (operation) {
    case Operation::kIdentity:
      return image;
    case Operation::kAutoContrast:
      return change_contrast(image, contrast_table);
    case Operation::kEqualize:
      return change_contrast(image, equal_table);
    case Operation::kBrightness:
      return change_brightness(image, factor);
    case Operation::kSharpness:
      return change_sharpness(image, factor);
    case Operation::kShearX:
      return warp(image, {.b = single(share * 0.3)});
    case Operation::kShearY:
      return warp(image, {.d = single(share * 0.3)});
    case Operation::kTranslateX:
      return warp(image, {.c = -single(level)});
    case Operation::kTranslateY:
      return warp(image, {.f = -single(level)});
    case Operation::kRotate:
      return warp(image, rotation(image, share * 30));
  }
  return image;
}

Box draw_crop(int64_t width, int64_t height, Random& random, const AugmentOptions& options) {
  constexpr double kNarrowest = 3.0 / 4, kWidest = 4.0 / 3;
  const auto uniform = [&](double low, double high) { return low + (high - low) * random.uniform(); };
  const auto rounded = [](double value) { return static_cast<int64_t>(std::nearbyint(value)); };
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = w * h * uniform(options.smallest_area, options.largest_area);
    const double ratio = std::exp(uniform(std::log(kNarrowest), std::log(kWidest)));
    const int64_t wide = rounded(std::sqrt(area * ratio)), high = rounded(std::sqrt(area / ratio));
    if (wide < 1 || wide > width || high < 1 || high > height) continue;
    const int64_t left = random.below(width - wide + 1);
    return {left, random.below(height - high + 1), wide, high};
  }
  const int64_t wide = w / h > kWidest ? rounded(h * kWidest) : width;
  const int64_t high = w / h < kNarrowest ? rounded(w / kNarrowest) : height;
  return {(width - wide) / 2, (height - high) / 2, wide, high};
}

Image crop(const Image& image, const Box& box) {
  if (box.left < 0 || box.top < 0 || box.width < 1 || box.height < 1 || box.left + box.width > image.width ||
      box.top + box.height > image.height) {
    throw DataError(describe("crop", fmt::format("a box inside {} × {} pixels", image.width, image.height),
                             fmt::format("{} × {} at ({}, {})", box.width, box.height, box.left, box.top)));
  }
  Image result(box.width, box.height);
  for (int64_t y = 0; y < box.height; ++y) {
    std::memcpy(result.at(0, y), image.at(box.left, box.top + y), static_cast<size_t>(box.width) * 3);
  }
  return result;
}

Image augment(const Image& image, int64_t width, int64_t height, Random& random, const AugmentOptions& options) {
  check_size(image.width, image.height, "augmentation");
  const Box box = draw_crop(image.width, image.height, random, options);
  Image result = resize(crop(image, box), width, height, Filter::kBicubic);
  if (random.uniform() < options.flip) result = flip(result);
  for (int i = 0; i < options.operations; ++i) {
    const Operation operation = kOperations[static_cast<size_t>(random.below(std::ssize(kOperations)))];
    if (random.uniform() >= options.probability) continue;
    const bool back = goes_both_ways(operation) && random.uniform() < 0.5;
    result = apply(result, operation, back ? -options.level : options.level);
  }
  return result;
}

}  // namespace readback::image
