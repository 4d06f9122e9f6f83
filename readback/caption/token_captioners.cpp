#include "readback/caption/token_captioners.h"

#include "readback/base/error.h"
#include "readback/caption/blip2_captioner.h"
#include "readback/caption/blip_captioner.h"
#include "readback/caption/idefics_captioner.h"
#include "readback/caption/smolvlm_captioner.h"
#include "readback/checkpoint/open_backend.h"

namespace readback::caption {

namespace {

template <typename Backend>
std::unique_ptr<TokenCaptioner> make(const checkpoint::Repository& repository, const nn::Weights& weights,
                                     std::string identity) {
  return std::make_unique<Backend>(repository, weights, std::move(identity));
}

}  // namespace

const std::vector<TokenBackend>& token_backends() {
  static const std::vector<TokenBackend> backends = {
      {"BlipForConditionalGeneration", make<BlipCaptioner>},
      {"Blip2ForConditionalGeneration", make<Blip2Captioner>},
      {"IdeficsForVisionText2Text", make<IdeficsCaptioner>},
      {"SmolVLMForConditionalGeneration", make<SmolVlmCaptioner>},
      {"Idefics3ForConditionalGeneration", make<SmolVlmCaptioner>},  // SmolVLM's first release
  };
  return backends;
}

const TokenBackend& token_backend(const checkpoint::Repository& repository) {
  const std::string found = checkpoint::architecture(repository).class_name;
  std::string known;
  for (const TokenBackend& backend : token_backends()) {
    if (found == backend.class_name) return backend;
    known += (known.empty() ? "" : ", ") + std::string(backend.class_name);
  }
  throw CheckpointError(describe(repository.path().string(), "a captioner: " + known, found));
}

}  // namespace readback::caption
