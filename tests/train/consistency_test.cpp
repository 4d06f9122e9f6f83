// Latent consistency distillation against tools/reference/consistency.py, and as a training task.
#include "readback/train/consistency.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "readback/generate/open.h"
#include "readback/train/optimizer.h"
#include "readback/train/task.h"
#include "readback/train/trainer.h"
#include "training_folder.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

constexpr int64_t kSteps = 6, kBatch = 3;
const std::string kProjection = "time_embedding.cond_proj.weight";

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/consistency.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/consistency.json");
  return json;
}

// The tiny UNet, told its guidance by `projection`.
struct Student {
  nn::Weights weights;
  models::Unet unet;
  explicit Student(const at::Tensor& projection)
      : weights(with_projection(projection)), unet(config_of(projection), weights) {
    weights.finish();
  }
  static nn::Weights with_projection(const at::Tensor& projection) {
    checkpoint::TensorMap tensors = checkpoint::Repository(kGoldens + "generate/pipeline").tensors("unet");
    for (auto& [key, tensor] : tensors) tensor = tensor.clone();
    tensors[kProjection] = projection.clone();
    return nn::Weights(std::move(tensors), test_device(), at::kFloat, "student");
  }
  static models::UnetConfig config_of(const at::Tensor& projection) {
    models::UnetConfig own = models::UnetConfig::read(config("generate/pipeline/unet/config.json"));
    own.time_cond_proj_dim = projection.size(1);
    return own;
  }
};

class ConsistencyParity : public testing::TestWithParam<const char*> {};

TEST_P(ConsistencyParity, SixMicroStepsHaveTheReferencesLossesAndGradients) {
  const Case test{GetParam(), description()["cases"][GetParam()], golden()};
  const Tiny tiny;
  const Student student(test["guidance_projection"]), target(test["guidance_projection"]);
  nlohmann::json scheduler = description()["schedule"];
  scheduler["prediction_type"] = test.json["prediction_type"];
  const auto schedule = generate::NoiseSchedule::from_config(scheduler);
  const ConsistencyOptions options{.ddim_steps = test.json["ddim_steps"], .huber_c = test.json["huber_c"]};
  const nlohmann::json& adamw = description()["adamw"];
  AdamW optimizer(student.weights.parameters(), {.clip_norm = adamw["clip_norm"], .ema_decay = test.json["ema_decay"]});
  ASSERT_EQ(test.gradients(), student.weights.parameters().size());
  const auto states = [&](const at::Tensor& ids) {
    c10::NoGradGuard no_grad;
    return tiny.text.forward(ids.to(test_device())).last_hidden_state;
  };
  at::Tensor empty = at::full({1, 16}, 195, at::kLong);
  empty[0][0] = 194;
  for (int64_t step = 0; step < kSteps; ++step) {
    const at::Tensor loss =
        consistency_loss({.teacher = tiny.unet, .student = student.unet, .target = target.unet}, schedule, options,
                         {.latents = Case::draw("latents", step, {kBatch, 4, kLatent, kLatent}),
                          .noise = Case::draw("noise", step, {kBatch, 4, kLatent, kLatent}),
                          .ddim_steps = golden().at(test.name + "." + std::to_string(step) + ".ddim_steps"),
                          .guidance = test.at_step(step, "guidance"),
                          .text = states(test.at_step(step, "text_ids")),
                          .empty = states(empty)});
    const double truth = test["losses"][step].item<double>();
    EXPECT_NEAR(loss.item<double>(), truth, 1e-4 * truth) << "step " << step;
    (loss / 2).backward();
    if (step % 2 == 0) continue;
    if (step == 1 || step == kSteps - 1) expect_gradients(student.weights.parameters(), test, step / 2);
    optimizer.step(adamw["learning_rate"]);
    optimizer.zero_grad();
    c10::NoGradGuard no_grad;
    const checkpoint::TensorMap average = optimizer.averaged();
    for (const auto& [key, parameter] : target.weights.parameters()) parameter.copy_(average.at(key));
  }
}

