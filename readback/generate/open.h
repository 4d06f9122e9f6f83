// Generators by what their repository says they are.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/machine.h"
#include "readback/generate/generator.h"

namespace readback::generate {

// `spec`: a folder, a hub id in the standard cache, or a shipped repository. Errors: CheckpointError, also for an
// architecture that is not known, naming those that are.
std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine);

// Before anything large is read. Errors: CheckpointError where the generator would have no Capabilities::variations.
void expect_varies(const std::string& spec, const Machine& machine);

}  // namespace readback::generate
