#include "readback/generate/open.h"

#include "readback/base/error.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/generate/command_generator.h"
#include "readback/generate/karlo.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/generate/wire_generator.h"
#include "readback/wire/hub.h"

namespace readback::generate {

namespace {

template <typename Backend>
checkpoint::Backend<Generator> backend(const char* name, const Machine& machine) {
  return {name, [&machine](const checkpoint::Repository& repository) {
            return std::make_unique<Backend>(repository, machine.device, machine.dtype);
          }};
}

}  // namespace

std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine, const wire::WireOptions& wire,
                                const Context& context) {
  std::vector<checkpoint::Backend<Generator>> backends = {backend<Karlo>("UnCLIPPipeline", machine),
                                                          backend<Karlo>("UnCLIPImageVariationPipeline", machine)};
  for (const StableDiffusionKind& kind : kStableDiffusionKinds) {
    backends.push_back(backend<StableDiffusion>(kind.pipeline, machine));
  }
  for (const char* protocol : kWireProtocols) {
    backends.push_back({protocol, {}, [&](const std::string& where) {
                          return std::make_unique<WireGenerator>(where, wire, !machine.device.is_meta());
                        }});
  }
  backends.push_back({"command:", {}, [&](const std::string& command) {
                        return std::make_unique<CommandGenerator>(command, wire.request_timeout);
                      }});
  return checkpoint::open_backend<Generator>("generator", backends, wire::pulled(spec, wire, context), machine);
}

void expect_varies(const std::string& spec, const Machine& machine) {
  if (Karlo::varies(checkpoint::Repository(spec, machine.variant))) return;
  throw CheckpointError(describe(spec, "an unCLIP with an image encoder, which draws pictures anew without words",
                                 "none", "kakaobrain/karlo-v1-alpha-image-variations is one"));
}

}  // namespace readback::generate
