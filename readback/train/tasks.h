// The tasks, one file each.
#pragma once
#include <memory>

#include "readback/checkpoint/repository.h"
#include "readback/nn/weights.h"
#include "readback/text/tokenizer.h"
#include "readback/train/task.h"

namespace readback::train {

std::unique_ptr<Task> make_vae_task(const TaskOptions& options, const Machine& machine, const Context& context);
std::unique_ptr<Task> make_clip_task(const TaskOptions& options, const Machine& machine, const Context& context);
std::unique_ptr<Task> make_captioner_task(const TaskOptions& options, const Machine& machine, const Context& context);
std::unique_ptr<Task> make_language_model_task(const TaskOptions& options, const Machine& machine,
                                               const Context& context);
std::unique_ptr<Task> make_flamingo_task(const TaskOptions& options, const Machine& machine, const Context& context);
std::unique_ptr<Task> make_diffusion_task(const TaskOptions& options, const Machine& machine, const Context& context);
std::unique_ptr<Task> make_consistency_task(const TaskOptions& options, const Machine& machine, const Context& context);
// One of unCLIP's three stages.
std::unique_ptr<Task> make_unclip_task(const TaskOptions& options, const Machine& machine, const Context& context);

// The parameters in `subfolder` of `repository` to start from, or fresh ones where it has no weights.
nn::Weights starting_weights(const checkpoint::Repository& repository, const Machine& machine, uint64_t seed,
                             const std::string& subfolder = "");

// Copies the repository's JSON files of `subfolder` into `folder`, and writes `weights` beside them in half precision.
void save_model(const std::filesystem::path& source, const std::filesystem::path& folder,
                const checkpoint::TensorMap& weights, const std::string& file);
inline constexpr const char* kDiffusersFile = "diffusion_pytorch_model.safetensors";  // of weights
// Copies the files, not the folders, of `source` into `folder`.
void copy_files(const std::filesystem::path& source, const std::filesystem::path& folder);

// Token ids as a CLIP text encoder of so many positions reads them: int64 [texts, length], see text::clip_framing().
at::Tensor token_batch(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts, int64_t positions);

}  // namespace readback::train
