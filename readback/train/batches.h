// Batches of the small world: each depends on (seed, step) only, so that a resume sees what an undisturbed run saw.
#pragma once
#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "readback/base/random.h"
#include "readback/data/emoji_scenes.h"
#include "readback/generate/noise_schedule.h"
#include "readback/image/preprocess.h"

namespace readback::train {

// `count` scenes of the training split, drawn with replacement from the `scenes` ones that begin at `first`.
std::vector<data::Scene> draw_scenes(Random& random, int64_t count, int64_t first, int64_t scenes);

// Float [B, 3, size, size] in [0, 1], channels-last.
at::Tensor render_scenes(std::span<const data::Scene> scenes, int64_t size);

// Noise or a 3 × 3 blur on a share of the images, because readers also meet generated pictures. Stays in [0, 1].
at::Tensor degrade(const at::Tensor& images, double share, Random& random);

// [0, 1] images as a model's preprocessing normalises them; sizes must match already.
at::Tensor normalise(const at::Tensor& images, const image::PreprocessOptions& options);

// Which of the five phrasings to learn: the complete one most often, so that it is also the likeliest to be said.
size_t draw_phrasing(Random& random);

// A caption of `scene` in a phrasing that draw_phrasing() gives, or, for a share `noise` of the draws, a noisy one.
std::string draw_caption(const data::Scene& scene, double noise, Random& random);

// min(SNR, γ) / SNR for noise, over SNR + 1 for velocity: the loss on x_0 with its weight bounded
// (https://arxiv.org/abs/2303.09556). fp32 [B] on the CPU; ones where `gamma` is 0.
at::Tensor min_snr_weights(const generate::NoiseSchedule& schedule, const at::Tensor& t, double gamma);

// Standard normal values in fp32 on the CPU.
at::Tensor normal_like(const at::Tensor& shape, Random& random);

}  // namespace readback::train
