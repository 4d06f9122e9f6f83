#include "readback/generate/scheduler.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/repository.h"
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
                 "original_inference_steps",
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
                 "steps_offset",
                 "thresholding",
                 "time_shift_type",
                 "timestep_scaling",
                 "timestep_spacing",
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
  if (json.is_object()) json.update(nlohmann::json::parse(entry.sets));
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

nlohmann::json read_scheduler_config(const checkpoint::Repository& repository) {
  const std::filesystem::path file = "scheduler/scheduler_config.json";
  // A single file's configurations are not on disk.
  return repository.is_on_disk(file) ? read_scheduler_config(repository.path() / file) : repository.json(file);
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

}  // namespace readback::generate
