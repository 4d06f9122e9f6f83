// Captions in files beside pictures, as makers of training sets keep them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "readback/data/problems.h"

namespace readback::data {

inline constexpr const char* kSideEndings[] = {".txt", ".caption"};

// The captions in `text`, one a line; blank lines are passed over, and a text of nothing else is remarked on.
std::vector<std::string> captions_in(std::string_view text, const std::string& where, Problems& problems);
// Those of NAME.txt beside NAME.jpg, or where there is none of NAME.caption. No such file: no captions.
std::vector<std::string> side_captions(const std::filesystem::path& picture, Problems& problems);

}  // namespace readback::data
