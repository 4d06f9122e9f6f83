// The small world's DALL-E: each stage learns, resumes, and hands on what the others learned; what all learned is
// drawn.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "../unwrap.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/repository.h"
#include "readback/data/oracle.h"
#include "readback/generate/open.h"
#include "readback/train/task.h"
#include "readback/train/trainer.h"
#include "tests/source_dir.h"
#include "training_folder.h"

namespace readback::train {
namespace {

const std::string kClip = (tests::source_dir() / "assets/emoji-scenes/clip").string();

// The recipe's configurations, with networks that learn a picture in a minute.
void write_configs(const fs::path& folder) {
  fs::copy(tests::source_dir() / "recipes/emoji-scenes/dalle", folder, fs::copy_options::recursive);
  const auto change = [&](const std::string& part, const nlohmann::json& values) {
    nlohmann::json config = read_json(folder / part / "config.json");
    config.update(values);
    write_file(folder / part / "config.json", config.dump());
  };
  change("prior", {{"num_layers", 1}});
  change("text_proj", {{"time_embed_dim", 64}, {"cross_attention_dim", 16}});
  change("decoder", {{"block_out_channels", {16, 32}}, {"cross_attention_dim", 16}, {"norm_num_groups", 4}});
  for (const char* part : {"super_res_first", "super_res_last"}) {
    change(part, {{"block_out_channels", {8, 16}}, {"norm_num_groups", 4}});
  }
}

TaskOptions task_options(TaskKind kind, const fs::path& model) {
  TaskOptions options;
  options.task = kind;
  options.model = model.string();
  options.clip = kClip;
  options.batch_size = 4;
  options.seed = 3;
  return options;
}

TrainOptions train_options(int64_t steps, double learning_rate) {
  TrainOptions options;
  options.steps = steps;
  options.warmup = 4;
  options.log_every = 1;
  options.learning_rate = learning_rate;
  return options;
}

void learn(const TaskOptions& task, int64_t steps, const fs::path& folder, const Context& context = {},
           double learning_rate = 3e-3) {
  at::set_num_threads(1);
  train(*make_task(task, {}, context), train_options(steps, learning_rate), {}, folder, context);
}

constexpr TaskKind kStages[] = {TaskKind::kUnclipPrior, TaskKind::kUnclipDecoder, TaskKind::kUnclipSuperResolution};

// The median of a figure in the first and in the last twenty steps: a single step's is mostly its timesteps'.
std::pair<double, double> ends_of(const fs::path& folder, const char* figure) {
  std::vector<double> values;
  std::ifstream log(folder / "training/losses.jsonl");
  for (std::string line; std::getline(log, line);) values.push_back(nlohmann::json::parse(line).at(figure));
  const auto median = [](std::span<double> some) {
    std::ranges::sort(some);
    return some[some.size() / 2];
  };
  return {median(std::span(values).first(20)), median(std::span(values).last(20))};
}

TEST(Unclip, LossesFall) {
  Folder configs;
  write_configs(configs);
  const std::map<TaskKind, std::vector<const char*>> figures = {
      {TaskKind::kUnclipPrior, {"loss"}},
      {TaskKind::kUnclipDecoder, {"loss", "denoising", "variance"}},
      {TaskKind::kUnclipSuperResolution, {"loss", "first", "last"}}};
  for (const auto& [kind, names] : figures) {
    Folder folder;
    TaskOptions options = task_options(kind, configs);
    options.batch_size = 16;
    learn(options, 60, folder, {}, 1e-3);
    for (const char* name : names) {
      const auto [first, last] = ends_of(folder, name);
      EXPECT_LT(last, 0.7 * first) << name_of(kind) << ": " << name;
    }
  }
}

TEST(Unclip, AStoppedStageGoesOnToTheSameWeights) {
  struct Stop : Progress {
    int64_t steps = 0;
    void advance(int64_t units, const std::string&) override {
      if ((steps += units) == 3) throw Interrupted("stop");
    }
  };
  Folder configs;
  write_configs(configs);
  for (const TaskKind kind : kStages) {
    const auto state = [](const fs::path& folder) {
      return read_file(folder / "training/state.safetensors") + read_file(folder / "training/losses.jsonl");
    };
    Folder undisturbed, stopped;
    learn(task_options(kind, configs), 6, undisturbed);
    Stop stop;
    EXPECT_THROW(learn(task_options(kind, configs), 6, stopped, stop), Interrupted);
    learn(task_options(kind, configs), 6, stopped);
    EXPECT_EQ(state(stopped), state(undisturbed)) << name_of(kind);
  }
}

// All three stages learn one scene; then it is drawn of its caption. So what they learn from is what drawing gives
// them.
TEST(Unclip, WhatStageAfterStageLearnedIsDrawn) {
  Folder configs, prior, decoder, whole;
  write_configs(configs);
  int64_t index = 0;
  while (!data::make_scene(data::Split::kTrain, index).single()) ++index;
  const auto learn_scene = [index](TaskKind kind, const fs::path& model, const fs::path& folder) {
    TaskOptions options = task_options(kind, model);
    options.first_scene = index;
    options.scenes = 1;
    learn(options, 300, folder);
  };
  learn_scene(TaskKind::kUnclipPrior, configs, prior);
  try {
    generate::open(fs::path(prior).string(), {});
    ADD_FAILURE() << "opened without a decoder";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("text_proj"), std::string::npos) << error.what();
  }
  learn_scene(TaskKind::kUnclipDecoder, prior, decoder);
  learn_scene(TaskKind::kUnclipSuperResolution, decoder, whole);

