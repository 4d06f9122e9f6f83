// Generators by what their repository says they are.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/generate/generator.h"
#include "readback/wire/options.h"

namespace readback::generate {

inline constexpr const char* kGeneratorSpecs =
    "Repository: a folder, or a hub id in the cache; hub:REPO pulls it; or elsewhere: openai:URL#MODEL, "
    "sdapi:URL#MODEL, sdcpp:URL, "
    "command:PROGRAM …";

// `spec`: a folder, a hub id in the standard cache, hub:ID to be pulled (wire/hub.h), a shipped repository, or a
// generator elsewhere: openai:URL#MODEL, sdapi:URL#MODEL or sdcpp:URL, or a program: command:PROGRAM ARGUMENT…. Errors:
// CheckpointError, also for an architecture that is not known, naming those that are; of a generator elsewhere
// UsageError and NetworkError.
std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine, const wire::WireOptions& wire = {},
                                const Context& context = {});

// Before anything large is read. Errors: CheckpointError where the generator would have no Capabilities::variations.
void expect_varies(const std::string& spec, const Machine& machine);

}  // namespace readback::generate
