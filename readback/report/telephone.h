// The page of a message that was passed on and on: how far it drifts, what is left of it, and what became of some.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace readback::report {

// Whether `readback telephone` plays in `folder` (workflow/telephone.h).
bool is_telephone(const std::filesystem::path& folder);

// A whole HTML document. Errors: DataError (nothing is measured yet, or damaged), StoreError.
std::string render_telephone(const std::filesystem::path& folder);

// The page's figures, a line each: "i2t2i, CIDEr: 6.10 after round 1, 1.23 after round 10 (random pairs 0.84);
// half-life 2.4 rounds [2.1, 2.8]". Errors: DataError.
std::vector<std::string> telephone_sentences(const std::filesystem::path& folder);

}  // namespace readback::report
