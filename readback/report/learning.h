// The page of learning from what returned: how each round did by its reward, and by what is not its reward.
#pragma once
#include <filesystem>
#include <string>

namespace readback::report {

// Whether `readback finetune` learns in rounds in `folder` (workflow/learn_from_return.h).
bool is_learning(const std::filesystem::path& folder);

// A whole HTML document of the rounds' judgements, finished or not. Errors: DataError.
std::string render_learning(const std::filesystem::path& folder);

}  // namespace readback::report
