#include "readback/caption/open.h"

#include "readback/caption/blip2_captioner.h"
#include "readback/caption/blip_captioner.h"
#include "readback/caption/idefics_captioner.h"
#include "readback/caption/smolvlm_captioner.h"
#include "readback/checkpoint/open_backend.h"

namespace readback::caption {

std::unique_ptr<Captioner> open(const std::string& spec, const Machine& machine) {
  using checkpoint::Repository;
  std::vector<checkpoint::Backend<Captioner>> backends;
  backends.push_back({"BlipForConditionalGeneration", [&](const Repository& repository) {
                        return std::make_unique<BlipCaptioner>(repository, machine.device, machine.dtype);
                      }});
  backends.push_back({"Blip2ForConditionalGeneration", [&](const Repository& repository) {
                        return std::make_unique<Blip2Captioner>(repository, machine.device, machine.dtype);
                      }});
  backends.push_back({"IdeficsForVisionText2Text", [&](const Repository& repository) {
                        return std::make_unique<IdeficsCaptioner>(repository, machine.device, machine.dtype);
                      }});
  for (const char* name : {"SmolVLMForConditionalGeneration", "Idefics3ForConditionalGeneration"}) {
    backends.push_back({name, [&](const Repository& repository) {
                          return std::make_unique<SmolVlmCaptioner>(repository, machine.device, machine.dtype);
                        }});
  }
  return checkpoint::open_backend<Captioner>("captioner", backends, spec);
}

}  // namespace readback::caption
