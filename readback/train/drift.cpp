#include "readback/train/drift.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "readback/generate/denoiser.h"
#include "readback/train/anchor.h"
#include "readback/train/batches.h"
#include "readback/train/caption_batch.h"
#include "readback/train/model_pair.h"
#include "readback/train/unified_batches.h"

namespace readback::train {

namespace {

constexpr int64_t kSamples = 64, kBatch = 8;

using roundtrip::Direction;

// The first samples of a direction with their first candidates, as rows; all that is drawn depends on the sample only.
std::vector<BatchRow> rows_of(const roundtrip::Store& run, Direction direction) {
  std::vector<BatchRow> rows;
  for (const roundtrip::SampleRow& sample : run.samples()) {
    if (std::ssize(rows) == kSamples) break;
    const auto candidates = run.candidates(direction, sample.id);
    if (candidates.empty() || !candidates.front().complete()) continue;
    const bool images = direction == Direction::kI2T2I;
    const std::string path = images ? sample.image : *candidates.front().image;
    rows.push_back({{path, [&run, path] { return run.load_image(path); }},
                    prepare_caption(images ? *candidates.front().text : sample.prompt()),
                    Random(0, Purpose::kTraining, "drift " + sample.id)});
  }
  return rows;
}

class Pair {
 public:
  Pair(const PairOfRepositories& repositories, const Machine& machine)
      : pair_({.captioner = repositories.captioner,
               .generator = repositories.generator,
               .train_captioner = Selection::kNone,
               .train_generator = Selection::kNone,
               .minimum_coverage = 0},
              machine),
        batches_({}, {}, pair_) {}

  CaptionBatch captions(const std::vector<BatchRow>& rows) {
    std::vector<std::string> texts;
    for (const BatchRow& row : rows) texts.push_back(row.caption);
    return batches_.captions(rows, texts);
  }

  at::Tensor logits(std::vector<BatchRow> rows) {  // [B, L + 1, V]
    at::Tensor pixels;
    const caption::Pictures images = batches_.images(rows, pixels);
    return pair_.models().captioner.logits(images, captions(rows).texts);
  }

  at::Tensor prediction(std::vector<BatchRow> rows) {  // [B, c, h, w]
    std::vector<at::Tensor> latents, noise;
    std::vector<int64_t> timesteps;
    std::vector<std::string> texts;
    for (BatchRow& row : rows) {
      latents.push_back(batches_.draw_latents(row.picture, row.random));
      noise.push_back(normal_like(latents.back(), row.random));
      timesteps.push_back(batches_.draw_timestep(row.random));
      texts.push_back(row.caption);
    }
    const at::Tensor t = at::tensor(timesteps, at::kLong);
    const UnifiedModels& models = pair_.models();
    const at::Tensor noisy = models.schedule.add_noise(batches_.stacked(latents), batches_.stacked(noise), t);
    return generate::UnetDenoiser(models.unet, batches_.conditions(texts)).predict(noisy, t);
  }

 private:
  ModelPair pair_;
  UnifiedBatches batches_;
};

// The mean over rows of `of`, which is given a batch of them; none without rows.
template <typename Of>
std::optional<double> mean_of(const std::vector<BatchRow>& rows, const Context& context, const Of& of) {
  if (rows.empty()) return std::nullopt;
  double sum = 0;
  for (auto begin = rows.begin(); begin < rows.end(); begin += std::min<std::ptrdiff_t>(kBatch, rows.end() - begin)) {
    context.check();
    const std::vector<BatchRow> batch(begin, begin + std::min<std::ptrdiff_t>(kBatch, rows.end() - begin));
    sum += of(batch) * static_cast<double>(batch.size());
  }
  return sum / static_cast<double>(rows.size());
}

bool has(const roundtrip::Store& run, Direction direction) {
  return std::ranges::find(run.directions(), direction) != run.directions().end();
}

}  // namespace

Drift measure_drift(const PairOfRepositories& start, const PairOfRepositories& tuned, const roundtrip::Store& run,
                    const Machine& machine, const Context& context) {
  c10::NoGradGuard no_grad;
  Drift drift;
  const bool captioner = has(run, Direction::kI2T2I), generator = has(run, Direction::kT2I2T);
  if (start.captioner == tuned.captioner && captioner) drift.captioner = 0;
  if (start.generator == tuned.generator && generator) drift.generator = 0;
  const bool captioner_moved = captioner && !drift.captioner, generator_moved = generator && !drift.generator;
  if (!captioner_moved && !generator_moved) return drift;
  Pair before(start, machine), now(tuned, machine);
  if (captioner_moved) {
    drift.captioner = mean_of(rows_of(run, Direction::kI2T2I), context, [&](const std::vector<BatchRow>& rows) {
      return caption_divergence(now.logits(rows), before.logits(rows), now.captions(rows).labels).item<double>();
    });
  }
  if (generator_moved) {
    drift.generator = mean_of(rows_of(run, Direction::kT2I2T), context, [&](const std::vector<BatchRow>& rows) {
      return (now.prediction(rows) - before.prediction(rows)).square().mean().item<double>();
    });
  }
  return drift;
}

}  // namespace readback::train