INSTANTIATE_TEST_SUITE_P(Train, ConsistencyParity, testing::Values("epsilon-huber", "velocity-squared", "sample-huber"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TaskOptions task_options(const std::string& teacher = kGoldens + "generate/pipeline") {
  TaskOptions options;
  options.task = TaskKind::kConsistency;
  options.model = teacher;
  options.image_size = kSize;
  options.batch_size = 2;
  options.scenes = 3;
  options.consistency.ddim_steps = 10;
  return options;
}

TrainOptions train_options() {
  TrainOptions options;
  options.steps = 12;
  options.warmup = 2;
  options.log_every = 1;
  options.optimizer.ema_decay = 0.7;
  options.checkpoint_seconds = 0;
  return options;
}

void run_here(const fs::path& folder) {
  at::set_num_threads(1);
  train(*make_task(task_options(), {}, {}), train_options(), {}, folder, {});
}

TEST(DISABLED_ConsistencyChild, Run) { run_here(std::getenv("READBACK_TRAIN_CHILD")); }

TEST(Consistency, AResumedTrainingHasTheTargetOfAnUndisturbedOne) {
  expect_kills_change_nothing(3, "DISABLED_ConsistencyChild.Run", run_here, [](const fs::path& folder) {
    return read_file(folder / "unet/diffusion_pytorch_model.safetensors") + read_file(folder / "training/losses.jsonl");
  });
}

TEST(Consistency, WhatIsSavedIsALatentConsistencyModelOfTheTeachersNoise) {
  const Folder folder;
  run_here(folder);
  const auto generator = generate::open(fs::path(folder).string(), {});
  EXPECT_TRUE(generator->description().starts_with("Latent consistency model")) << generator->description();
  EXPECT_EQ(generator->defaults().num_inference_steps, 4);
  EXPECT_EQ(generator->defaults().scheduler, "lcm");
  const auto draw = [&](double guidance) {
    const std::vector<generate::Request> requests = {{.prompt = "a cat", .sample = "x"}};
    return generator
        ->generate(requests, {.num_inference_steps = 2, .guidance_scale = guidance, .height = kSize, .width = kSize})
        .front()
        .value()
        .image.pixels;
  };
  EXPECT_NE(draw(2), draw(8)) << "it is told its guidance";
  const nlohmann::json scheduler = read_json(folder / "scheduler/scheduler_config.json");
  EXPECT_EQ(scheduler["beta_schedule"], "scaled_linear");
  EXPECT_EQ(scheduler["original_inference_steps"], 10);
  // Weights in half precision, the teacher's parts as they are.
  EXPECT_EQ(read_file(folder / "tokenizer/tokenizer.json"),
            read_file(kGoldens + "generate/pipeline/tokenizer/tokenizer.json"));
}

TEST(Consistency, RefusesTeachersThatAreToldTheirGuidanceAndStepsBeyondTheNoise) {
  const auto refusal = [](const TaskOptions& options) -> std::string {
    try {
      make_task(options, {}, {});
    } catch (const Error& error) {
      return error.what();
    }
    return "taken";
  };
  EXPECT_NE(refusal(task_options(kGoldens + "generate/pipeline-lcm")).find("LatentConsistencyModelPipeline"),
            std::string::npos);
  TaskOptions options = task_options();
  options.consistency.ddim_steps = 1001;
  EXPECT_NE(refusal(options).find("ddim_steps: expected 1 to 1000, got 1001"), std::string::npos) << refusal(options);
  options = task_options();
  options.consistency.guidance_low = 5;
  options.consistency.guidance_high = 4;
  EXPECT_NE(refusal(options).find("guidance_high: expected at least 5, got 4"), std::string::npos) << refusal(options);
}

}  // namespace
}  // namespace readback::train
