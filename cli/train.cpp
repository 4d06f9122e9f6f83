#include <fmt/format.h>

#include "common.h"
#include "readback/base/error.h"
#include "readback/train/trainer.h"

namespace readback::cli {

namespace {

struct TrainFlags {
  MachineFlags machine;
  train::TaskOptions task;
  train::TrainOptions train;
  std::string output;
};

}  // namespace

void add_train(CLI::App& app) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* verb = app.add_subcommand("train", "Train a model of the small world from scratch, by a recipe");
  verb->footer(
      "Examples:\n"
      "  readback train recipes/emoji-scenes/vae.toml --output runs/vae\n"
      "  readback train recipes/emoji-scenes/vae.toml --output runs/vae    # again: goes on where it stopped");
  flags->machine.options.dtype = "float32";
  flags->machine.add_to(*verb);
  verb->add_option("RECIPE", flags->machine.recipe, "File of the flags below; the command line wins over it");
  auto& task = flags->task;
  auto& options = flags->train;
  verb->add_option("--task", task.task, "vae, clip, captioner or diffusion")->required();
  verb->add_option("--model", task.model, "Folder of configuration files; weights in it are the start")->required();
  verb->add_option("--vae", task.vae, "diffusion: the trained VAE's folder");
  verb->add_option("--text-encoder", task.text_encoder, "diffusion: CLIP repository whose text model is the start");
  verb->add_option("--image-size", task.image_size, "Side of a scene in pixels")->capture_default_str();
  verb->add_option("--batch-size", task.batch_size)->capture_default_str()->check(CLI::PositiveNumber);
  verb->add_option("--first-scene", task.first_scene, "Of the training split's: the first that is seen")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--scenes", task.scenes, "How many of the training split's scenes are seen")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--caption-noise", task.caption_noise,
                   "captioner, diffusion: share of captions as the web has them: wrong, partly wrong or terse")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--unconditional", task.unconditional, "diffusion: share of empty captions")->capture_default_str();
  verb->add_option("--snr-gamma", task.snr_gamma, "diffusion: min-SNR weighting; 0: none")->capture_default_str();
  verb->add_option("--kl-weight", task.kl_weight, "vae: weight of the KL term")->capture_default_str();
  verb->add_option("--gradient-weight", task.gradient_weight, "vae: weight of the edge term")->capture_default_str();
  verb->add_option("--degradation", task.degradation, "clip, captioner: share of images with noise or blur")
      ->capture_default_str();
  verb->add_option("--seed", task.seed)->capture_default_str();
  verb->add_option("--steps", options.steps)->capture_default_str()->check(CLI::PositiveNumber);
  verb->add_option("--learning-rate", options.learning_rate)->capture_default_str();
  verb->add_option("--final-learning-rate", options.final_learning_rate, "Cosine: the last rate as a share")
      ->capture_default_str();
  verb->add_option("--warmup", options.warmup, "Steps")->capture_default_str();
  verb->add_option("--schedule", options.schedule, "constant or cosine")->capture_default_str();
  verb->add_option("--beta2", options.optimizer.beta2)->capture_default_str();
  verb->add_option("--weight-decay", options.optimizer.weight_decay)->capture_default_str();
  verb->add_option("--clip-norm", options.optimizer.clip_norm, "Of all gradients; 0: none")->capture_default_str();
  verb->add_option("--ema-decay", options.optimizer.ema_decay, "Moving average that is saved; 0: none")
      ->capture_default_str();
  verb->add_option("--checkpoint-seconds", options.checkpoint_seconds)->capture_default_str();
  verb->add_option("--output", flags->output, "Folder for the repository and the state to resume from")->required();
  verb->callback([flags, verb] {
    if (const int64_t size = find_launch().size; size > 1) {
      throw UsageError(describe("readback train", "one process", std::to_string(size),
                                "The small world's models are too small to share; `readback finetune` can be"));
    }
    const Machine machine = flags->machine.open();
    flags->task.device = machine.device;
    flags->task.dtype = machine.dtype;
    // Everything but where it goes and how fast it runs decides the weights.
    flags->train.recipe = resolved_flags(*verb, {"output", "threads", "checkpoint-seconds"});
    const auto progress = make_progress();
    const Context context = context_with(*progress);
    const auto learner = train::make_task(flags->task, context);
    train::train(*learner, flags->train, flags->output, context);
    fmt::print("{}\n", flags->output);
  });
}

}  // namespace readback::cli
