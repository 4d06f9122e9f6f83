// Captioners by what their repository says they are.
#pragma once
#include <memory>
#include <string>

#include "readback/base/machine.h"
#include "readback/caption/captioner.h"

namespace readback::caption {

// `spec`: a folder, a hub id in the standard cache, or a shipped repository. Errors: CheckpointError.
std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine);

}  // namespace readback::caption
