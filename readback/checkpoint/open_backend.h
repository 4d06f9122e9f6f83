// One way to open a model by what its repository says it is, or by its scheme: caption::open, generate::open and
// score::open_embedder are tables over this.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/machine.h"
#include "readback/checkpoint/repository.h"

namespace readback::checkpoint {

// What a repository says of itself. Errors: CheckpointError when it says nothing.
struct Architecture {
  std::string class_name;  // model_index.json's _class_name, else the first of config.json's architectures
  std::string model_type;  // config.json's
};
Architecture architecture(const Repository& repository);

// A repository or scheme that the table has no backend for.
class UnknownModel : public CheckpointError {
  using CheckpointError::CheckpointError;
};
// Says of `found` in `where` what it is and, where that is known, what would work. `known`: what `role` opens.
UnknownModel unknown_model(const std::string& where, const std::string& role, const std::string& known,
                           const Architecture& found);

template <typename Interface>
struct Backend {
  const char* name;  // a class ("BlipForConditionalGeneration"), a model type ("bert") or a scheme ("https:")
  std::function<std::unique_ptr<Interface>(const Repository& repository)> open;
  std::function<std::unique_ptr<Interface>(const std::string& spec)> open_scheme = {};
};

// "https:" of "https://…" and "command:" of "command:…"; empty for a folder or a hub id.
std::string scheme(const std::string& spec);

// `role`: "captioner". On the meta device of `machine` nothing large is read (Repository::Contents::kHeaders), and the
// model says what it is but computes nothing. Errors: UnknownModel, what the backend throws.
template <typename Interface>
std::unique_ptr<Interface> open_backend(const char* role, const std::vector<Backend<Interface>>& backends,
                                        const std::string& spec, const Machine& machine) {
  const std::string by_scheme = scheme(spec);
  std::string known;
  for (const Backend<Interface>& backend : backends) {
    known += (known.empty() ? "" : ", ") + std::string(backend.name);
    if (backend.open_scheme && by_scheme == backend.name) return backend.open_scheme(spec);
  }
  if (!by_scheme.empty()) throw UnknownModel(describe(spec, std::string("a ") + role + ": " + known, by_scheme));
  const Repository repository(spec, machine.variant,
                              machine.device.is_meta() ? Repository::Contents::kHeaders : Repository::Contents::kAll);
  const Architecture found = architecture(repository);
  for (const Backend<Interface>& backend : backends) {
    const bool same = found.class_name == backend.name || found.model_type == backend.name;
    if (same && backend.open) return backend.open(repository);
  }
  throw unknown_model(repository.path().string(), role, known, found);
}

}  // namespace readback::checkpoint
