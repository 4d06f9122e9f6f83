// PSNR and SSIM (image/pixel.h) of candidate image and original image.
#pragma once
#include <memory>

#include "readback/score/metric.h"

namespace readback::score {

// PSNR of an identical pair is infinite and no mean survives that, so metrics stop here.
inline constexpr double kMostPsnr = 100;  // decibels

// Where the sizes differ, the candidate is brought to the original's by Pillow's bicubic. NaN where an image is missing
// and, for SSIM, where the original has a side below 6.
std::unique_ptr<Metric> make_psnr_metric(MetricInfo info);
std::unique_ptr<Metric> make_ssim_metric(MetricInfo info);

}  // namespace readback::score
