// From pictures of any size to what Inception reads, in the ways in which published FIDs did.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "readback/image/image.h"

namespace readback::score {

// All of them squeeze the picture to 299 × 299 and scale it to (x − 128) / 128.
enum class InceptionMode {
  kTorchFidelity,  // "torch-fidelity": bilinear without antialiasing, as TensorFlow 1 (corner-aligned, in fp32)
  kCleanFid,       // "clean-fid": Pillow's antialiased bicubic in floating point, clipped to 0 … 255
  kPaper,          // "paper": first to 384 × 384 by Pillow's bicubic (rounded), then as torch-fidelity
};
InceptionMode inception_mode(const std::string& name);  // Errors: UsageError that lists the names
const char* name_of(InceptionMode mode);

// fp32 [count, 3, 299, 299], channels-last; picture(i) is called once for each i, from several threads.
// Errors: DataError for an empty picture, and what `picture` throws.
at::Tensor inception_input(int64_t count, const std::function<image::Image(int64_t)>& picture, InceptionMode mode);

}  // namespace readback::score
