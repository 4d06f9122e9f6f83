// Unified fine-tuning of tiny models, driven by the trainer.
#include "readback/train/unified_task.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/blip_captioner.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/image/codec.h"
#include "tiny_unified.h"
#include "training_folder.h"

namespace readback::train {
namespace {

TEST(DISABLED_UnifiedChild, Run) { run(std::getenv("READBACK_TRAIN_CHILD")); }

std::string final_state(const fs::path& folder) {
  return read_file(folder / "captioner/model.safetensors") +
         read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors") +
         read_file(folder / "training/state.safetensors") + read_file(folder / "training/losses.jsonl") +
         read_file(folder / "training/evaluations.jsonl") + read_file(folder / "best/captioner/model.safetensors");
}

TEST(UnifiedTask, FiveKillsLeaveTheWeightsOfAnUndisturbedTraining) {
  expect_kills_change_nothing(
      5, "DISABLED_UnifiedChild.Run", [](const fs::path& folder) { run(folder); }, final_state);
}

// Keys whose tensors differ between two repositories' files.
std::set<std::string> changed(const fs::path& before, const fs::path& after) {
  const checkpoint::TensorMap a = checkpoint::load_safetensors(before), b = checkpoint::load_safetensors(after);
  EXPECT_EQ(a.size(), b.size());
  std::set<std::string> keys;
  for (const auto& [key, tensor] : a) {
    EXPECT_EQ(tensor.scalar_type(), b.at(key).scalar_type()) << key;
    if (!at::equal(tensor, b.at(key))) keys.insert(key);
  }
  return keys;
}

std::set<std::string> changed_in_captioner(const fs::path& folder) {
  return changed(kGoldens + "caption/blip/model.safetensors", folder / "captioner/model.safetensors");
}

std::set<std::string> changed_in_generator(const fs::path& folder) {
  const std::string file = "unet/diffusion_pytorch_model.safetensors";
  return changed(kGoldens + "generate/pipeline/" + file, folder / "generator" / file);
}

TEST(UnifiedTask, SavesRepositoriesInWhichTheTrainedTensorsAreNew) {
  Folder folder;
  run(folder);
  EXPECT_EQ(changed_in_captioner(folder).size(), 4u);  // two layers' queries, weight and bias
  EXPECT_EQ(changed_in_generator(folder).size(), 4u);
  for (const std::string& key : changed_in_captioner(folder)) {
    EXPECT_NE(key.find("crossattention.self.query"), std::string::npos) << key;
  }
  for (const std::string& key : changed_in_generator(folder))
    EXPECT_NE(key.find("attn2.to_q"), std::string::npos) << key;
  EXPECT_NO_THROW(caption::BlipCaptioner(checkpoint::Repository(folder / "captioner"), at::kCPU, at::kFloat));
  EXPECT_NO_THROW(generate::StableDiffusion(checkpoint::Repository(folder / "generator"), at::kCPU, at::kFloat));
}

TEST(UnifiedTask, ControlsTrainOneModelAndComputeOneLoss) {
  for (const Losses losses : {Losses::kLm, Losses::kDiffusion}) {
    Folder folder;
    UnifiedTaskOptions options = task_options();
    options.losses = losses;
    run(folder, options);
    // What is not trained is not written.
    EXPECT_EQ(fs::exists(folder / "captioner"), losses == Losses::kLm);
    EXPECT_EQ(fs::exists(folder / "generator"), losses == Losses::kDiffusion);
    EXPECT_FALSE((losses == Losses::kLm ? changed_in_captioner(folder) : changed_in_generator(folder)).empty());
    std::ifstream log(folder / "training/losses.jsonl");
    std::string line;
    std::getline(log, line);
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json.contains("image_cycle_lm"), losses == Losses::kLm);
    EXPECT_EQ(json.contains("text_cycle_diffusion"), losses == Losses::kDiffusion);
    EXPECT_FALSE(json.contains("text_cycle_lm"));
    EXPECT_FALSE(json.contains("image_cycle_diffusion"));
  }
}

// A task whose figure rises until step 4 and falls from there; its only parameter counts the steps.
class Peak : public Task {
 public:
  std::map<std::string, at::Tensor> parameters() const override { return {{"x", x_}}; }
  at::Tensor loss(int64_t, Metrics&) override { return -x_.sum(); }
  Metrics evaluate(const checkpoint::TensorMap& weights) override {
    const double steps = std::round(weights.at("x").item<double>());
    return {{"selection", -std::abs(steps - 4)}};
  }
  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    write_file(folder / "x.txt", std::to_string(std::lround(weights.at("x").item<double>())));
  }

