// Puts the programs that SPICE needs in one folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "readback/base/context.h"

namespace readback::score {

struct SpicePreparation {
  std::filesystem::path package;                              // pycocoevalcap/spice
  std::filesystem::path jars;                                 // a folder with jars of Maven Central; may be empty
  std::string repository = "https://repo1.maven.org/maven2";  // where the others come from
  std::filesystem::path output;                               // the folder to make
};

struct SpiceFetched {
  int64_t copied = 0, downloaded = 0, kept = 0;  // files
};

// Every jar of spice_jars() into `output`, each checked by its SHA-256 before it gets its name; those that are there
// already are kept, so that a command that was interrupted goes on. Downloads (386 MB) by the program curl.
// Errors: DataError when a file is missing, another one, or cannot be downloaded; StoreError; Interrupted.
SpiceFetched prepare_spice(const SpicePreparation& preparation, const Context& context);

}  // namespace readback::score
