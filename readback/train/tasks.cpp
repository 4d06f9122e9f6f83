#include "readback/train/tasks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/writer.h"
#include "readback/text/framing.h"

namespace readback::train {

namespace fs = std::filesystem;

std::unique_ptr<Task> make_task(const TaskOptions& options, const Machine& machine, const Context& context) {
  check_options(options);
  if (!options.task)
    throw UsageError(describe("task",
                              "vae, clip, captioner, diffusion, consistency, language-model, flamingo, unclip-prior, "
                              "unclip-decoder or unclip-super-resolution",
                              "none"));
  if (options.model.empty()) throw UsageError(describe("model", "a folder of configuration files", "none"));
  switch (*options.task) {
    case TaskKind::kVae:
      return make_vae_task(options, machine, context);
    case TaskKind::kClip:
      return make_clip_task(options, machine, context);
    case TaskKind::kCaptioner:
      return make_captioner_task(options, machine, context);
    case TaskKind::kLanguageModel:
      return make_language_model_task(options, machine, context);
    case TaskKind::kFlamingo:
      return make_flamingo_task(options, machine, context);
    case TaskKind::kConsistency:
      return make_consistency_task(options, machine, context);
    case TaskKind::kUnclipPrior:
    case TaskKind::kUnclipDecoder:
    case TaskKind::kUnclipSuperResolution:
      return make_unclip_task(options, machine, context);
    case TaskKind::kDiffusion:
      break;
  }
  return make_diffusion_task(options, machine, context);
}

nn::Weights starting_weights(const checkpoint::Repository& repository, const Machine& machine, uint64_t seed,
                             const std::string& subfolder) {
  const fs::path folder = repository.path() / subfolder;
  for (const char* file : {"model.safetensors", kDiffusersFile}) {
    if (!fs::exists(folder / file)) continue;
    // Copies, since a mapped file must not be written to.
    checkpoint::TensorMap tensors = repository.tensors(subfolder);
    for (auto& [key, tensor] : tensors) tensor = tensor.clone();
    return nn::Weights(std::move(tensors), machine.device, machine.dtype, folder.string());
  }
  return nn::Weights::fresh(seed, machine.device, machine.dtype);
}

void save_model(const fs::path& source, const fs::path& folder, const checkpoint::TensorMap& weights,
                const std::string& file) {
  for (const auto& entry : fs::directory_iterator(source)) {
    const fs::path name = entry.path().filename();
    if ((name.extension() == ".json" && name != "config.json") || name.extension() == ".txt") {
      write_file(folder / name, read_file(entry.path()));
    }
  }
  checkpoint::write_model(folder, read_json(source / "config.json"), weights, {.weights = file, .dtype = at::kHalf});
}

void copy_files(const fs::path& source, const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(source)) {
    if (entry.is_regular_file()) write_file(folder / entry.path().filename(), read_file(entry.path()));
  }
}

at::Tensor token_batch(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts, int64_t positions) {
  const text::Framing framing = text::clip_framing(tokenizer, positions, "the task's tokenizer");
  at::Tensor ids = at::empty({std::ssize(texts), framing.length}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (const std::string& text : texts) {
    const text::Padded padded = framing(tokenizer.encode(text));
    out = std::copy(padded.ids.begin(), padded.ids.end(), out);
  }
  return ids;
}

}  // namespace readback::train
