// What Karlo's stages are asked, and how they walk through it. Private to generate/. B requests of a call.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "readback/base/random.h"
#include "readback/generate/generator.h"
#include "readback/generate/schedulers/unclip.h"

namespace readback::generate {

struct KarloCall {
  std::span<const Request> requests;
  const GenerationOptions& options;  // resolved: nothing of Karlo's is left open
  const Context& context;

  int64_t size() const { return std::ssize(requests); }
  bool varies() const { return requests.front().picture.has_value(); }  // all requests do, or none
  // Guidance of either stage makes both see the text and no text, as in diffusers.
  bool is_guided() const { return *options.guidance_scale > 1.0 || (!varies() && *options.prior_guidance_scale > 1.0); }
  // The streams of requests first … last - 1.
  std::vector<Random> streams(int64_t first, int64_t last, Purpose purpose) const;
  // Tells the observer of step 1 … of those that make pictures. `estimate`: of requests from `first` on, [b, 3, h, w]
  // in [-1, 1].
  void tell(int64_t first, int64_t last, int64_t step, const std::function<at::Tensor()>& estimate) const;
};

// The prompts of a call behind the empty one.
struct KarloTexts {
  at::Tensor embeds;               // [N, E], of N distinct texts
  at::Tensor states;               // [N, T, E]
  at::Tensor tokens;               // bool [N, T]: no padding
  std::vector<int64_t> rows;       // of the empty prompt, then of each request: its row
  std::vector<int64_t> truncated;  // of each request: its tokens that did not fit
};

// Where a stage computes.
struct KarloPlace {
  c10::Device device;
  c10::ScalarType dtype;
  int64_t bytes = 0;  // of the stage's weights
};

// Calls work(first, last) on shares of 0 … count - 1 that suit the machine; each has `positions` to compute.
void in_shares(const KarloPlace& place, int64_t count, int64_t positions,
               const std::function<void(int64_t, int64_t)>& work);

// Sample and timestep, [b, …] and [b] → what the network gives for them, fp32.
using KarloPredict = std::function<at::Tensor(const at::Tensor& sample, const at::Tensor& timesteps, int64_t index)>;
// After step `index`: what the network takes the finished sample for, computed when it is called.
using KarloStep = std::function<void(int64_t index, const std::function<at::Tensor()>& estimate)>;

// From noise to a sample, fp32. `streams`: of what the steps add.
at::Tensor take_steps(UnclipScheduler& scheduler, at::Tensor sample, std::vector<Random> streams,
                      const KarloPredict& predict, const KarloStep& on_step = {});

// output: [2 b, …], without and with the text → [b, …]
at::Tensor guide(const at::Tensor& output, double scale);

}  // namespace readback::generate
