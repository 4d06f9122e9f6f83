#include "readback/checkpoint/config_reader.h"

#include <algorithm>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

using nlohmann::json;

// Keys of transformers' PretrainedConfig and diffusers' ConfigMixin that concern provenance, training, the form of the
// output, or the defaults of generate() (readback takes those from its own flags).
const std::set<std::string, std::less<>> kBaseKeys = {
    // Provenance
    "_name_or_path", "_commit_hash", "_class_name", "_diffusers_version", "architectures", "auto_map", "dtype",
    "model_type", "name_or_path", "torch_dtype", "transformers_version", "use_bfloat16",
    // Output and run time
    "_attn_implementation", "_attn_implementation_autoset", "_experts_implementation", "attn_implementation",
    "chunk_size_feed_forward", "gradient_checkpointing", "output_attentions", "output_hidden_states", "output_past",
    "return_dict", "torchscript", "use_cache", "use_return_dict",
    // Tasks and labels
    "finetuning_task", "id2label", "label2id", "num_labels", "prefix", "problem_type", "task_specific_params",
    "tf_legacy_loss", "tokenizer_class",
    // Encoder-decoder wiring that each model fixes by its class
    "add_cross_attention", "is_decoder", "is_encoder_decoder", "tie_encoder_decoder",
    // generate()
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
    "num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
    "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
    // Special tokens that a model without text, or its tokenizer, does not need from here
    "bos_token_id", "cls_token_id", "decoder_start_token_id", "eos_token_id", "mask_token_id", "pad_token_id",
    "sep_token_id",
    // diffusers' moving average of training weights
    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup"};

std::string quoted(const std::string& key) { return "'" + key + "'"; }

}  // namespace

ConfigReader::ConfigReader(json config, std::string where) : config_(std::move(config)), where_(std::move(where)) {
  if (!config_.is_object()) throw CheckpointError(describe(where_, "a JSON object", config_.type_name()));
}

bool ConfigReader::has(const std::string& key) const {
  const auto found = config_.find(key);
  return found != config_.end() && !found->is_null();
}

ConfigReader ConfigReader::section(const std::string& key) {
  known_.insert(key);
  return {has(key) ? config_.at(key) : json::object(), where_ + ", section " + quoted(key)};
}

void ConfigReader::expect(const std::string& key, std::initializer_list<json> allowed) {
  known_.insert(key);
  if (!has(key) || std::find(allowed.begin(), allowed.end(), config_.at(key)) != allowed.end()) return;
  std::string list;
  for (const json& value : allowed) list += (list.empty() ? "" : " or ") + value.dump();
  throw CheckpointError(describe(where_ + ": " + quoted(key), list, config_.at(key).dump(),
                                 "readback does not implement this option's value"));
}

void ConfigReader::ignore(std::initializer_list<const char*> keys) { known_.insert(keys.begin(), keys.end()); }

void ConfigReader::finish() const {
  std::string unknown;
  for (const auto& [key, value] : config_.items()) {
    if (value.is_null() || known_.contains(key) || kBaseKeys.contains(key)) continue;
    if (key == "pruned_heads" && value.empty()) continue;
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 40) text.resize(40), text += "…";
    unknown += (unknown.empty() ? "" : ", ") + quoted(key) + " = " + text;
  }
  if (!unknown.empty())
    throw CheckpointError(describe(where_, "options that readback knows", unknown,
                                   "An unknown option could change the result, so it is not ignored"));
}

json ConfigReader::value(const std::string& key) {
  known_.insert(key);
  if (!has(key)) throw CheckpointError(describe(where_, "the option " + quoted(key), "none"));
  return config_.at(key);
}

void ConfigReader::refuse(const std::string& key, const std::string& expected) const {
  std::string text = config_.at(key).dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 80) text.resize(80), text += "…";
  throw CheckpointError(describe(where_ + ": " + quoted(key), expected, text));
}

}  // namespace readback::checkpoint
