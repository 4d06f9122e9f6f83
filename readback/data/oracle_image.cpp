// Template matching, coarse (16 × 16) to fine (32 × 32). All pictures are int16 differences from the background, so
// that a sprite which fits explains the energy: with D the picture and T the sprite, both less the background,
// |D|² - |D - aT|² = 2a D·T - a² |T|² is what T explains, with a up to 1 because blurred objects are paler.
#include <algorithm>
#include <cmath>
#include <optional>

#include "readback/base/error.h"
#include "readback/data/oracle.h"
#include "readback/data/sprites.h"

namespace readback::data {

namespace {

using Color = std::array<uint8_t, 3>;

constexpr int kFine = 32;
constexpr int kLargeSides[] = {20, 29}, kSmallSides[] = {12, 17};  // scenes have 23 … 27 and 14, 15
constexpr double kPalest = 0.4;
constexpr size_t kShortlist = 6;  // objects that go from coarse to fine, for each region
constexpr int kSoftest = 4;
constexpr double kFarthestBackground = 60;  // distance in RGB beyond which a color has no name here

struct Picture {
  int side = 0;
  std::vector<int16_t> pixels;  // side × side × 3
  const int16_t* at(int x, int y) const { return pixels.data() + (y * side + x) * 3; }
};

// Where a square may lie, in pixels of the picture: [left, right) × [top, bottom), and how large it may be.
struct Region {
  int left, top, right, bottom, smallest, largest;
};

struct Fit {
  int object = 0, side = 0, x = 0, y = 0;
  int softness = 0;  // how often the sprite was blurred
  double gain = 0;   // energy explained
};

// Box-averaged to side × side, in exact integers.
std::vector<uint8_t> shrink(const image::Image& picture, int64_t side) {
  const int64_t width = picture.width, height = picture.height;
  std::vector<uint8_t> result;
  result.reserve(static_cast<size_t>(side * side * 3));
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      std::array<int64_t, 3> sum{};
      for (int64_t v = y * height / side; v * side < (y + 1) * height; ++v) {
        const int64_t high = std::min((v + 1) * side, (y + 1) * height) - std::max(v * side, y * height);
        for (int64_t u = x * width / side; u * side < (x + 1) * width; ++u) {
          const int64_t area = high * (std::min((u + 1) * side, (x + 1) * width) - std::max(u * side, x * width));
          for (int c = 0; c < 3; ++c) sum[c] += area * picture.at(u, v)[c];
        }
      }
      for (int c = 0; c < 3; ++c)
        result.push_back(static_cast<uint8_t>((sum[c] + width * height / 2) / (width * height)));
    }
  }
  return result;
}

Color border_median(const std::vector<uint8_t>& pixels) {
  Color median;
  for (int c = 0; c < 3; ++c) {
    std::vector<uint8_t> ring;
    for (int i = 0; i < kFine; ++i) {
      for (int pixel : {i, (kFine - 1) * kFine + i, i * kFine, i * kFine + kFine - 1})
        ring.push_back(pixels[pixel * 3 + c]);
    }
    const auto middle = ring.begin() + static_cast<std::ptrdiff_t>(ring.size() / 2);
    std::nth_element(ring.begin(), middle, ring.end());
    median[c] = *middle;
  }
  return median;
}

int nearest_background(const Color& color) {
  int best = -1;
  double smallest = kFarthestBackground * kFarthestBackground;
  for (size_t i = 0; i < background_colors().size(); ++i) {
    double distance = 0;
    for (int c = 0; c < 3; ++c) distance += std::pow(color[c] - background_colors()[i][c], 2);
    if (distance < smallest) smallest = distance, best = static_cast<int>(i);
  }
  return best;
}

Picture halve(const Picture& fine) {
  Picture coarse{fine.side / 2, {}};
  for (int y = 0; y < coarse.side; ++y) {
    for (int x = 0; x < coarse.side; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int sum = fine.at(2 * x, 2 * y)[c] + fine.at(2 * x + 1, 2 * y)[c] + fine.at(2 * x, 2 * y + 1)[c] +
                        fine.at(2 * x + 1, 2 * y + 1)[c];
        coarse.pixels.push_back(static_cast<int16_t>(sum / 4));
      }
    }
  }
  return coarse;
}

int32_t dot(const int16_t* a, const int16_t* b, int count) {
  int32_t sum = 0;
  for (int i = 0; i < count; ++i) sum += int32_t{a[i]} * b[i];
  return sum;
}

