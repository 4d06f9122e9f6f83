// Where results that can be made again are kept between runs.
#pragma once
#include <filesystem>

namespace readback {

// $READBACK_CACHE, else $XDG_CACHE_HOME/readback, else ~/.cache/readback. It need not exist, and whatever lies in it
// may be removed at any time.
std::filesystem::path cache_folder();

}  // namespace readback
