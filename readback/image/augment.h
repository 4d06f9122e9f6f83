// Training pictures of BLIP's captioner, changed by chance: a random resized crop (torchvision's), a horizontal flip
// and RandAugment (https://arxiv.org/abs/1909.13719), as salesforce/BLIP has them in data/__init__.py and
// transform/randaugment.py.
//
// Results are the bytes of Pillow (crop) and of NumPy and OpenCV 4 (operations); OpenCV 5 interpolates more finely.
// Two of BLIP's slips are not repeated: its AutoContrast negates an 8-bit number, which makes a channel without black
// all white, and its Sharpness wraps around beyond 255 at levels above 5.
#pragma once
#include <array>

#include "readback/base/random.h"
#include "readback/image/image.h"

namespace readback::image {

struct Box {
  int64_t left = 0, top = 0, width = 0, height = 0;
  bool operator==(const Box&) const = default;
};

enum class Operation {
  kIdentity,
  kAutoContrast,
  kEqualize,
  kBrightness,
  kSharpness,
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate
};

// The ten that BLIP chooses from, each as often.
inline constexpr std::array kOperations = {Operation::kIdentity,  Operation::kAutoContrast, Operation::kBrightness,
                                           Operation::kSharpness, Operation::kEqualize,     Operation::kShearX,
                                           Operation::kShearY,    Operation::kTranslateX,   Operation::kTranslateY,
                                           Operation::kRotate};

struct AugmentOptions {
  double smallest_area = 0.5, largest_area = 1.0;  // of the crop, as a share of the picture's
  double flip = 0.5;                               // probability
  int operations = 2;                              // drawn with replacement …
  double probability = 0.5;                        // … and each applied with this probability
  double level = 5;                                // 0 to 10
};

// `level` 0 to 10: Brightness and Sharpness by a factor of 0.1 + 0.18 · level (so level 5 changes nothing), a shear by
// 0.03 · level, a translation by `level` pixels, a rotation by 3 · level degrees, counter-clockwise; these four also
// the other way, by a negative level. What comes from outside is grey, 128.
Image apply(const Image& image, Operation operation, double level);

// Area and the logarithm of the sides' ratio (3/4 to 4/3) uniform, the place uniform; after ten draws that do not fit,
// the largest box in the middle whose ratio is allowed.
Box draw_crop(int64_t width, int64_t height, Random& random, const AugmentOptions& options = {});

// Errors: DataError for a box that is empty or not inside the picture.
Image crop(const Image& image, const Box& box);

// Crop, bicubic resize to `width` × `height`, flip, operations. Errors: DataError as resize().
Image augment(const Image& image, int64_t width, int64_t height, Random& random, const AugmentOptions& options = {});

}  // namespace readback::image
