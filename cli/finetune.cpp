#include <fmt/format.h>

#include <cmath>

#include "common.h"
#include "readback/base/error.h"
#include "readback/checkpoint/repository.h"
#include "readback/train/trainer.h"
#include "readback/train/unified_task.h"

namespace readback::cli {

namespace {

struct FinetuneFlags {
  MachineFlags machine;
  train::UnifiedTaskOptions task;
  train::TrainOptions train;
  std::string objective = "unified", soft_tokens = "probabilities", captions = "any", output;
  std::string reading = "estimate", policy_scale = "batch";
  double learning_rate = 1e-4, captioner_learning_rate = 1e-4, weight_decay = 0.01, captioner_weight_decay = 0.0;
  double cache_gigabytes = 2;
};

void add_model_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Models");
  auto& task = flags.task;
  verb.add_option("--captioner", task.models.captioner, "BLIP repository to start from")->required();
  verb.add_option("--generator", task.models.generator, "Stable Diffusion repository to start from")->required();
  const std::string selections = "xattn_q, xattn_kv, xattn_qkv, all or none; lora:xattn_q … lora:all: adapters";
  verb.add_option("--train-captioner", task.models.train_captioner, selections)->capture_default_str();
  verb.add_option("--train-generator", task.models.train_generator, selections)->capture_default_str();
  verb.add_option("--lora-rank", task.models.lora.rank, "Of adapters")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--lora-alpha", task.models.lora.alpha, "What adapters give counts α / rank times; 0: once")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--vocabulary-map", task.models.vocabulary_map,
                  "The captioner's token for each of the generator's (reindex.pth); else made by rule");
  verb.add_option("--minimum-coverage", task.models.minimum_coverage,
                  "Share of the captioner's tokens that must have one")
      ->capture_default_str();
}

void add_data_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Data");
  auto& task = flags.task;
  verb.add_option("--dataset", task.batches.samples.dataset, "emoji-scenes, a folder, or coco:ANNOTATIONS.json:IMAGES")
      ->required();
  verb.add_option("--split", task.batches.samples.split, "emoji-scenes: train, validation, test or novel-pairs")
      ->capture_default_str();
  verb.add_option("--first-sample", task.batches.samples.first)->capture_default_str()->check(CLI::NonNegativeNumber);
  verb.add_option("--samples", task.batches.samples.count, "How many samples are seen; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--captions", flags.captions, "any: one of a sample's by chance; first")
      ->capture_default_str()
      ->check(CLI::IsMember({"any", "first"}));
  verb.add_option("--image-size", task.batches.samples.image_size, "emoji-scenes: side in pixels")
      ->capture_default_str();
  verb.add_option("--resolution", task.batches.resolution, "Side of the generator's pictures; 0: as it was trained")
      ->capture_default_str();
  verb.add_option("--unconditional", task.batches.unconditional, "Text cycle: share of empty captions")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  verb.add_option("--degradation", task.batches.degradation, "Image cycle: share of pictures with noise or blur")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  verb.add_option(
          "--augment", task.batches.augmentation,
          "Image cycle: none, or blip: BLIP's random crop, flip and RandAugment(2, 5). Flips make \"left of\" wrong")
      ->capture_default_str();
  verb.add_option("--cache-gigabytes", flags.cache_gigabytes, "Memory for latents, image features and text states")
      ->capture_default_str();
}

void add_objective_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Objective");
  auto& objective = flags.task.objective;
  verb.add_option("--losses", flags.task.losses, "lm, diffusion (the controls) or unified")
      ->capture_default_str()
      ->check(CLI::IsMember({"lm", "diffusion", "unified"}));
  verb.add_option("--objective", flags.objective, "unified, or paper: the public code's arithmetic")
      ->capture_default_str();
  verb.add_option("--order", flags.task.order, "alternate: T-I-T and I-T-I in turn; joint: both in each batch")
      ->capture_default_str();
  verb.add_option("--soft-tokens", flags.soft_tokens, "probabilities: softmax, then gather; logits: gather, softmax")
      ->capture_default_str();
  verb.add_option("--temperature", objective.temperature, "Of soft tokens")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--lm-weight", objective.lm_weight, "T-I-T: weight of reading the estimate")->capture_default_str();
  verb.add_option("--diffusion-weight", objective.diffusion_weight, "I-T-I: weight λ of the soft text's loss")
      ->capture_default_str();
  verb.add_option("--draws", flags.task.batches.draws, "I-T-I: noise draws for each text")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--snr-gamma", objective.snr_gamma, "Min-SNR weighting of diffusion losses; 0: none")
      ->capture_default_str();
  verb.add_option("--read-first", objective.read_timesteps.first, "T-I-T: the least timestep whose estimate is read")
      ->capture_default_str();
  verb.add_option("--read-last", objective.read_timesteps.last, "T-I-T: the last timestep whose estimate is read")
      ->capture_default_str();
  verb.add_option("--read-snr-gamma", objective.read_snr_gamma, "T-I-T: weight min(SNR, γ) / γ of reading; 0: none")
      ->capture_default_str();
  verb.add_option("--label-smoothing", flags.task.models.label_smoothing,
                  "Of captions; -1: the captioner's, for paper 0.1")
      ->capture_default_str()
      ->check(CLI::Range(-1.0, 1.0));
}

