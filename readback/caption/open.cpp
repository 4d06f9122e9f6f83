#include "readback/caption/open.h"

#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/backends.h"

namespace readback::caption {

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine) {
  return checkpoint::open_backend<Captioner>(
      "captioner",
      {
          {"BlipForConditionalGeneration",
           [&](const checkpoint::Repository& repository) {
             return std::make_unique<BlipCaptioner>(repository, machine.device, machine.dtype);
           }},
      },
      spec);
}

}  // namespace readback::caption
