#include "readback/checkpoint/adapter.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/lines.h"
#include "readback/checkpoint/lora_names.h"
#include "readback/checkpoint/peft_options.h"
#include "readback/checkpoint/pickle.h"
#include "readback/checkpoint/weight_files.h"
#include "readback/checkpoint/writer.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

using nlohmann::json, nlohmann::ordered_json;

const std::string kPeftConfig = "adapter_config.json", kPeftWeights = "adapter_model.safetensors",
                  kPeftPickle = "adapter_model.bin", kPeftPrefix = "base_model.model.",
                  kDiffusersWeights = "pytorch_lora_weights.safetensors", kDiffusersPickle = "pytorch_lora_weights.bin",
                  kDiffusersMetadata = "lora_adapter_metadata", kA = ".lora_A.weight", kB = ".lora_B.weight",
                  kAlpha = ".alpha";

constexpr const char* kPipelineParts[] = {"unet", "text_encoder", "text_encoder_2"};

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// The pairs among `tensors`; alpha is what stands beside them, or their rank.
LowRankMap pair_up(const TensorMap& tensors, const std::string& where) {
  LowRankMap modules;
  std::map<std::string, double> alphas;
  for (const auto& [key, tensor] : tensors) {
    const auto module = [&, &key = key](const std::string& ending) {
      return key.substr(0, key.size() - ending.size());
    };
    if (key.ends_with(kAlpha) && tensor.numel() == 1) {
      alphas[module(kAlpha)] = tensor.to(at::kDouble).item<double>();
      continue;
    }
    const bool is_a = key.ends_with(kA);
    if ((!is_a && !key.ends_with(kB)) || tensor.dim() < 2 || !tensor.is_floating_point()) {
      throw CheckpointError(describe(where + ": '" + key + "'", "MODULE.lora_A.weight or MODULE.lora_B.weight",
                                     "another tensor", "readback reads plain LoRA of linear layers and convolutions"));
    }
    LowRank& pair = modules[module(is_a ? kA : kB)];
    (is_a ? pair.a : pair.b) = tensor;
  }
  for (auto& [module, pair] : modules) {
    const bool whole = pair.a.defined() && pair.b.defined();
    if (!whole || pair.a.size(0) == 0 || pair.b.flatten(1).size(1) != pair.a.size(0)) {
      throw CheckpointError(describe(where + ": " + module, "lora_A and lora_B of one rank",
                                     whole ? "two ranks, or none" : "one of them only"));
    }
    pair.alpha = static_cast<double>(pair.a.size(0));
  }
  for (const auto& [module, alpha] : alphas) {
    const auto pair = modules.find(module);
    if (pair == modules.end() || !std::isfinite(alpha))
      throw CheckpointError(describe(where + ": " + module, "a number as alpha of an A and B", "another"));
    pair->second.alpha = alpha;
  }
  if (modules.empty()) throw CheckpointError(describe(where, "tensors of an adapter", "none"));
  return modules;
}

void set_alphas(LowRankMap& modules, const PeftOptions& options) {
  for (auto& [module, pair] : modules) pair.alpha = options.alpha(module, pair.a.size(0));
}

// The tensors whose keys begin with `prefix`, without it.
TensorMap below(const TensorMap& tensors, const std::string& prefix) {
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    if (key.starts_with(prefix)) result[key.substr(prefix.size())] = tensor;
  }
  return result;
}

ordered_json parse_object(const std::string& text, const std::string& where) {
  ordered_json object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw CheckpointError(describe(where, "an object of JSON", "other text"));
  return object;
}

