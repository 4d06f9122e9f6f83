// One way to open a model by what its repository says it is, or by its scheme: caption::open, generate::open and
// score::open_embedder are tables over this.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/repository.h"

namespace readback::checkpoint {

// What a repository says of itself. Errors: CheckpointError when it says nothing.
struct Architecture {
  std::string class_name;  // model_index.json's _class_name, else the first of config.json's architectures
  std::string model_type;  // config.json's
};
Architecture architecture(const Repository& repository);

template <typename Interface>
struct Backend {
  const char* name;  // a class ("BlipForConditionalGeneration"), a model type ("bert") or a scheme ("https:")
  std::function<std::unique_ptr<Interface>(const Repository& repository)> open;
  std::function<std::unique_ptr<Interface>(const std::string& spec)> open_scheme = {};
};

// "https:" of "https://…" and "command:" of "command:…"; empty for a folder or a hub id.
std::string scheme(const std::string& spec);

// `role`: "captioner"; `variant`: of the weights, see Repository. Errors: CheckpointError that names the known ones,
// what the backend throws.
template <typename Interface>
std::unique_ptr<Interface> open_backend(const char* role, const std::vector<Backend<Interface>>& backends,
                                        const std::string& spec, const std::string& variant) {
  const std::string by_scheme = scheme(spec);
  std::string known;
  for (const Backend<Interface>& backend : backends) {
    known += (known.empty() ? "" : ", ") + std::string(backend.name);
    if (backend.open_scheme && by_scheme == backend.name) return backend.open_scheme(spec);
  }
  if (!by_scheme.empty()) throw CheckpointError(describe(spec, std::string("a ") + role + ": " + known, by_scheme));
  const Repository repository(spec, variant);
  const Architecture found = architecture(repository);
  for (const Backend<Interface>& backend : backends) {
    const bool same = found.class_name == backend.name || found.model_type == backend.name;
    if (same && backend.open) return backend.open(repository);
  }
  throw CheckpointError(describe(repository.path().string(), std::string("a ") + role + ": " + known,
                                 found.class_name.empty() ? found.model_type : found.class_name));
}

}  // namespace readback::checkpoint
