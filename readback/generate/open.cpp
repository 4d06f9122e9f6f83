#include "readback/generate/open.h"

#include "readback/checkpoint/open_backend.h"
#include "readback/generate/stable_diffusion.h"

namespace readback::generate {

std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine) {
  using checkpoint::Repository;
  std::vector<checkpoint::Backend<Generator>> backends;
  for (const StableDiffusionKind& kind : kStableDiffusionKinds) {
    backends.push_back({kind.pipeline, [&](const Repository& repository) {
                          return std::make_unique<StableDiffusion>(repository, machine.device, machine.dtype);
                        }});
  }
  return checkpoint::open_backend<Generator>("generator", backends, spec, machine.variant);
}

}  // namespace readback::generate
