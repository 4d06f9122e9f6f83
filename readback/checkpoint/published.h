// Configurations of published models whose weights also go round without them, in one file. They are those of
// stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1, stabilityai/stable-diffusion-xl-base-1.0,
// Salesforce/blip-image-captioning-base and -large.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace readback::checkpoint {

using Configurations = std::map<std::string, nlohmann::json>;  // by file: "unet/config.json"

Configurations stable_diffusion_1();
Configurations stable_diffusion_2();  // 2.1 for 768 pixels, which predicts velocities
Configurations stable_diffusion_xl();
Configurations blip(bool large, int64_t image_size);

}  // namespace readback::checkpoint
