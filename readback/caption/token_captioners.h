// The table of captioners that write token by token, by the class that a repository names.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/nn/weights.h"

namespace readback::caption {

struct TokenBackend {
  const char* class_name;
  // Of the repository's configuration and of `weights`, which may be trained: the captioner computes with them.
  // Errors: CheckpointError.
  std::unique_ptr<TokenCaptioner> (*make)(const checkpoint::Repository& repository, const nn::Weights& weights,
                                          std::string identity);
};
const std::vector<TokenBackend>& token_backends();

// That of the repository's class. Errors: CheckpointError that names those that are known.
const TokenBackend& token_backend(const checkpoint::Repository& repository);

}  // namespace readback::caption
