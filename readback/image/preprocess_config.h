// What the readers of preprocessor_config.json share. Private to image/.
#pragma once
#include <string>

#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"

namespace readback::image {

// `subfolder`'s preprocessor_config.json, or the "image_processor" of processor_config.json, where transformers 5 puts
// it. Errors: CheckpointError.
checkpoint::ConfigReader preprocessor_config(const checkpoint::Repository& repository,
                                             const std::string& subfolder = "");
// "CLIP" of CLIPImageProcessor, CLIPFeatureExtractor, CLIPImageProcessorFast; empty when it says nothing.
std::string processor_type(checkpoint::ConfigReader& reader);
int64_t require_side(checkpoint::ConfigReader& reader, const std::string& key);
Filter read_filter(checkpoint::ConfigReader& reader, Filter fallback);
// Rescaling and normalisation.
void read_pixels(checkpoint::ConfigReader& reader, PreprocessOptions& options);
void finish_preprocessor(checkpoint::ConfigReader& reader);

}  // namespace readback::image
