#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

#include "readback/checkpoint/writer.h"
#include "readback/models/part.h"
#include "readback/models/stable_diffusion/vae.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// Differences between neighbours, which is where blur shows: [B, C, H, W] → mean |Δx| difference of the two images.
at::Tensor gradient_loss(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = a - b;
  return difference.diff(1, 2).abs().mean() + difference.diff(1, 3).abs().mean();
}

// Pictures → latents → pictures: L1 + L2 + gradients, and a light pull of the latents towards the unit normal.
class VaeTask : public Task {
 public:
  VaeTask(const TaskOptions& options, const Machine& machine)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        config_(models::VaeConfig::read(models::part_config(repository_))),
        weights_(starting_weights(repository_, machine, options.seed)),
        vae_(config_, weights_) {
    weights_.finish();
  }

  std::map<std::string, at::Tensor> parameters() const override { return weights_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    Random random(options_.seed, Purpose::kTraining, "vae batch", static_cast<uint64_t>(step));
    const at::Tensor pixels = batch(random);
    const models::VaeMoments moments = vae_.encode(pixels);
    const at::Tensor noise = normal_like(moments.mean, random).to(pixels.options());
    const at::Tensor latents = moments.mean + (0.5 * moments.logvar).exp() * noise;  // [B, c, h, w]
    const at::Tensor restored = vae_.decode(latents).to(at::kFloat), truth = pixels.to(at::kFloat);
    const at::Tensor mean = moments.mean.to(at::kFloat), logvar = moments.logvar.to(at::kFloat);
    const at::Tensor squared = (restored - truth).square().mean();
    const at::Tensor kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean();
    metrics = {{"mse", squared.item<double>()}, {"kl", kl.item<double>()}};
    return (restored - truth).abs().mean() + squared + options_.gradient_weight * gradient_loss(restored, truth) +
           options_.kl_weight * kl;
  }

  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path(), folder, weights, kDiffusersFile);
    nlohmann::json config = repository_.json();
    config["scaling_factor"] = scaling_factor(weights);
    checkpoint::write_json(folder / "config.json", config);
  }

 private:
  at::Tensor batch(Random& random) const {  // [B, 3, S, S] in [-1, 1]
    const at::Tensor images = render_scenes(
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes), options_.image_size);
    return (images * 2 - 1).to(machine_.device, machine_.dtype);
  }

  // What makes the latents' standard deviation one, as for Stable Diffusion's 0.18215.
  double scaling_factor(const checkpoint::TensorMap& weights) const {
    at::NoGradGuard no_grad;
    nn::Weights source(weights, machine_.device, at::kFloat, "the trained VAE");
    const models::Vae vae(config_, source);
    Random random(options_.seed, Purpose::kTraining, "vae scaling factor");
    const models::VaeMoments moments = vae.encode(batch(random).to(at::kFloat));
    const double variance = (moments.mean.var() + moments.logvar.exp().mean()).item<double>();
    return std::round(1e5 / std::sqrt(variance)) / 1e5;
  }

  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  models::VaeConfig config_;
  nn::Weights weights_;
  models::Vae vae_;
};

}  // namespace

std::unique_ptr<Task> make_vae_task(const TaskOptions& options, const Machine& machine, const Context& /*context*/) {
  return std::make_unique<VaeTask>(options, machine);
}

}  // namespace readback::train
