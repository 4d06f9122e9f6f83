#include "readback/train/return_task.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <functional>
#include <optional>

#include "readback/base/error.h"
#include "readback/generate/denoiser.h"
#include "readback/generate/denoising_error.h"
#include "readback/nn/differentiable.h"
#include "readback/train/batches.h"
#include "readback/train/lessons.h"
#include "readback/train/pair_task.h"
#include "readback/train/preference.h"
#include "readback/train/unified_batches.h"

namespace readback::train {

namespace {

using roundtrip::Direction;

bool learns(CaptionerMethod method) { return method != CaptionerMethod::kNone; }
bool learns(GeneratorMethod method) { return method != GeneratorMethod::kNone; }

// `options` with what follows from how the models learn.
UnifiedTaskOptions resolved(UnifiedTaskOptions options, const Machine& machine) {
  const ReturnOptions& returned = options.returned;
  if (!learns(returned.captioner_method)) options.models.train_captioner = Selection::kNone;
  if (!learns(returned.generator_method)) options.models.train_generator = Selection::kNone;
  options.models.minimum_coverage = 0;  // no soft texts
  options.objective.lm_weight = options.objective.diffusion_weight = options.objective.policy.weight = 0;
  options = resolved_models(std::move(options), machine);
  if (options.models.train_captioner == Selection::kNone) options.returned.captioner_method = CaptionerMethod::kNone;
  if (options.models.train_generator == Selection::kNone) options.returned.generator_method = GeneratorMethod::kNone;
  const auto expect_own = [](const char* name, bool sft, LessonSource source) {
    if (sft || source == LessonSource::kOwn) return;
    throw UsageError(describe(name, "own, for a method that compares candidates", "\"" + name_of(source) + "\""));
  };
  if (learns(returned.captioner_method)) {
    expect_own("captioner_source", returned.captioner_method == CaptionerMethod::kSft, returned.captioner_source);
  }
  if (learns(returned.generator_method)) {
    expect_own("generator_source", returned.generator_method == GeneratorMethod::kSft, returned.generator_source);
  }
  return options;
}

bool needs_reference(const ReturnOptions& options) {
  return options.captioner_method == CaptionerMethod::kDpo || options.captioner_method == CaptionerMethod::kGrpo ||
         options.generator_method == GeneratorMethod::kDpo;
}

template <typename Compute>
at::Tensor without_gradients(const Compute& compute) {
  c10::NoGradGuard no_grad;
  return compute();
}

// Every other value of [2 B], from the first or from the second on: [B].
Compared compared(const at::Tensor& side_by_side) {
  return {side_by_side.slice(0, 0, {}, 2), side_by_side.slice(0, 1, {}, 2)};
}

class ReturnTask : public PairTask {
 public:
  // `options` are resolved.
  ReturnTask(const UnifiedTaskOptions& options, const Machine& machine, const Context& context, const Ranks& ranks)
      : PairTask(options, machine, context, ranks, needs_reference(options.returned)),
        batches_(options_.batches, options_.objective, pair_, ranks),
        objective_(pair_.models(), options_.objective, start_.get()) {
    if (!options_.batches.samples.dataset.empty()) samples_.emplace(options_.batches.samples, context);
    const ReturnOptions& how = options_.returned;
    if (learns(how.captioner_method)) {
      open(captioner_, how.captioner_source, Direction::kI2T2I,
           how.captioner_method == CaptionerMethod::kDpo    ? Lessons::Needs::kComparisons
           : how.captioner_method == CaptionerMethod::kGrpo ? Lessons::Needs::kGroups
                                                            : Lessons::Needs::kChosen);
    }
    if (learns(how.generator_method)) {
      open(generator_, how.generator_source, Direction::kT2I2T,
           how.generator_method == GeneratorMethod::kDpo ? Lessons::Needs::kComparisons : Lessons::Needs::kChosen);
    }
  }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    const nn::GradientCheckpointing checkpointing(options_.gradient_checkpointing);
    const ReturnOptions& how = options_.returned;
    at::Tensor total;
    const auto add_lesson = [&](const at::Tensor& loss) {
      total = total.defined() ? total + how.weight * loss : how.weight * loss;
    };
    if (how.weight > 0) {
      if (learns(how.captioner_method)) add_lesson(captioner_loss(step, metrics));
      if (learns(how.generator_method)) add_lesson(generator_loss(step, metrics));
    }
    if (samples_ && how.supervised_weight > 0) {
      const at::Tensor supervised = how.supervised_weight * supervised_loss(step, metrics);
      total = total.defined() ? total + supervised : supervised;
    }
    if (!total.defined()) throw UsageError(describe("weight, supervised_weight", "one above 0", "0"));
    add_anchor(total, metrics);
    return total;
  }

 private:
  // Of one model: from its own cycle and from the other.
  struct Sources {
    std::optional<Lessons> own, other;
  };

