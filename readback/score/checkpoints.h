// The checkpoints that metrics read.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <tuple>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/options.h"
#include "readback/score/embedder.h"
#include "readback/score/registry.h"
#include "readback/wire/options.h"

namespace readback::score {

struct MetricCheckpoints {  // empty: not given
  std::string clip = "emoji-scenes/clip";
  std::string dino;
  int64_t dino_size = 0;
  std::string inception, sbert, vectors;
  std::string judge_captioner, judge_generator;

  static constexpr auto options() {
    using O = MetricCheckpoints;
    return std::tuple(
        option(&O::clip, "clip", "CLIP repository, such as openai/clip-vit-base-patch32", Scope::kExecution),
        option(&O::dino, "dino", "DINO repository, such as facebook/dino-vitb8", Scope::kExecution),
        option(&O::dino_size, "dino_size", "Pixels of a side that DINO sees (384 in the paper); 0: the repository's",
               at_least(0), Scope::kExecution),
        option(&O::inception, "inception", "Inception-v3 weights in torch-fidelity's layout: a .pth file or repository",
               Scope::kExecution),
        option(&O::sbert, "sbert", "Repository of a sentence encoder, such as sentence-transformers/all-MiniLM-L6-v2",
               Scope::kExecution),
        option(&O::vectors, "vectors", "Word vectors in GloVe's text format", Scope::kExecution),
        option(&O::judge_captioner, "judge_captioner",
               "Captioner that text-probability and vqascore ask; a run's own if left away", Scope::kExecution),
        option(&O::judge_generator, "judge_generator", "Generator that denoising-error asks; a run's own if left away",
               Scope::kExecution));
  }
};

// With what "hub:…" names pulled, and named as the folder in which it is (wire/hub.h). Errors: NetworkError,
// StoreError.
MetricCheckpoints pulled(MetricCheckpoints checkpoints, const wire::WireOptions& wire, const Context& context);

std::set<std::string> given(const MetricCheckpoints& checkpoints);  // names of options: {"clip", …}

// By name: {"clip": …, …}. Errors: CheckpointError for what is not there, and
// for a folder that holds no model.
nlohmann::json digests(const MetricCheckpoints& checkpoints);

// `wire`: how judges elsewhere are asked. Each checkpoint is loaded when a metric asks for it; its errors come then.
// The corpus is left empty.
MetricContext open_checkpoints(const MetricCheckpoints& checkpoints, const Machine& machine,
                               EmbeddingCache::Originals originals, const wire::WireOptions& wire = {});

}  // namespace readback::score