Picture make_template(int object, int side, const Color& background) {
  Picture sprite{side, {}};
  sprite.pixels.reserve(static_cast<size_t>(side * side * 3));
  for (const SpritePixel& pixel : scaled_sprite(object, side)) {
    for (int c = 0; c < 3; ++c) {
      sprite.pixels.push_back(static_cast<int16_t>(int{blend(pixel, c, background[c])} - background[c]));
    }
  }
  return sprite;
}

// Blurred by (1 2 1) / 4 both ways, a standard deviation of 0.7 pixels; nothing lies outside.
Picture soften(const Picture& sprite) {
  const int side = sprite.side;
  Picture rows{side, std::vector<int16_t>(sprite.pixels.size())}, result = rows;
  const auto blur = [side](const Picture& from, Picture& to, int dx, int dy) {
    for (int y = 0; y < side; ++y) {
      for (int x = 0; x < side; ++x) {
        const bool before = x >= dx && y >= dy, after = x + dx < side && y + dy < side;
        for (int c = 0; c < 3; ++c) {
          const int sum = 2 * from.at(x, y)[c] + (before ? from.at(x - dx, y - dy)[c] : 0) +
                          (after ? from.at(x + dx, y + dy)[c] : 0);
          to.pixels[(y * side + x) * 3 + c] = static_cast<int16_t>(sum / 4);
        }
      }
    }
  };
  blur(sprite, rows, 1, 0);
  blur(rows, result, 0, 1);
  return result;
}

int32_t correlate(const Picture& picture, const Picture& sprite, int x, int y) {
  int32_t sum = 0;
  for (int row = 0; row < sprite.side; ++row) sum += dot(picture.at(x, y + row), sprite.at(0, row), sprite.side * 3);
  return sum;
}

double explained(double correlation, double energy) {
  const double strength = std::clamp(correlation / energy, kPalest, 1.0);
  return 2 * strength * correlation - strength * strength * energy;
}

double energy_of(const Picture& sprite) {
  return dot(sprite.pixels.data(), sprite.pixels.data(), static_cast<int>(sprite.pixels.size()));
}

// Improves `best` by every place of one template in the region.
void search(const Picture& picture, const Picture& sprite, int object, const Region& region, Fit& best) {
  const double energy = std::max(1.0, energy_of(sprite));
  const int last_x = std::min(region.right, picture.side) - sprite.side;
  const int last_y = std::min(region.bottom, picture.side) - sprite.side;
  for (int y = std::max(0, region.top); y <= last_y; ++y) {
    for (int x = std::max(0, region.left); x <= last_x; ++x) {
      const double gain = explained(correlate(picture, sprite, x, y), energy);
      if (gain > best.gain) best = {object, sprite.side, x, y, 0, gain};
    }
  }
}

class Matcher {
 public:
  Matcher(Picture fine, const Color& background)
      : fine_(std::move(fine)), coarse_(halve(fine_)), background_(background), templates_(object_names().size()) {
    for (int object = 0; object < static_cast<int>(templates_.size()); ++object) {
      for (int side = kSmallSides[0] / 2; side <= (kLargeSides[1] + 1) / 2; ++side) {
        templates_[object].push_back(make_template(object, side, background_));
      }
    }
  }

  // The sprite that explains most in the region (given in fine pixels), if any is seen there.
  std::optional<ReadObject> find(const Region& region, double* gain) const {
    const Region half{region.left / 2,         region.top / 2,      (region.right + 1) / 2,
                      (region.bottom + 1) / 2, region.smallest / 2, (region.largest + 1) / 2};
    std::vector<Fit> fits;
    for (int object = 0; object < static_cast<int>(templates_.size()); ++object) {
      Fit best;
      for (int side = half.smallest; side <= half.largest; ++side) {
        search(coarse_, templates_[object][side - kSmallSides[0] / 2], object, half, best);
      }
      if (best.gain > 0) fits.push_back(best);
    }
    std::sort(fits.begin(), fits.end(), [](const Fit& a, const Fit& b) { return a.gain > b.gain; });
    if (fits.size() > kShortlist) fits.resize(kShortlist);
    Fit best;
    for (const Fit& fit : fits) refine(fit, region, best);
    if (best.gain <= 0) return std::nullopt;
    const double score = cosine(best);
    if (score < kSeen) return std::nullopt;
    *gain = best.gain;
    return ReadObject{best.object, score, {best.x, best.y, best.side}};
  }