 private:
  at::Tensor x_ = at::zeros({1});
};

TEST(Trainer, KeepsTheBestAndStopsWhenNothingBetterComes) {
  Folder folder;
  TrainOptions options;
  options.steps = 100;
  options.learning_rate = 1;  // Adam's step on a constant gradient is the rate
  options.warmup = 0;
  options.schedule = Schedule::kConstant;
  options.optimizer.weight_decay = 0;
  options.evaluate_every = 2;
  options.patience = 3;
  Progress silent;
  Peak peak;
  train(peak, options, {}, folder, silent);
  EXPECT_EQ(read_file(folder / "best/x.txt"), "4");
  EXPECT_EQ(read_file(folder / "x.txt"), "10");
  Peak again;
  train(again, options, {}, folder, silent);  // a stopped training stays stopped
  EXPECT_EQ(read_file(folder / "x.txt"), "10");
  std::ifstream log(folder / "training/evaluations.jsonl");
  int lines = 0;
  for (std::string line; std::getline(log, line);) ++lines;
  EXPECT_EQ(lines, 6);  // before the first step and after 2, 4, 6, 8, 10
}

TEST(UnifiedTask, BothDirectionsAreLogged) {
  at::set_num_threads(1);
  Folder folder;
  Progress silent;
  TrainOptions options = train_options();
  options.accumulation = 1;
  options.log_every = 4;
  options.evaluate_every = 0;
  train(*make_unified_task(task_options(), {}, silent), options, {}, folder, silent);
  const std::string log = read_file(folder / "training/losses.jsonl");
  for (const char* name : {"text_cycle_diffusion", "text_cycle_lm", "image_cycle_lm", "image_cycle_diffusion"}) {
    EXPECT_NE(log.find(name), log.rfind(name)) << name;  // more than once
  }
}

// Ctrl-C during an evaluation: the steps before it are kept, and the evaluation is made again.
TEST(Trainer, AnInterruptedEvaluationIsMadeAgain) {
  class Interrupting : public Peak {
   public:
    explicit Interrupting(int at) : at_(at) {}
    Metrics evaluate(const checkpoint::TensorMap& weights) override {
      if (evaluations_++ == at_) throw Interrupted("interrupted");
      return Peak::evaluate(weights);
    }

   private:
    int at_, evaluations_ = 0;
  };
  TrainOptions options;
  options.steps = 6;
  options.learning_rate = 1;
  options.warmup = 0;
  options.evaluate_every = 2;
  options.checkpoint_seconds = 3600;
  Progress silent;
  const auto result = [](const fs::path& folder) {
    return read_file(folder / "x.txt") + read_file(folder / "training/evaluations.jsonl") +
           read_file(folder / "training/losses.jsonl") + read_file(folder / "training/state.safetensors");
  };
  Folder undisturbed;
  Peak peak;
  train(peak, options, {}, undisturbed, silent);
  for (const int at : {0, 2, 3}) {
    Folder folder;
    Interrupting interrupting(at);
    EXPECT_THROW(train(interrupting, options, {}, folder, silent), Interrupted);
    std::map<std::string, std::string> metadata;
    checkpoint::load_safetensors(folder / "training/state.safetensors", &metadata);
    EXPECT_EQ(metadata.at("step"), std::to_string(2 * at));
    Peak again;
    train(again, options, {}, folder, silent);
    EXPECT_EQ(result(folder), result(undisturbed)) << at;
  }
}

// Even steps have nothing to teach a captioner that does not read.
TEST(UnifiedTask, StepsWithoutAGradientAreNoErrors) {
  Folder folder;
  UnifiedTaskOptions options = task_options();
  options.models.train_generator = Selection::kNone;
  options.objective.lm_weight = 0;
  run(folder, options);
  EXPECT_FALSE(changed_in_captioner(folder).empty());
}

// The losses do not depend on what is kept ready, and joint steps have those of both directions.
TEST(UnifiedTask, CachesAndOrdersOfSteps) {
  at::set_num_threads(1);
  Progress silent;
  const auto losses = [&](const UnifiedTaskOptions& options) {
    const auto task = make_unified_task(options, {}, silent);
    Metrics metrics;
    for (int64_t step = 0; step < 4; ++step) task->loss(step, metrics);
    return metrics;
  };
  UnifiedTaskOptions kept = task_options(), anew = task_options(), joint = task_options();
  kept.batches.degradation = anew.batches.degradation = 0;
  anew.batches.cache_gigabytes = 0;
  EXPECT_EQ(losses(kept), losses(anew));
  joint.order = Order::kJoint;
  EXPECT_EQ(losses(joint).size(), 16u);
  EXPECT_EQ(losses(kept).size(), 8u);
}

