#include "readback/generate/karlo_call.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "readback/generate/sampler.h"
#include "readback/image/preprocess.h"

namespace readback::generate {

namespace {

constexpr int64_t kSmallModelBytes = int64_t{64} << 20;
// Positions that are computed together: enough to fill the machine; more would only take memory.
constexpr int64_t kPositionsOnCpu = 64 * 64, kPositionsOnGpu = 64 * 64 * 64;

}  // namespace

std::vector<Random> KarloCall::streams(int64_t first, int64_t last, Purpose purpose) const {
  std::vector<Random> streams;
  for (int64_t i = first; i < last; ++i) {
    const Request& request = requests[static_cast<size_t>(i)];
    streams.emplace_back(options.seed, purpose, request.sample, static_cast<uint64_t>(request.candidate));
  }
  return streams;
}

void KarloCall::tell(int64_t first, int64_t last, int64_t step, const std::function<at::Tensor()>& estimate) const {
  context.check();
  Observer* const observer = context.observer();
  if (observer == nullptr) return;
  const int64_t steps = *options.num_inference_steps + *options.super_res_num_inference_steps;
  for (int64_t i = first; i < last; ++i) {
    const Request& request = requests[static_cast<size_t>(i)];
    const auto preview = [&, i] {
      c10::NoGradGuard no_grad;
      return image::from_signed_unit(estimate()[i - first]);
    };
    observer->on_step({request.sample, request.candidate, step, steps, preview});
  }
}

void in_shares(const KarloPlace& place, int64_t count, int64_t positions,
               const std::function<void(int64_t, int64_t)>& work) {
  const auto without_gradients = [&](int64_t first, int64_t last) {
    c10::NoGradGuard no_grad_in_this_thread;
    work(first, last);
  };
  if (place.device.is_cpu() && place.bytes <= kSmallModelBytes) {
    // The layers of a small model are too short to be shared between cores: each core takes pictures of its own.
    at::parallel_for(0, count, 1, without_gradients);
    return;
  }
  const int64_t most = place.device.is_cpu() ? kPositionsOnCpu : kPositionsOnGpu;
  const int64_t at_once = std::max<int64_t>(1, most / positions);
  for (int64_t first = 0; first < count; first += at_once) {
    without_gradients(first, std::min(first + at_once, count));
  }
}

at::Tensor take_steps(UnclipScheduler& scheduler, at::Tensor sample, std::vector<Random> streams,
                      const KarloPredict& predict, const KarloStep& on_step) {
  const Scheduler::Noise noise = row_noise(std::move(streams), sample);
  for (int64_t i = 0; i < scheduler.size(); ++i) {
    const at::Tensor timesteps =
        at::full({sample.size(0)}, scheduler.timesteps()[static_cast<size_t>(i)], sample.options());
    const at::Tensor output = predict(sample, timesteps, i), before = sample;
    sample = scheduler.step(output, i, before, noise);
    if (on_step) on_step(i, [&] { return scheduler.clean(output, i, before); });
  }
  return sample;
}

at::Tensor guide(const at::Tensor& output, double scale) {
  const std::vector<at::Tensor> halves = output.chunk(2);
  return halves[0] + scale * (halves[1] - halves[0]);
}

}  // namespace readback::generate
