// The page of a training: how its losses, and what it was evaluated by, went.
#pragma once
#include <filesystem>
#include <string>

namespace readback::report {

// Whether `readback train` or `finetune` writes into `folder`.
bool is_training(const std::filesystem::path& folder);

// A whole HTML document of the curves in training/losses.jsonl and training/evaluations.jsonl, and of the options.
// Errors: DataError.
std::string render_training(const std::filesystem::path& folder);

}  // namespace readback::report
