// Models by repository, and the flags that say how they decode and sample.
#pragma once
#include <memory>

#include "common.h"
#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"
#include "readback/score/embedder.h"

namespace readback::cli {

std::unique_ptr<caption::Captioner> load_captioner(const std::string& repository, const Machine& machine);
std::unique_ptr<generate::Generator> load_generator(const std::string& repository, const Machine& machine);
std::shared_ptr<score::ImageTextEmbedder> load_embedder(const std::string& repository, const Machine& machine);

void add_decoding_flags(CLI::App& verb, caption::DecodingOptions& options);
void add_generation_flags(CLI::App& verb, generate::GenerationOptions& options);

}  // namespace readback::cli