  void open(Sources& sources, LessonSource source, Direction own, Lessons::Needs needs) {
    const auto lessons = [&](Direction direction) {
      const bool images = direction == Direction::kI2T2I;
      const ReturnOptions& how = options_.returned;
      const std::string& folder = images ? how.image_cycle_run : how.text_cycle_run;
      if (folder.empty()) {
        throw UsageError(describe(images ? "image_cycle_run" : "text_cycle_run", "a run to learn from", "none"));
      }
      Lessons opened(folder, direction, images ? how.image_cycle : how.text_cycle, needs);
      context_.progress().note(std::string(own == Direction::kI2T2I ? "captioner" : "generator") + ", lessons of " +
                               roundtrip::name(direction) + ": " + opened.summary());
      return opened;
    };
    const Direction other = own == Direction::kI2T2I ? Direction::kT2I2T : Direction::kI2T2I;
    if (source != LessonSource::kOther) sources.own.emplace(lessons(own));
    if (source != LessonSource::kOwn) sources.other.emplace(lessons(other));
  }

  // With both sources the rows take turns.
  std::vector<Lesson> draw(const Sources& sources, const char* stream, int64_t step) const {
    std::vector<Lesson> lessons;
    for (const int64_t number : row_numbers(step, options_.batches.batch_size, ranks_)) {
      const bool own = sources.own && (!sources.other || number % 2 == 0);
      const Random random(options_.batches.seed, Purpose::kTraining, stream, static_cast<uint64_t>(number));
      lessons.push_back((own ? *sources.own : *sources.other).draw(random, options_.returned.sft_temperature));
    }
    return lessons;
  }

  static std::vector<BatchRow> rows_of(const std::vector<Lesson>& lessons) {
    std::vector<BatchRow> rows;
    for (const Lesson& lesson : lessons) rows.push_back(lesson.row);
    return rows;
  }

  at::Tensor captioner_loss(int64_t step, Metrics& metrics) {
    const std::vector<Lesson> lessons = draw(captioner_, "captioner lesson", step);
    std::vector<BatchRow> rows = rows_of(lessons);
    if (options_.returned.captioner_method == CaptionerMethod::kSft) {
      const ImageCycleBatch batch = batches_.image_cycle(rows);
      pair_.release_encoders();
      at::Tensor total;
      add("image_cycle", objective_.image_cycle(batch), total, metrics);
      return total;
    }
    const bool dpo = options_.returned.captioner_method == CaptionerMethod::kDpo;
    std::vector<std::string> texts;
    std::vector<double> rewards;
    for (const Lesson& lesson : lessons) {
      if (dpo) {
        texts.insert(texts.end(), {lesson.row.caption, lesson.rejected_caption});
      } else {
        texts.insert(texts.end(), lesson.candidates.begin(), lesson.candidates.end());
        rewards.insert(rewards.end(), lesson.rewards.begin(), lesson.rewards.end());
      }
    }
    at::Tensor pixels;
    const caption::Pictures images = batches_.images(rows, pixels);
    const CaptionBatch captions = batches_.captions(rows, texts);
    pair_.release_encoders();
    const at::Tensor model = log_probabilities(pair_.models().captioner, images, captions);
    const at::Tensor reference = without_gradients([&] {
      const caption::TokenCaptioner& start = start_->captioner();
      return log_probabilities(start, pixels.defined() ? look_at(start, pixels, images) : images, captions);
    });
    const Share share = batches_.share_of(captions);
    return dpo ? captioner_dpo(model, reference, captions, share, metrics)
               : grpo(model, reference, captions, rewards, share, metrics);
  }

  // fp32 [S, L], of as many captions of each picture
  static at::Tensor log_probabilities(const caption::TokenCaptioner& captioner, const caption::Pictures& images,
                                      const CaptionBatch& captions) {
    const auto each = static_cast<int64_t>(captions.texts.known.size() / images.rows.size());
    return token_log_probabilities(captioner.logits(repeated(images, each), captions.texts), captions.labels);
  }

  at::Tensor captioner_dpo(const at::Tensor& model, const at::Tensor& reference, const CaptionBatch& captions,
                           const Share& share, Metrics& metrics) const {
    const Compared ours = compared(model.sum(1)), before = compared(reference.sum(1));
    const Compared tokens = compared(captions.labels.slice(1, 1).ge(0).sum(1));
    const at::Tensor loss = share.rows * dpo_loss(ours, before, tokens, options_.returned.dpo);
    const at::Tensor margin = (ours.chosen - before.chosen - ours.rejected + before.rejected).detach();
    metrics.emplace_back("captioner_dpo", loss.item<double>());
    metrics.emplace_back("captioner_dpo_margin", share.rows * margin.mean().item<double>());
    metrics.emplace_back("captioner_dpo_accuracy", share.rows * margin.gt(0).to(at::kFloat).mean().item<double>());
    return loss;
  }

