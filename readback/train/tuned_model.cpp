#include "readback/train/tuned_model.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/adapter.h"
#include "readback/checkpoint/writer.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// Every file of the repository but the weights of the parts that are written anew, and a training's state beside it.
void copy_others(const fs::path& source, const fs::path& target, const std::set<std::string>& rewritten) {
  for (const auto& entry : fs::recursive_directory_iterator(source, fs::directory_options::follow_directory_symlink)) {
    const fs::path name = fs::relative(entry.path(), source);
    if (!entry.is_regular_file() || name.string().starts_with(".") || *name.begin() == "training") {
      continue;
    }
    const std::string extension = name.extension().string();
    const bool weights =
        extension == ".safetensors" || extension == ".bin" || name.string().find(".index.") != std::string::npos;
    if (weights && rewritten.contains(name.parent_path().string())) continue;
    write_copy(target / name, entry.path());
  }
}

// The adapters among the trained tensors; empty when whole weights are trained.
checkpoint::LowRankMap trained_adapters(const TunedPart& part, const checkpoint::TensorMap& trained) {
  const auto spec = adapters(part.model, part.selection, part.lora);
  checkpoint::LowRankMap modules;
  if (!spec) return modules;
  for (const auto& [key, tensor] : trained) {
    if (!key.starts_with(part.prefix()) || !is_adapter_key(key)) continue;
    const size_t begin = part.prefix().size(), end = key.rfind(".lora_");
    checkpoint::LowRank& pair = modules[key.substr(begin, end - begin)];
    (key.ends_with("A.weight") ? pair.a : pair.b) = tensor;
    pair.alpha = spec->alpha;
  }
  return modules;
}

// An adapter that is trained on top of another keeps both, of this part.
void expect_part_alone(const checkpoint::Repository& repository, const TunedPart& part) {
  const std::vector<std::string> parts = repository.adapted_parts();
  if (parts.empty() || parts == std::vector{part.folder()}) return;
  throw UsageError(describe(repository.name(), "a whole model, or an adapter of the part that is trained alone",
                            "an adapter of other parts too",
                            "Train its weights (such as xattn_q), which writes a whole model"));
}

}  // namespace

nn::Weights weights_to_train(const checkpoint::Repository& repository, const TunedPart& part, const Machine& machine) {
  checkpoint::TensorMap tensors = repository.tensors(part.folder());
  const std::string where = (repository.path() / part.folder()).string();
  if (auto spec = adapters(part.model, part.selection, part.lora)) {
    expect_part_alone(repository, part);
    return nn::Weights(std::move(tensors), machine.device, machine.dtype, where).with_adapters(std::move(*spec));
  }
  if (repository.is_single_file()) {
    throw UsageError(describe(repository.name(), "a repository, of which a tuned copy is written",
                              "a model in one file", "Train adapters (lora), which leave it as it is"));
  }
  for (const auto& [key, tensor] : tensors) {
    if (!key.ends_with(checkpoint::kOwnWeight)) continue;
    throw UsageError(describe(repository.name(), "an output layer that shares the matrix of the word embeddings",
                              "an adapter of that layer, which a whole model could not keep",
                              "Start from an adapter of other layers, or from the base model"));
  }
  for (const auto& [key, tensor] : select_parameters(tensors, part.model, part.selection))
    tensors[key] = tensor.clone();
  return nn::Weights(std::move(tensors), machine.device, machine.dtype, where);
}

checkpoint::TensorMap tuned_tensors(const checkpoint::Repository& repository, const TunedPart& part,
                                    const checkpoint::TensorMap& trained) {
  checkpoint::TensorMap tensors = repository.tensors(part.folder());
  for (auto& [key, tensor] : tensors) {
    if (const auto found = trained.find(part.prefix() + key); found != trained.end()) {
      tensor = found->second.to(tensor.scalar_type());
    }
  }
  checkpoint::add_low_rank(tensors, trained_adapters(part, trained), "trained adapters");
  return tensors;
}

void save_tuned(const checkpoint::Repository& repository, const TunedPart& part, const checkpoint::TensorMap& trained,
                const fs::path& folder) {
  if (const checkpoint::LowRankMap modules = trained_adapters(part, trained); !modules.empty()) {
    const checkpoint::Adapter* before = repository.adapter();
    const std::string base = before != nullptr ? before->base : repository.name();
    const checkpoint::LowRankMap all =
        before != nullptr ? checkpoint::stacked(before->parts.at(part.folder()), modules) : modules;
    if (!part.model.is_unet()) return checkpoint::save_peft_adapter(folder, base, all);
    return checkpoint::save_diffusers_adapter(folder, base, part.folder(), all);
  }
  const auto write = [&](const std::string& subfolder, checkpoint::TensorMap tensors) {
    checkpoint::write_model(
        folder / subfolder, repository.json((fs::path(subfolder) / "config.json").string()), std::move(tensors),
        {.weights = subfolder == "unet" ? "diffusion_pytorch_model.safetensors" : "model.safetensors"});
  };
  // What an adapter changed in other parts is kept, too.
  std::set<std::string> rewritten = {part.folder()};
  for (const std::string& other : repository.adapted_parts()) rewritten.insert(other);
  copy_others(repository.path(), folder, rewritten);
  for (const std::string& subfolder : rewritten) {
    write(subfolder,
          subfolder == part.folder() ? tuned_tensors(repository, part, trained) : repository.tensors(subfolder));
  }
}

}  // namespace readback::train