 private:
  // Climbs from a coarse fit to the best place and side nearby, then to the best softness.
  void refine(const Fit& fit, const Region& region, Fit& best) const {
    Fit here;
    Fit next{fit.object, std::clamp(2 * fit.side, region.smallest, region.largest), 2 * fit.x, 2 * fit.y, 0, 0};
    do {
      const int x = next.x, y = next.y, middle = next.side;
      here = next;
      for (int side = std::max(region.smallest, middle - 1); side <= std::min(region.largest, middle + 1); ++side) {
        const Region near{std::max(region.left, x - 1),
                          std::max(region.top, y - 1),
                          std::min(region.right, x + 1 + side),
                          std::min(region.bottom, y + 1 + side),
                          side,
                          side};
        search(fine_, make_template(fit.object, side, background_), fit.object, near, next);
      }
    } while (next.gain > here.gain);
    if (here.gain <= 0) return;
    Picture sprite = make_template(here.object, here.side, background_);
    for (here.softness = 0; here.softness <= kSoftest; ++here.softness) {
      here.gain = explained(correlate(fine_, sprite, here.x, here.y), std::max(1.0, energy_of(sprite)));
      if (here.gain > best.gain) best = here;
      sprite = soften(sprite);
    }
  }

  double cosine(const Fit& fit) const {
    Picture sprite = make_template(fit.object, fit.side, background_);
    for (int i = 0; i < fit.softness; ++i) sprite = soften(sprite);
    double energy = 0;
    for (int row = 0; row < fit.side; ++row) {
      const int16_t* pixels = fine_.at(fit.x, fit.y + row);
      energy += dot(pixels, pixels, fit.side * 3);
    }
    return correlate(fine_, sprite, fit.x, fit.y) / std::sqrt(std::max(1.0, energy * energy_of(sprite)));
  }

  Picture fine_, coarse_;
  Color background_;
  std::vector<std::vector<Picture>> templates_;  // coarse, by object and side
};

// Two objects side by side or one above the other, whichever axis parts their middles more.
Relation relation_of(const Placement& a, const Placement& b) {
  const int across = 2 * b.x + b.side - 2 * a.x - a.side, down = 2 * b.y + b.side - 2 * a.y - a.side;
  return std::abs(across) >= std::abs(down) ? Relation::kLeftOf : Relation::kAbove;
}

}  // namespace

Reading read_image(const image::Image& picture) {
  if (picture.width < 1 || picture.height < 1) throw DataError(describe("oracle", "a picture with pixels", "none"));
  const std::vector<uint8_t> pixels = shrink(picture, kFine);
  const Color background = border_median(pixels);
  Reading reading;
  reading.background = nearest_background(background);

  Picture fine{kFine, {}};
  for (size_t i = 0; i < pixels.size(); ++i)
    fine.pixels.push_back(static_cast<int16_t>(int{pixels[i]} - background[i % 3]));
  const Matcher matcher(std::move(fine), background);
  const int low = kFine / 2 - 1, high = kFine / 2 + 1;  // halves may meet a pixel beyond the middle
  const int smallest = kSmallSides[0], largest = kSmallSides[1];
  const std::vector<std::vector<Region>> layouts = {
      {{0, 0, kFine, kFine, kLargeSides[0], kLargeSides[1]}},
      {{0, 0, kFine, kFine, smallest, largest}},
      {{0, 0, high, kFine, smallest, largest}, {low, 0, kFine, kFine, smallest, largest}},
      {{0, 0, kFine, high, smallest, largest}, {0, low, kFine, kFine, smallest, largest}}};
  double most = 0;
  for (const auto& layout : layouts) {
    std::vector<ReadObject> objects;
    double total = 0;
    for (const Region& region : layout) {
      double gain = 0;
      if (const auto object = matcher.find(region, &gain)) objects.push_back(*object), total += gain;
    }
    if (total > most) most = total, reading.objects = std::move(objects);
  }
  if (reading.objects.size() == 2) {
    ReadObject &a = reading.objects[0], &b = reading.objects[1];
    reading.relation = relation_of(a.placement, b.placement);
    const bool beside = reading.relation == Relation::kLeftOf;
    if (beside ? a.placement.x > b.placement.x : a.placement.y > b.placement.y) std::swap(a, b);
  }
  return reading;
}

}  // namespace readback::data
