// Where the files that ship with readback lie: the small world's sprites and checkpoints.
#pragma once
#include <filesystem>

namespace readback {

// $READBACK_ASSETS when set; else the first that holds emoji-scenes/ of ../share/readback, seen from the program's
// folder, and the assets of the readback that the program was linked with. Errors: DataError listing where it looked.
std::filesystem::path assets_dir();

}  // namespace readback
