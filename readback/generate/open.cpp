#include "readback/generate/open.h"

#include "readback/checkpoint/backends.h"
#include "readback/generate/stable_diffusion.h"

namespace readback::generate {

std::unique_ptr<Generator> open(const std::string& spec, const Machine& machine) {
  return checkpoint::open_backend<Generator>(
      "generator",
      {
          {"StableDiffusionPipeline",
           [&](const checkpoint::Repository& repository) {
             return std::make_unique<StableDiffusion>(repository, machine.device, machine.dtype);
           }},
      },
      spec);
}

}  // namespace readback::generate
