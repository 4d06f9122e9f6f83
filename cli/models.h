// Models by repository, and the flags that say how they decode and sample.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "common.h"
#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"
#include "readback/score/embedder.h"
#include "readback/score/registry.h"

namespace readback::cli {

std::unique_ptr<caption::Captioner> load_captioner(const std::string& repository, const Machine& machine);
std::unique_ptr<generate::Generator> load_generator(const std::string& repository, const Machine& machine);
std::shared_ptr<score::ImageTextEmbedder> load_embedder(const std::string& repository, const Machine& machine);

// The checkpoints that metrics read: --clip, --dino, --dino-size, --inception, --sbert, --vectors. Empty: not given.
struct MetricFlags {
  std::string clip, dino, inception, sbert, vectors;
  int64_t dino_size = 0;        // pixels; 0: as the repository says
  void add_to(CLI::App& verb);  // all of them
  void add_clip(CLI::App& verb);
  void add_dino(CLI::App& verb);
  void add_inception(CLI::App& verb);
  void add_sbert(CLI::App& verb);
  void add_vectors(CLI::App& verb);
  std::set<std::string> given() const;  // by flag: {"--clip", …}
  // By name: {"clip": …, …}. Errors: CheckpointError for what is not there.
  nlohmann::json digests() const;
  // Each checkpoint is loaded when a metric asks for it; its errors come then.
  score::MetricContext context(const Machine& machine, score::EmbeddingCache::Originals originals) const;
};

void add_decoding_flags(CLI::App& verb, caption::DecodingOptions& options);
void add_generation_flags(CLI::App& verb, generate::GenerationOptions& options);

}  // namespace readback::cli
