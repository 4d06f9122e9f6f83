// Embedders by what their repository says they are.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "readback/base/machine.h"
#include "readback/score/embedder.h"

namespace readback::score {

enum class EmbedderRole { kClip, kDino, kInception, kSbert };

// `spec`: a repository, for Inception also a .pth file. `side`: pixels that DINO sees; 0: as its repository says.
// Errors: CheckpointError, also for an architecture that the role does not know, naming those that it does.
std::unique_ptr<ImageTextEmbedder> open_embedder(EmbedderRole role, const std::string& spec, const Machine& machine,
                                                 int64_t side = 0);

}  // namespace readback::score