  const std::string weights = "diffusion_pytorch_model.safetensors";
  EXPECT_EQ(read_file(whole / ("prior/" + weights)), read_file(prior / ("prior/" + weights)));
  EXPECT_EQ(read_file(whole / ("decoder/" + weights)), read_file(decoder / ("decoder/" + weights)));
  EXPECT_EQ(read_file(whole / "image_encoder/model.safetensors"), read_file(prior / "image_encoder/model.safetensors"));

  const auto generator = generate::open(fs::path(whole).string(), {});
  generate::GenerationOptions options = generator->defaults();
  EXPECT_EQ(options.prior_guidance_scale, 1.0) << "generation_config.json";
  const data::Scene scene = data::make_scene(data::Split::kTrain, index);
  const generate::Request request{.prompt = data::captions(scene)[0], .sample = "a"};
  auto pictures = generator->generate({{request}}, options);
  const image::Image drawn = values_of(std::move(pictures)).at(0).image;
  EXPECT_EQ(drawn.width, 32);
  EXPECT_TRUE(data::compare(scene, data::read_image(drawn)).all) << "the scene was " << data::to_json(scene);
}

// Embeddings are as wide as unCLIP wants them and as far from each other as CLIP's.
TEST(Unclip, CarriesTheClipModelThatItIsMadeFor) {
  Folder configs, folder;
  write_configs(configs);
  learn(task_options(TaskKind::kUnclipPrior, configs), 1, folder);
  const checkpoint::Repository clip(kClip), unclip(fs::path(folder).string());
  const auto of_clip = clip.tensors(), text = unclip.tensors("text_encoder"), vision = unclip.tensors("image_encoder");
  EXPECT_EQ(text.size() + vision.size() + 1, of_clip.size()) << "all but the scale of similarities";
  for (const auto& [key, tensor] : of_clip) {
    if (key == "logit_scale") continue;
    const at::Tensor own = text.contains(key) ? text.at(key) : vision.at(key);
    if (!key.ends_with("projection.weight")) {
      EXPECT_TRUE(at::equal(own, tensor)) << key;
      continue;
    }
    ASSERT_EQ(own.size(0), 128) << key;
    EXPECT_TRUE(at::equal(own.narrow(0, 0, tensor.size(0)), tensor)) << key;
    EXPECT_FALSE(own.narrow(0, tensor.size(0), 128 - tensor.size(0)).any().item<bool>()) << key;
  }
  const auto prior = unclip.tensors("prior");
  EXPECT_TRUE(prior.at("clip_mean").narrow(1, 0, 64).ne(0).all().item<bool>());
  EXPECT_TRUE(prior.at("clip_std").narrow(1, 0, 64).gt(0.01).all().item<bool>());
  EXPECT_TRUE(prior.at("clip_std").narrow(1, 64, 64).eq(1).all().item<bool>()) << "of what is always 0";

  // Where there is one in the folder, it is the one.
  TaskOptions next = task_options(TaskKind::kUnclipDecoder, folder);
  next.clip.clear();
  EXPECT_NO_THROW(make_task(next, {}, {}));
}

TEST(Unclip, RefusesAClipModelThatDoesNotFit) {
  Folder configs;
  write_configs(configs);
  TaskOptions options = task_options(TaskKind::kUnclipPrior, configs);
  options.clip.clear();
  EXPECT_THROW(make_task(options, {}, {}), UsageError);
  options.clip = kClip;
  nlohmann::json prior = read_json(configs / "prior/config.json");
  prior["embedding_dim"] = 32;
  write_file(configs / "prior/config.json", prior.dump());
  try {
    make_task(options, {}, {});
    FAIL() << "embeddings of 64 values were cut to 32";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("at most the prior's embedding_dim, 32, got 64"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace readback::train
