#include "readback/caption/open.h"

#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/repository.h"

namespace readback::caption {

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine) {
  return std::make_unique<BlipCaptioner>(checkpoint::Repository(spec), machine.device, machine.dtype);
}

}  // namespace readback::caption
