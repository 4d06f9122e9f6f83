#include "readback/generate/scheduler.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

const SchedulerEntry& find_entry(const std::string& name) {
  for (const SchedulerEntry& entry : kSchedulers) {
    if (name == entry.name) return entry;
  }
  throw UsageError(describe("scheduler", std::string("one of ") + kSchedulerNames.text, "\"" + name + "\""));
}

std::string class_name(const nlohmann::json& config) {
  const auto found = config.find("_class_name");
  return found != config.end() && found->is_string() ? found->get<std::string>() : "";
}

// Options of diffusers' other scheduler classes, which from_config drops, and names from its early releases.
void ignore_options_of_other_classes(checkpoint::ConfigReader& config) {
  config.ignore({"algorithm_type",
                 "clip_sample",
                 "clip_sample_range",
                 "disable_corrector",
                 "dynamic_thresholding_ratio",
                 "euler_at_final",
                 "final_sigmas_type",
                 "flow_shift",
                 "interpolation_type",
                 "lambda_min_clipped",
                 "lower_order_final",
                 "predict_x0",
                 "rescale_betas_zero_snr",
                 "rho",
                 "sample_max_value",
                 "set_alpha_to_one",
                 "shift_terminal",
                 "sigma_data",
                 "sigma_max",
                 "sigma_min",
                 "sigma_schedule",
                 "skip_prk_steps",
                 "solver_order",
                 "solver_p",
                 "solver_type",
                 "thresholding",
                 "time_shift_type",
                 "timestep_type",
                 "use_beta_sigmas",
                 "use_dynamic_shifting",
                 "use_exponential_sigmas",
                 "use_flow_sigmas",
                 "use_karras_sigmas",
                 "use_lu_lambdas",
                 "variance_type"});
  config.ignore({"_class_name", "_diffusers_version", "tensor_format"});
  config.expect("predict_epsilon", {true});
}

}  // namespace

const std::vector<std::string>& scheduler_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const SchedulerEntry& entry : kSchedulers) all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::string scheduler_name(const nlohmann::json& scheduler_config) {
  const std::string wanted = class_name(scheduler_config);
  for (const SchedulerEntry& entry : kSchedulers) {
    if (!wanted.empty() && wanted == entry.class_name) return entry.name;
  }
  return "";
}

nlohmann::json pipeline_scheduler_config(nlohmann::json config, const std::string& chosen) {
  const bool own = chosen.empty() || chosen == scheduler_name(config);
  if (own || config.contains("steps_offset")) config["steps_offset"] = 1;
  if (own || config.contains("clip_sample")) config["clip_sample"] = false;
  return config;
}

std::unique_ptr<Scheduler> make_scheduler(const std::string& name, const nlohmann::json& scheduler_config,
                                          int64_t num_inference_steps) {
  const std::string wanted = name.empty() ? scheduler_name(scheduler_config) : name;
  if (wanted.empty()) {
    std::string classes;
    for (const SchedulerEntry& entry : kSchedulers) {
      if (*entry.class_name != 0) classes += (classes.empty() ? "" : ", ") + std::string(entry.class_name);
    }
    throw CheckpointError(describe("scheduler_config.json: _class_name", "one of " + classes,
                                   class_name(scheduler_config),
                                   std::string("Choose one by name: ") + kSchedulerNames.text));
  }
  const SchedulerEntry& entry = find_entry(wanted);
  nlohmann::json json = scheduler_config;
  if (entry.karras) json["use_karras_sigmas"] = true;
  checkpoint::ConfigReader config(std::move(json), "scheduler_config.json");

  const int64_t most = config.get<int64_t>("num_train_timesteps", 1000);
  if (num_inference_steps < 1 || num_inference_steps > most)
    throw UsageError(
        describe("num_inference_steps", fmt::format("1 to {}", most), std::to_string(num_inference_steps)));
  std::unique_ptr<Scheduler> scheduler = entry.make(config, num_inference_steps);
  ignore_options_of_other_classes(config);
  config.finish();
  return scheduler;
}

