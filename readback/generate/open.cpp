#include "readback/generate/open.h"

#include "readback/base/error.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/generate/karlo.h"
#include "readback/generate/stable_diffusion.h"

namespace readback::generate {

namespace {

template <typename Backend>
checkpoint::Backend<Generator> backend(const char* name, const Machine& machine) {
  return {name, [&machine](const checkpoint::Repository& repository) {
            return std::make_unique<Backend>(repository, machine.device, machine.dtype);
          }};
}

}  // namespace

std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine) {
  std::vector<checkpoint::Backend<Generator>> backends = {backend<Karlo>("UnCLIPPipeline", machine),
                                                          backend<Karlo>("UnCLIPImageVariationPipeline", machine)};
  for (const StableDiffusionKind& kind : kStableDiffusionKinds) {
    backends.push_back(backend<StableDiffusion>(kind.pipeline, machine));
  }
  return checkpoint::open_backend<Generator>("generator", backends, spec, machine);
}

void expect_varies(const std::string& spec, const Machine& machine) {
  if (Karlo::varies(checkpoint::Repository(spec, machine.variant))) return;
  throw CheckpointError(describe(spec, "an unCLIP with an image encoder, which draws pictures anew without words",
                                 "none", "kakaobrain/karlo-v1-alpha-image-variations is one"));
}

}  // namespace readback::generate