void add_beyond_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Beyond the paper");
  auto& objective = flags.task.objective;
  auto& policy = objective.policy;
  verb.add_option("--anchor-kl", objective.anchor.kl, "Weight of the divergence from what the starting models say")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--anchor-l2", objective.anchor.l2, "Weight of half the squared distance from their parameters")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--reading", flags.reading, "T-I-T: read one-step estimates, or draft: pictures drawn from noise")
      ->capture_default_str();
  verb.add_option("--draft-steps", objective.draft.steps, "DDIM steps of a draft")->capture_default_str();
  verb.add_option("--draft-gradient-steps", objective.draft.gradient_steps, "Its last steps that carry gradients")
      ->capture_default_str();
  verb.add_option("--draft-guidance", objective.draft.guidance, "Classifier-free guidance of a draft; 1: none")
      ->capture_default_str();
  verb.add_option("--policy-weight", policy.weight, "I-T-I: of the policy gradient on sampled captions; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--policy-samples", policy.samples, "Captions sampled for each image")->capture_default_str();
  verb.add_option("--policy-draws", policy.draws, "Noise draws that an image's captions are compared by")
      ->capture_default_str();
  verb.add_option("--policy-scale", flags.policy_scale, "batch: advantages by their deviation in the batch; none")
      ->capture_default_str()
      ->check(CLI::IsMember({"batch", "none"}));
  verb.add_option("--clip-reward", policy.clip_weight, "Weight of CLIP's cosine of image and caption in the reward")
      ->capture_default_str();
  verb.add_option("--clip", policy.clip, "CLIP repository of --clip-reward")->capture_default_str();
}

void add_training_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Training");
  auto& options = flags.train;
  options.schedule = "constant";
  options.warmup = 0;
  verb.add_option("--steps", options.steps, "Updates")->capture_default_str()->check(CLI::PositiveNumber);
  verb.add_option("--batch-size", flags.task.batches.batch_size, "Rows in each process")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_flag("--gradient-checkpointing", flags.task.gradient_checkpointing,
                "Keep each block's input only and compute the block again for its gradients: less memory, more time");
  verb.add_option("--accumulation", options.accumulation, "Batches an update")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--learning-rate", flags.learning_rate, "The generator's")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--captioner-learning-rate", flags.captioner_learning_rate)->capture_default_str();
  verb.add_option("--final-learning-rate", options.final_learning_rate, "Cosine: the last rate as a share")
      ->capture_default_str();
  verb.add_option("--warmup", options.warmup, "Updates")->capture_default_str();
  verb.add_option("--schedule", options.schedule, "constant or cosine")
      ->capture_default_str()
      ->check(CLI::IsMember({"constant", "cosine"}));
  verb.add_option("--beta2", options.optimizer.beta2)->capture_default_str();
  verb.add_option("--weight-decay", flags.weight_decay, "The generator's")->capture_default_str();
  verb.add_option("--captioner-weight-decay", flags.captioner_weight_decay)->capture_default_str();
  verb.add_option("--clip-norm", options.optimizer.clip_norm, "Of all gradients, for paper the generator's; 0: none")
      ->capture_default_str();
  verb.add_option("--ema-decay", options.optimizer.ema_decay, "Moving average that is saved; 0: none")
      ->capture_default_str();
  verb.add_option("--seed", flags.task.batches.seed)->capture_default_str();
  verb.add_option("--checkpoint-seconds", options.checkpoint_seconds)->capture_default_str();
  verb.add_option("--log-every", options.log_every, "Updates; two in a row are logged")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
}