// Augmentation changes what the captioner sees, not what the generator does, and composes with degradation.
TEST(UnifiedTask, AugmentsTheCaptionersPicturesOnOddSteps) {
  at::set_num_threads(1);
  Progress silent;
  const auto metrics = [&](Augmentation augmentation, double degradation, int64_t step) {
    UnifiedTaskOptions options = task_options();
    options.batches.augmentation = augmentation;
    options.batches.degradation = degradation;
    Metrics metrics;
    make_unified_task(options, {}, silent)->loss(step, metrics);
    return metrics;
  };
  EXPECT_EQ(metrics(Augmentation::kBlip, 0, 0), metrics(Augmentation::kNone, 0, 0));
  EXPECT_NE(metrics(Augmentation::kBlip, 0, 1), metrics(Augmentation::kNone, 0, 1));
  EXPECT_NE(metrics(Augmentation::kBlip, 1, 1), metrics(Augmentation::kBlip, 0, 1));
  EXPECT_NE(metrics(Augmentation::kBlip, 1, 1), metrics(Augmentation::kNone, 1, 1));
  EXPECT_EQ(metrics(Augmentation::kBlip, 1, 1), metrics(Augmentation::kBlip, 1, 1));
}

TEST(UnifiedTask, GradientCheckpointingChangesNoGradient) {
  at::set_num_threads(1);
  Progress silent;
  const auto gradients = [&](bool checkpointing) {
    UnifiedTaskOptions options = task_options();
    options.models.train_captioner = options.models.train_generator = Selection::kAll;
    options.gradient_checkpointing = checkpointing;
    const auto task = make_unified_task(options, {}, silent);
    std::map<std::string, at::Tensor> parameters = task->parameters();
    for (auto& [name, parameter] : parameters) parameter.requires_grad_(true);
    Metrics metrics;
    for (int64_t step = 0; step < 2; ++step) task->loss(step, metrics).backward();
    for (auto& [name, parameter] : parameters) parameter = parameter.grad();
    return parameters;
  };
  const auto plain = gradients(false), again = gradients(true);
  for (const auto& [name, gradient] : plain) {
    ASSERT_EQ(gradient.defined(), again.at(name).defined()) << name;
    if (gradient.defined()) {
      EXPECT_LT((gradient - again.at(name)).norm().item<double>(), 1e-5 * gradient.norm().item<double>() + 1e-6)
          << name;
    }
  }
}

TEST(UnifiedTask, ThePapersObjectiveTrainsToo) {
  Folder folder;
  UnifiedTaskOptions options = task_options();
  options.objective.objective = Objective::kPaper;
  options.batches.batch_size = 1;
  run(folder, options);
  EXPECT_EQ(changed_in_captioner(folder).size(), 4u);
  EXPECT_EQ(changed_in_generator(folder).size(), 4u);
}

TEST(UnifiedTask, ReadsFoldersWithoutTheirBadPictures) {
  Folder pictures, folder;
  Random random(1, Purpose::kTest, "picture");
  for (const char* name : {"a", "b", "c"}) {
    image::Image picture(40, 30);
    for (uint8_t& value : picture.pixels) value = static_cast<uint8_t>(random.below(256));
    image::save(picture, pictures / (std::string(name) + ".png"));
    write_file(pictures / (std::string(name) + ".txt"), "A red fox!\nThe fox (red).\n");
  }
  write_file(pictures / "c.png", "no picture");
  struct Notes : Progress {
    std::vector<std::string> lines;
    void note(const std::string& message) override { lines.push_back(message); }
  } notes;
  UnifiedTaskOptions options = task_options();
  options.batches.samples.dataset = fs::path(pictures).string();
  options.batches.samples.count = 0;
  const auto task = make_unified_task(options, {}, notes);
  Metrics metrics;
  for (int64_t step = 0; step < 8; ++step) EXPECT_TRUE(std::isfinite(task->loss(step, metrics).item<double>()));
  const auto about_c = std::count_if(notes.lines.begin(), notes.lines.end(),
                                     [](const std::string& line) { return line.find("c.png") != std::string::npos; });
  EXPECT_EQ(about_c, 1);

  options.evaluation.dataset = options.batches.samples.dataset;
  options.evaluation.samples = 0;
  Notes of_evaluation;
  const auto evaluated = make_unified_task(options, {}, of_evaluation);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(std::isfinite(evaluated->evaluate({}).front().second));
  EXPECT_EQ(std::ranges::count_if(of_evaluation.lines,
                                  [](const std::string& line) { return line.find("c.png") != std::string::npos; }),
            1);
  for (const char* name : {"a.png", "b.png"}) write_file(pictures / name, "no picture");
  const auto all_bad = make_unified_task(options, {}, notes);
  EXPECT_THROW(all_bad->loss(0, metrics), DataError);
}