  at::Tensor grpo(const at::Tensor& model, const at::Tensor& reference, const CaptionBatch& captions,
                  const std::vector<double>& rewards, const Share& share, Metrics& metrics) const {
    const GrpoOptions& options = options_.returned.grpo;
    const at::Tensor values = at::tensor(rewards, at::kDouble).view({options_.batches.batch_size, -1});
    const at::Tensor advantages = group_advantages(values, options.scale).flatten().to(model.device());
    // The candidates are the starting model's own.
    const GrpoLoss loss = grpo_loss({.model = model, .old = reference, .reference = reference}, advantages,
                                    captions.labels.slice(1, 1).ge(0), options);
    const double part = options.average == GrpoAverage::kToken ? share.tokens : share.rows;
    const at::Tensor total = part * loss.total;
    metrics.emplace_back("captioner_grpo", total.item<double>());
    metrics.emplace_back("captioner_grpo_divergence", share.tokens * loss.divergence.item<double>());
    metrics.emplace_back("captioner_grpo_clipped", share.tokens * loss.clipped.item<double>());
    return total;
  }

  at::Tensor generator_loss(int64_t step, Metrics& metrics) {
    std::vector<Lesson> lessons = draw(generator_, "generator lesson", step);
    if (options_.returned.generator_method == GeneratorMethod::kDpo) return generator_dpo(lessons, metrics);
    std::vector<BatchRow> rows = rows_of(lessons);
    const TextCycleBatch batch = batches_.text_cycle(rows);
    pair_.release_encoders();
    at::Tensor total;
    add("text_cycle", objective_.text_cycle(batch), total, metrics);
    return total;
  }

  at::Tensor generator_dpo(std::vector<Lesson>& lessons, Metrics& metrics) {
    std::vector<at::Tensor> latents, noise;
    std::vector<int64_t> timesteps;
    std::vector<std::string> texts;
    for (Lesson& lesson : lessons) {
      Random& random = lesson.row.random;
      latents.push_back(batches_.draw_latents(lesson.row.picture, random));
      latents.push_back(batches_.draw_latents(lesson.rejected_picture, random));
      noise.push_back(normal_like(latents.back(), random));
      noise.push_back(noise.back());
      timesteps.push_back(batches_.draw_timestep(random));
      timesteps.push_back(timesteps.back());
      texts.insert(texts.end(), 2, lesson.row.caption);
    }
    const generate::NoisyPictures pictures{
        .latents = batches_.stacked(latents), .noise = batches_.stacked(noise), .timesteps = at::tensor(timesteps)};
    const models::UnetConditions text = batches_.conditions(texts);
    pair_.release_encoders();
    const auto errors = [&](const models::Unet& unet) {  // [2 B]
      return denoising_error(generate::UnetDenoiser(unet, text), pair_.models().schedule, pictures);
    };
    const Compared before = compared(without_gradients([&] { return errors(start_->unet()); }));
    const Compared ours = compared(errors(pair_.models().unet));
    const double share = 1.0 / static_cast<double>(ranks_.size());
    const at::Tensor loss = share * diffusion_dpo_loss(ours, before, options_.returned.diffusion_dpo_beta);
    const at::Tensor margin = (before.chosen - ours.chosen - before.rejected + ours.rejected).detach();
    metrics.emplace_back("generator_dpo", loss.item<double>());
    metrics.emplace_back("generator_dpo_accuracy", share * margin.gt(0).to(at::kFloat).mean().item<double>());
    metrics.emplace_back("generator_dpo_error", share * ours.chosen.mean().item<double>());
    return loss;
  }

  at::Tensor supervised_loss(int64_t step, Metrics& metrics) {
    std::vector<BatchRow> rows = samples_->rows(step, options_.batches.batch_size, options_.batches.seed, ranks_);
    at::Tensor total;
    if (learns(options_.returned.generator_method)) {
      const TextCycleBatch batch = batches_.text_cycle(rows);
      add("supervised", objective_.text_cycle(batch), total, metrics);
    }
    if (learns(options_.returned.captioner_method)) {
      const ImageCycleBatch batch = batches_.image_cycle(rows);
      add("supervised", objective_.image_cycle(batch), total, metrics);
    }
    pair_.release_encoders();
    return total;
  }

  UnifiedBatches batches_;
  UnifiedObjective objective_;             // each model's own loss
  std::optional<UnifiedSamples> samples_;  // clean pairs
  Sources captioner_, generator_;
};

}  // namespace

std::unique_ptr<Task> make_return_task(const UnifiedTaskOptions& options, const Machine& machine,
                                       const Context& context, const Ranks& ranks) {
  return std::make_unique<ReturnTask>(resolved(options, machine), machine, context, ranks);
}

}  // namespace readback::train