ordered_json read_config(const fs::path& path) {
  try {
    return parse_object(read_file(path), path.string());
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
}

Adapter load_peft(const fs::path& folder) {
  const PeftOptions options(read_config(folder / kPeftConfig), (folder / kPeftConfig).string());
  const bool pickled = !is_file(folder / kPeftWeights) && is_file(folder / kPeftPickle);
  const fs::path file = folder / (pickled ? kPeftPickle : kPeftWeights);
  const TensorMap tensors = pickled ? load_pickle(file) : load_safetensors(file);
  for (const auto& [key, tensor] : tensors) {
    if (!key.starts_with(kPeftPrefix))
      throw CheckpointError(describe(file.string() + ": '" + key + "'", "a key below " + kPeftPrefix, "another"));
  }
  LowRankMap modules = pair_up(below(tensors, kPeftPrefix), file.string());
  for (const auto& [module, pair] : modules) {
    if (!options.targets(module)) {
      throw CheckpointError(describe(file.string() + ": " + module,
                                     "modules that target_modules of " + kPeftConfig + " names",
                                     "another, which PEFT "
                                     "leaves as it is"));
    }
  }
  set_alphas(modules, options);
  return {options.base(), {{"", std::move(modules)}}};
}

// "base_model" of a model card: of the YAML between its first two lines "---".
std::string base_of_model_card(const fs::path& path) {
  if (!is_file(path)) return "";
  const std::string text = read_text(path);
  const std::vector<std::string_view> lines = lines_of(text);
  if (lines.empty() || lines[0] != "---") return "";
  const auto value = [](std::string_view text) {
    const auto is_filling = [](char c) { return c == ' ' || c == '"' || c == '\'' || c == '-'; };
    while (!text.empty() && is_filling(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_filling(text.back())) text.remove_suffix(1);
    return std::string(text);
  };
  const std::string key = "base_model:";
  for (size_t i = 1; i < lines.size() && lines[i] != "---"; ++i) {
    if (!lines[i].starts_with(key)) continue;
    std::string base = value(lines[i].substr(key.size()));
    if (base.empty() && i + 1 < lines.size() && lines[i + 1] != "---") base = value(lines[i + 1]);  // a list of one
    return base;
  }
  return "";
}

// Of a diffusers pipeline, whichever program wrote it.
Adapter load_lora(const fs::path& file) {
  std::map<std::string, std::string> metadata;
  const TensorMap tensors =
      lora_of_others(is_pickle(file) ? load_pickle(file) : load_safetensors(file, &metadata), file.string());
  ordered_json config = ordered_json::object();
  if (metadata.contains(kDiffusersMetadata)) {
    config = parse_object(metadata.at(kDiffusersMetadata), file.string() + ": metadata");
  }
  Adapter adapter;
  size_t read = 0;
  for (const std::string part : kPipelineParts) {
    const TensorMap own = below(tensors, part + ".");
    if (own.empty()) continue;
    read += own.size();
    LowRankMap modules = pair_up(own, file.string() + ": " + part);
    ordered_json part_config = ordered_json::object();
    for (const auto& [key, value] : config.items()) {
      if (key.starts_with(part + ".")) part_config[key.substr(part.size() + 1)] = value;
    }
    if (!part_config.empty()) {
      const PeftOptions options(part_config, file.string() + ": " + part);
      set_alphas(modules, options);
      if (adapter.base.empty()) adapter.base = options.base();
    }
    adapter.parts[part] = std::move(modules);
  }
  for (const auto& [key, tensor] : tensors) {
    if (read == tensors.size()) break;
    if (std::ranges::none_of(kPipelineParts,
                             [&, &key = key](const char* part) { return key.starts_with(std::string(part) + "."); }))
      throw CheckpointError(describe(file.string() + ": '" + key + "'",
                                     "a key below unet., text_encoder. or text_encoder_2., or kohya's words for them",
                                     "another", "The file may belong to another kind of model"));
  }
  if (adapter.parts.empty()) throw CheckpointError(describe(file.string(), "tensors of an adapter", "none"));
  if (adapter.base.empty()) adapter.base = base_of_model_card(file.parent_path() / "README.md");
  return adapter;
}

// Where an output layer is that shares the matrix of the word embeddings, and where those are.
const std::string kTiedLayer = "cls.predictions.decoder", kTiedTo = "bert.embeddings.word_embeddings";

// The weight of `module`, which becomes one of its own where it is shared. Text models had a level "text_model." until
// transformers 5, in files and adapters alike.
TensorMap::iterator find_weight(TensorMap& tensors, const std::string& module) {
  if (module.ends_with(kTiedLayer)) {
    const std::string model = module.substr(0, module.size() - kTiedLayer.size());
    const auto shared = tensors.find(model + kTiedTo + ".weight");
    return shared == tensors.end() ? shared : tensors.try_emplace(module + kOwnWeight, shared->second).first;
  }
  const std::string key = module + ".weight", level = "text_model.";
  auto found = tensors.find(key);
  if (found == tensors.end()) found = tensors.find(level + key);
  if (found == tensors.end() && key.starts_with(level)) found = tensors.find(key.substr(level.size()));
  return found;
}

// LoraConfig of `modules` on `base`.
json config_of(const std::string& base, const LowRankMap& modules) {
  std::vector<std::string> targets;
  for (const auto& [module, pair] : modules) targets.push_back(module);
  const LowRank& any = modules.begin()->second;
  json config = {{"peft_type", "LORA"},      {"base_model_name_or_path", base},
                 {"r", any.a.size(0)},       {"lora_alpha", any.alpha},
                 {"lora_dropout", 0.0},      {"bias", "none"},
                 {"use_dora", false},        {"use_rslora", false},
                 {"target_modules", targets}};
  if (any.alpha == std::floor(any.alpha)) config["lora_alpha"] = static_cast<int64_t>(any.alpha);  // as PEFT has it
  return config;
}

TensorMap tensors_of(const LowRankMap& modules, const std::string& prefix) {
  TensorMap tensors;
  for (const auto& [module, pair] : modules) {
    tensors[prefix + module + kA] = pair.a.detach().to(at::kFloat);
    tensors[prefix + module + kB] = pair.b.detach().to(at::kFloat);
  }
  return tensors;
}

}  // namespace

bool is_adapter(const fs::path& folder) {
  const bool diffusers = is_file(folder / kDiffusersWeights) || is_file(folder / kDiffusersPickle);
  return is_file(folder / kPeftConfig) || (diffusers && !is_file(folder / "model_index.json"));
}

Adapter load_adapter(const fs::path& path, const std::string& base) {
  const bool is_peft = is_file(path / kPeftConfig);
  const auto file_of_diffusers = [&] {
    if (is_file(path)) return path;
    return path / (is_file(path / kDiffusersWeights) ? kDiffusersWeights : kDiffusersPickle);
  };
  Adapter adapter = is_peft ? load_peft(path) : load_lora(file_of_diffusers());
  if (!base.empty()) adapter.base = base;
  if (adapter.base.empty()) {
    throw CheckpointError(describe(
        path.string(), "an adapter that names its base model", "none",
        is_peft ? "State base_model_name_or_path in " + kPeftConfig
                : "Write '" + path.string() +
                      "@BASE', or beside it a README.md of the lines '---', 'base_model: REPOSITORY' and '---'"));
  }
  return adapter;
}

namespace {

// Whose UNet an adapter was made for, by the width of the texts that it reads or by where it has layers; empty: that
// does not tell.
std::string made_for(const LowRankMap& modules) {
  const std::map<int64_t, std::string> by_width = {
      {768, "Stable Diffusion 1.x"}, {1024, "Stable Diffusion 2.x"}, {2048, "Stable Diffusion XL"}};
  std::string by_place;
  for (const auto& [module, pair] : modules) {
    const auto known = by_width.find(pair.a.size(1));
    if (module.ends_with("attn2.to_k") && known != by_width.end()) return known->second;
    if (module.find(".transformer_blocks.1.") != std::string::npos) by_place = "Stable Diffusion XL";
    if (module.starts_with("down_blocks.0.attentions.")) by_place = "Stable Diffusion 1.x or 2.x";
  }
  return by_place;
}

[[noreturn]] void refuse_module(const LowRankMap& modules, const std::string& where, const std::string& expected,
                                const std::string& got) {
  const std::string kind = made_for(modules);
  throw CheckpointError(describe(
      where, expected, kind.empty() ? got : got + ": it is a LoRA of " + kind,
      kind.empty() ? "The adapter may belong to another model" : "Write 'ADAPTER@BASE', where BASE is a " + kind));
}

}  // namespace

void add_low_rank(TensorMap& tensors, const LowRankMap& modules, const std::string& where) {
  for (const auto& [module, pair] : modules) {
    const auto found = find_weight(tensors, module);
    if (found == tensors.end()) {
      refuse_module(modules, where + ": " + module, "a linear layer or convolution of the base model",
                    "no such module");
    }
    at::Tensor& weight = found->second;
    const at::Tensor a = pair.a.to(weight.device(), at::kFloat).flatten(1),
                     b = pair.b.to(weight.device(), at::kFloat).flatten(1);
    if (b.size(0) != weight.size(0) || b.size(0) * a.size(1) != weight.numel()) {
      refuse_module(modules, where + ": " + module, fmt::format("an update of [{}]", fmt::join(weight.sizes(), ", ")),
                    fmt::format("[{}, {}]", b.size(0), a.size(1)));
    }
    const double scale = pair.alpha / static_cast<double>(a.size(0));
    weight = weight.to(at::kFloat) + (at::matmul(b, a) * scale).view(weight.sizes());
  }
}

namespace {

int64_t greatest_rank(const LowRankMap& modules) {
  int64_t rank = 0;
  for (const auto& [module, pair] : modules) rank = std::max(rank, pair.a.size(0));
  return rank;
}

// The pair with its scale in B, so that alpha is the rank, and with zeros up to `rank`.
LowRank padded(const LowRank& pair, int64_t rank) {
  const double scale = pair.alpha / static_cast<double>(pair.a.size(0));
  std::vector<int64_t> of_a = pair.a.sizes().vec(), of_b = pair.b.sizes().vec();
  of_a[0] = of_b[1] = rank - pair.a.size(0);
  const at::TensorOptions options = pair.a.options().dtype(at::kFloat);
  return {at::cat({pair.a.to(at::kFloat), at::zeros(of_a, options)}),
          at::cat({pair.b.to(at::kFloat) * scale, at::zeros(of_b, options)}, 1), static_cast<double>(rank)};
}

LowRank nothing_like(const LowRank& pair, int64_t rank) {
  LowRank none = padded(pair, std::max(rank, pair.a.size(0)));
  return {at::zeros_like(none.a.narrow(0, 0, rank)), at::zeros_like(none.b.narrow(1, 0, rank)),
          static_cast<double>(rank)};
}

}  // namespace

LowRankMap stacked(const LowRankMap& first, const LowRankMap& second) {
  const int64_t first_rank = greatest_rank(first), second_rank = greatest_rank(second);
  LowRankMap all;
  const auto add = [&](const std::string& module) {
    const auto a = first.find(module), b = second.find(module);
    const LowRank one = a != first.end() ? padded(a->second, first_rank) : nothing_like(b->second, first_rank);
    const LowRank two = b != second.end() ? padded(b->second, second_rank) : nothing_like(a->second, second_rank);
    all[module] = {at::cat({one.a, two.a.to(one.a.device())}), at::cat({one.b, two.b.to(one.b.device())}, 1),
                   static_cast<double>(first_rank + second_rank)};
  };
  for (const auto& [module, pair] : first) add(module);
  for (const auto& [module, pair] : second) {
    if (!first.contains(module)) add(module);
  }
  return all;
}

void save_peft_adapter(const fs::path& folder, const std::string& base, const LowRankMap& modules) {
  json config = config_of(base, modules);
  config["inference_mode"] = true;
  config["task_type"] = nullptr;
  config["auto_mapping"] = {{"base_model_class", "BlipForConditionalGeneration"},
                            {"parent_library", "transformers.models.blip.modeling_blip"}};
  save_safetensors(tensors_of(modules, kPeftPrefix), folder / kPeftWeights, {{"format", "pt"}});
  write_json(folder / kPeftConfig, config);
}

void save_diffusers_adapter(const fs::path& folder, const std::string& base, const std::string& part,
                            const LowRankMap& modules) {
  const json config = config_of(base, modules);
  json metadata = json::object();
  for (const auto& [key, value] : config.items()) metadata[part + "." + key] = value;
  save_safetensors(tensors_of(modules, part + "."), folder / kDiffusersWeights,
                   {{"format", "pt"}, {kDiffusersMetadata, metadata.dump(2)}});
}

}  // namespace readback::checkpoint