nlohmann::json read_scheduler_config(const std::filesystem::path& path) {
  const std::filesystem::path index_path = path.parent_path().parent_path() / "model_index.json";
  std::error_code absent;
  std::string text;
  nlohmann::json index = nlohmann::json::object();
  try {
    text = read_file(path);
    if (std::filesystem::is_regular_file(index_path, absent)) index = read_json(index_path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  constexpr std::string_view kInfinity = "-Infinity";
  for (size_t at = text.find(kInfinity); at != std::string::npos; at = text.find(kInfinity, at))
    text.replace(at, kInfinity.size(), "-1e300");
  nlohmann::json config = nlohmann::json::parse(text, nullptr, false);
  if (!config.is_object()) throw CheckpointError(describe(path.string(), "a JSON object", "something else"));
  const nlohmann::json library_and_class = index.is_object() ? index.value("scheduler", nlohmann::json()) : index;
  if (library_and_class.is_array() && library_and_class.size() == 2 && library_and_class[1].is_string())
    config["_class_name"] = library_and_class[1];
  return config;
}

std::vector<double> linspace(double start, double stop, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), start);
  const double step = count > 1 ? (stop - start) / static_cast<double>(count - 1) : 0.0;
  for (int64_t i = 1; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<double>(i) * step + start;
  if (count > 1) values.back() = stop;
  return values;
}

std::vector<double> interpolate(const std::vector<double>& places, const std::vector<float>& values) {
  std::vector<double> result;
  for (const double place : places) {
    const double inside = std::clamp(place, 0.0, static_cast<double>(values.size() - 1));
    const size_t low = std::min(static_cast<size_t>(inside), values.size() - 2);
    const double slope = static_cast<double>(values[low + 1]) - values[low];
    result.push_back(slope * (inside - static_cast<double>(low)) + values[low]);
  }
  return result;
}

Spacing::Spacing(checkpoint::ConfigReader& config, const char* default_kind)
    : kind(config.get<std::string>("timestep_spacing", default_kind)),
      steps_offset(config.get<int64_t>("steps_offset", 0)) {
  if (kind != "linspace" && kind != "leading" && kind != "trailing")
    throw CheckpointError(describe(config.where() + ": timestep_spacing", "linspace, leading or trailing", kind));
}

std::vector<double> Spacing::operator()(int64_t last, int64_t points, double trailing_ratio) const {
  std::vector<double> timesteps;
  if (kind == "linspace") {
    timesteps = linspace(0, static_cast<double>(last - 1), points);
  } else if (kind == "leading") {
    for (int64_t i = 0; i < points; ++i) timesteps.push_back(static_cast<double>(i * (last / points) + steps_offset));
  } else {
    // numpy.arange, whose rounding adds a timestep of -1 for some counts (61 of 1,000, …); that one is left out.
    const double top = static_cast<double>(last), stride = (top - trailing_ratio) - top;
    for (int64_t i = 0; i < points && top + static_cast<double>(i) * stride > 0.5; ++i)
      timesteps.push_back(std::nearbyint(top + static_cast<double>(i) * stride) - 1);
    return timesteps;
  }
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

std::vector<double> karras_sigmas(double high, double low, int64_t count) {
  constexpr double kRho = 7.0;
  const double from = std::pow(high, 1 / kRho), to = std::pow(low, 1 / kRho);
  std::vector<double> sigmas;
  for (const double place : linspace(0, 1, count)) sigmas.push_back(std::pow(from + place * (to - from), kRho));
  return sigmas;
}

double timestep_of_sigma(double sigma, const std::vector<float>& sigmas) {
  const double wanted = std::log(std::max(sigma, 1e-10));
  // The last training timestep that is not noisier; at least 0, and with a successor.
  size_t low = 0;
  while (low + 2 < sigmas.size() && wanted >= std::log(sigmas[low + 1])) ++low;
  const float below = std::log(sigmas[low]), above = std::log(sigmas[low + 1]);
  const double weight = std::clamp((below - wanted) / (below - above), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

float final_sigma(checkpoint::ConfigReader& config, const std::vector<float>& training_sigmas) {
  const std::string type = config.get<std::string>("final_sigmas_type", "zero");
  if (type == "zero") return 0.0f;
  if (type == "sigma_min") return training_sigmas.front();
  throw CheckpointError(describe(config.where() + ": final_sigmas_type", "zero or sigma_min", type));
}

std::vector<float> to_float(const std::vector<double>& values) { return {values.begin(), values.end()}; }

float alpha_at(const std::vector<float>& alphas_cumprod, int64_t index) {
  if (index < 0 || index >= static_cast<int64_t>(alphas_cumprod.size()))
    throw UsageError(describe("num_inference_steps", fmt::format("timesteps of 0 to {}", alphas_cumprod.size() - 1),
                              std::to_string(index), "Ask for fewer steps."));
  return alphas_cumprod[static_cast<size_t>(index)];
}

std::vector<float> to_vector(const at::Tensor& values) {
  const at::Tensor dense = values.contiguous();
  return {dense.const_data_ptr<float>(), dense.const_data_ptr<float>() + dense.numel()};
}

}  // namespace readback::generate
