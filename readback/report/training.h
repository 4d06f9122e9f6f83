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

// "name = value" lines of the options in a file as train/training_identity.h writes it; empty where there is none.
std::string options_of(const std::filesystem::path& identity_file);

}  // namespace readback::report
