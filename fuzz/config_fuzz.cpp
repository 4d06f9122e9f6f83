// Any JSON as the configuration of any model: it is read, or a CheckpointError.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/config_reader.h"
#include "readback/generate/noise_schedule.h"
#include "readback/generate/scheduler.h"
#include "readback/generate/schedulers/unclip.h"
#include "readback/image/preprocess.h"
#include "readback/models/bert/bert.h"
#include "readback/models/blip/blip.h"
#include "readback/models/blip2/blip2.h"
#include "readback/models/clip/clip.h"
#include "readback/models/dino/dino.h"
#include "readback/models/idefics/idefics.h"
#include "readback/models/karlo/prior.h"
#include "readback/models/karlo/text_projection.h"
#include "readback/models/karlo/unet.h"
#include "readback/models/smolvlm/smolvlm.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"

using namespace readback;

namespace {

template <typename Read>
void attempt(const nlohmann::json& config, const Read& read) {
  try {
    read(checkpoint::ConfigReader(config, "fuzz"));
  } catch (const CheckpointError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const nlohmann::json config = nlohmann::json::parse(data, data + size, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded()) return 0;
  attempt(config, models::BertConfig::read);
  attempt(config, models::BlipConfig::read);
  attempt(config, models::Blip2Config::read);
  attempt(config, models::ClipConfig::read);
  attempt(config, models::ClipTextConfig::read);
  attempt(config, models::ClipVisionConfig::read);
  attempt(config, models::DinoConfig::read);
  attempt(config, models::IdeficsConfig::read);
  attempt(config, models::KarloDecoderConfig::read);
  attempt(config, models::KarloSuperResolutionConfig::read);
  attempt(config, models::PriorConfig::read);
  attempt(config, models::SmolVlmConfig::read);
  attempt(config, models::TextProjectionConfig::read);
  attempt(config, models::UnetConfig::read);
  attempt(config, models::VaeConfig::read);
  attempt(config, [](checkpoint::ConfigReader reader) { image::read_preprocess_options(std::move(reader)); });
  attempt(config, generate::UnclipSchedule::read);
  try {
    generate::NoiseSchedule::from_config(config);
  } catch (const CheckpointError&) {
  }
  const std::vector<std::string>& schedulers = generate::scheduler_names();
  try {
    generate::make_scheduler(schedulers[size % schedulers.size()], config, 4);
  } catch (const CheckpointError&) {
  } catch (const UsageError&) {
  }
  return 0;
}
