#include "readback/caption/open.h"

#include "readback/caption/token_captioners.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/models/part.h"

namespace readback::caption {

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine) {
  std::vector<checkpoint::Backend<Captioner>> backends;
  for (const TokenBackend& backend : token_backends()) {
    backends.push_back({backend.class_name, [&machine, &backend](const checkpoint::Repository& repository) {
                          return backend.make(
                              repository,
                              models::part_weights(repository, "", machine.device, machine.dtype).for_inference(),
                              repository.digest());
                        }});
  }
  return checkpoint::open_backend<Captioner>("captioner", backends, spec, machine);
}

}  // namespace readback::caption
