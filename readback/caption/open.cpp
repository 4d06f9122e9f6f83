#include "readback/caption/open.h"

#include "readback/caption/blip2_captioner.h"
#include "readback/caption/blip_captioner.h"
#include "readback/caption/idefics_captioner.h"
#include "readback/caption/smolvlm_captioner.h"
#include "readback/checkpoint/open_backend.h"

namespace readback::caption {

namespace {

template <typename Backend>
checkpoint::Backend<Captioner> backend(const char* name, const Machine& machine) {
  return {name, [&machine](const checkpoint::Repository& repository) {
            return std::make_unique<Backend>(repository, machine.device, machine.dtype);
          }};
}

}  // namespace

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine) {
  const std::vector<checkpoint::Backend<Captioner>> backends = {
      backend<BlipCaptioner>("BlipForConditionalGeneration", machine),
      backend<Blip2Captioner>("Blip2ForConditionalGeneration", machine),
      backend<IdeficsCaptioner>("IdeficsForVisionText2Text", machine),
      backend<SmolVlmCaptioner>("SmolVLMForConditionalGeneration", machine),
      backend<SmolVlmCaptioner>("Idefics3ForConditionalGeneration", machine),  // SmolVLM's first release
  };
  return checkpoint::open_backend<Captioner>("captioner", backends, spec, machine);
}

}  // namespace readback::caption
