// PEFT's LoraConfig, as far as it decides what an adapter adds to the weights of which modules (PEFT 0.21).
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace readback::checkpoint {

class PeftOptions {
 public:
  // `where` names the configuration in messages. Errors: CheckpointError, which names the option, for all but plain
  // LoRA: DoRA and other variants, trained biases, whole modules, tokens or bare parameters, repeated layers, tied
  // adapters, and initial values that change the base (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA).
  PeftOptions(const nlohmann::ordered_json& config, std::string where);

  const std::string& base() const { return base_; }  // base_model_name_or_path
  // Whether PEFT adapts this module: target_modules in each of its forms, exclude_modules, layers_to_transform and
  // layers_pattern. "all-linear" means any. Errors: CheckpointError (no regular expression).
  bool targets(const std::string& module) const;
  // alpha for LowRank: alpha / rank is PEFT's scale, also of use_rslora. Errors: CheckpointError when `rank`, the
  // tensors', is not the one that r and rank_pattern state for the module.
  double alpha(const std::string& module, int64_t rank) const;

 private:
  nlohmann::json of_pattern(const char* option, const std::string& module, nlohmann::json fallback) const;
  bool is_in_layers(const std::string& module) const;

  std::string where_, base_;
  nlohmann::ordered_json config_;  // patterns count in the file's order
  double alpha_ = 8;
  int64_t rank_ = 8;
  bool rank_stabilized_ = false;
};

}  // namespace readback::checkpoint