void add_evaluation_flags(CLI::App& verb, FinetuneFlags& flags) {
  verb.option_defaults()->group("Evaluation and the best checkpoint");
  auto& evaluation = flags.task.evaluation;
  verb.add_option("--evaluate-every", flags.train.evaluate_every, "Updates between evaluations of captions; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--evaluate-on", evaluation.samples.dataset, "Data set; emoji-scenes have --evaluate-split")
      ->capture_default_str();
  verb.add_option("--evaluate-split", evaluation.samples.split, "emoji-scenes: of the evaluation")
      ->capture_default_str();
  verb.add_option("--evaluate-samples", evaluation.samples.count, "How many; 0: all")->capture_default_str();
  verb.add_option("--select-by", evaluation.metrics, "Metrics whose sum makes the best checkpoint, kept in best/")
      ->capture_default_str()
      ->delimiter(',');
  verb.add_option("--patience", flags.train.patience, "Evaluations without a new best that end it; 0: never")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

void finetune(FinetuneFlags& flags, const CLI::App& verb) {
  const auto silent = make_progress();
  const Ranks ranks(find_launch(), context_with(*silent));
  const Machine machine = flags.machine.open(ranks.local_rank());
  flags.task.batches.ranks = ranks;
  auto& task = flags.task;
  task.models.device = machine.device;
  task.models.dtype = machine.dtype;
  task.models.lora.seed = task.batches.seed;
  task.objective.objective = train::parse_objective(flags.objective);
  task.objective.soft_tokens = train::parse_soft_tokens(flags.soft_tokens);
  task.objective.reading = train::parse_reading(flags.reading);
  task.objective.policy.scaled = flags.policy_scale == "batch";
  task.batches.samples.any_caption = flags.captions == "any";
  if (task.evaluation.samples.dataset.empty()) {
    if (flags.train.evaluate_every > 0 && task.batches.samples.dataset != "emoji-scenes") {
      throw UsageError(describe("--evaluate-every", "--evaluate-on, samples that are not trained on", "none"));
    }
    task.evaluation.samples.dataset = task.batches.samples.dataset;
  }
  task.evaluation.samples.image_size = task.batches.samples.image_size;
  task.batches.cache_bytes = static_cast<int64_t>(flags.cache_gigabytes * (1 << 30));
  if (const double rate = flags.captioner_learning_rate; !std::isfinite(rate) || rate < 0) {
    throw UsageError(describe("--captioner-learning-rate", "0 or more", fmt::format("{}", rate)));
  }
  flags.train.learning_rate = flags.learning_rate;
  flags.train.optimizer.weight_decay = flags.weight_decay;
  flags.train.optimizer.groups = {{.prefix = train::kCaptionerPrefix,
                                   .learning_rate = flags.captioner_learning_rate / flags.learning_rate,
                                   .weight_decay = flags.captioner_weight_decay,
                                   .clipped = task.objective.objective == train::Objective::kUnified}};
  flags.train.recipe = resolved_flags(verb, {"output", "threads", "checkpoint-seconds", "cache-gigabytes"});
  if (ranks.is_root()) {
    flags.train.models =
        fmt::format("captioner = {}\ngenerator = {}\n", checkpoint::Repository(task.models.captioner).digest(),
                    checkpoint::Repository(task.models.generator).digest());
  }
  const auto progress = make_progress(ranks);
  const Context context = context_with(*progress);
  const auto learner = train::make_unified_task(task, context);
  train::train(*learner, flags.train, flags.output, context, ranks);
  if (ranks.is_root()) fmt::print("{}\n", flags.output);
}

}  // namespace

void add_finetune(CLI::App& app) {
  auto flags = std::make_shared<FinetuneFlags>();
  CLI::App* verb =
      app.add_subcommand("finetune", "Unified fine-tuning: captioner and generator teach each other, by a recipe");
  verb->footer(
      "Examples:\n"
      "  readback finetune recipes/unified/unified.toml --output runs/unified\n"
      "  readback finetune recipes/unified/unified.toml --losses lm --output runs/lm    # the control\n"
      "  readback finetune recipes/unified/unified.toml --output runs/unified           # again: goes on\n"
      "  torchrun --no-python --nproc-per-node 2 \\\n"
      "      readback finetune recipes/unified/unified.toml --batch-size 4 --output runs/two   # srun, mpirun too\n"
      "  readback finetune recipes/unified/unified.toml --train-captioner lora:xattn_qkv \\\n"
      "      --train-generator lora:all --lora-rank 16 --output runs/lora\n"
      "Writes OUTPUT/captioner and OUTPUT/generator, repositories for transformers and diffusers, or of what lora:\n"
      "trains adapters for PEFT and diffusers; every verb takes both as --captioner and --generator.");
  flags->machine.add_to(*verb);
  verb->add_option("RECIPE", flags->machine.recipe, "File of the flags below; the command line wins over it");
  verb->add_option("--output", flags->output, "Folder for the two repositories and the state to resume from")
      ->required();
  add_model_flags(*verb, *flags);
  add_data_flags(*verb, *flags);
  add_objective_flags(*verb, *flags);
  add_beyond_flags(*verb, *flags);
  add_training_flags(*verb, *flags);
  add_evaluation_flags(*verb, *flags);
  verb->callback([flags, verb] { finetune(*flags, *verb); });
}

}  // namespace readback::cli
