// Captioners by what their repository says they are.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/caption/captioner.h"
#include "readback/wire/options.h"

namespace readback::caption {

inline constexpr const char* kCaptionerSpecs =
    "Repository: a folder, or a hub id in the cache; hub:REPO pulls it; or elsewhere: openai:URL#MODEL, "
    "command:PROGRAM …";

// `spec`: a folder, a hub id in the standard cache, hub:ID to be pulled (wire/hub.h), a shipped repository, or a
// captioner elsewhere: openai:URL#MODEL, or a program: command:PROGRAM ARGUMENT…. Errors: CheckpointError, also for an
// architecture that is not known, naming those that are; of a captioner elsewhere UsageError and NetworkError.
std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine, const wire::WireOptions& wire = {},
                                const Context& context = {});

}  // namespace readback::caption