template <typename ExpectedError>
void expect_refused(const std::function<void(UnifiedTaskOptions&)>& change, const std::string& part) {
  UnifiedTaskOptions options = task_options();
  change(options);
  Progress silent;
  try {
    make_unified_task(options, {}, silent);
    FAIL() << "accepted: " << part;
  } catch (const ExpectedError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(UnifiedTask, RefusesACaptionerWithoutCrossAttention) {
  Folder folder;
  fs::copy(kGoldens + "caption/blip", folder, fs::copy_options::recursive);
  checkpoint::TensorMap tensors = checkpoint::load_safetensors(kGoldens + "caption/blip/model.safetensors");
  std::erase_if(tensors, [](const auto& entry) { return entry.first.find("crossattention") != std::string::npos; });
  checkpoint::save_safetensors(tensors, folder / "model.safetensors", {{"format", "pt"}});
  for (const Selection selection : {Selection::kXattnQ, Selection::kLoraXattnKv}) {
    expect_refused<CheckpointError>(
        [&](auto& o) {
          o.models.captioner = fs::path(folder).string();
          o.models.train_captioner = selection;
        },
        "cross");
  }
}

TEST(UnifiedTask, SaysWhatIsWrong) {
  Folder pictures;
  image::save(image::Image(8, 8), pictures / "a.png");
  expect_refused<DataError>(
      [&](auto& o) {
        o.batches.samples.dataset = fs::path(pictures).string();
        o.batches.samples.count = 0;
      },
      "images with captions");
  expect_refused<UsageError>([](auto& o) { o.models.captioner = ""; }, "captioner");
  expect_refused<UsageError>([](auto& o) { o.batches.samples.dataset = ""; }, "dataset");
  expect_refused<UsageError>([](auto& o) { o.models.train_captioner = o.models.train_generator = Selection::kNone; },
                             "something to train");
  expect_refused<UsageError>([](auto& o) { o.batches.resolution = 33; }, "resolution");
  expect_refused<UsageError>([](auto& o) { o.objective.lm_weight = -1; }, "lm_weight");
  expect_refused<UsageError>([](auto& o) { o.objective.diffusion_weight = NAN; }, "diffusion_weight");
  expect_refused<UsageError>([](auto& o) { o.objective.temperature = 0; }, "temperature");
  expect_refused<UsageError>([](auto& o) { o.objective.read_timesteps = {900, 100}; }, "read_last");
  UnifiedTaskOptions options = task_options();
  options.evaluation.metrics = {"clip-image"};
  Progress silent;
  EXPECT_THROW(make_unified_task(options, {}, silent)->evaluate({}), UsageError);
  EXPECT_THROW(make_unified_task(task_options(), {.dtype = at::kHalf}, silent), UsageError);
  expect_refused<CheckpointError>([](auto& o) { o.models.minimum_coverage = 0.99; }, "99.0 %");
  expect_refused<CheckpointError>([](auto& o) { o.models.captioner = kGoldens + "models/clip"; }, "");
}

TEST(ModelPair, RefusesAnotherPipelineAsAGeneratorDoes) {
  for (const auto& [key, value] : std::map<std::string, nlohmann::json>{
           {"_class_name", "StableDiffusionXLPipeline"}, {"unet", {"diffusers", "UNet3DConditionModel"}}}) {
    Folder folder;
    fs::copy(kGoldens + "generate/pipeline", folder, fs::copy_options::recursive);
    nlohmann::json index = read_json(folder / "model_index.json");
    index[key] = value;
    write_file(folder / "model_index.json", index.dump());
    ModelPairOptions options = task_options().models;
    options.generator = fs::path(folder).string();
    EXPECT_THROW(ModelPair(options, {}), CheckpointError) << key;
  }
}

}  // namespace
}  // namespace readback::train
