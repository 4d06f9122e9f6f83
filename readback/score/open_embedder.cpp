#include "readback/score/open_embedder.h"

#include "readback/checkpoint/open_backend.h"
#include "readback/score/clip_embedder.h"
#include "readback/score/dino_embedder.h"
#include "readback/score/inception_embedder.h"
#include "readback/score/sentence_embedder.h"

namespace readback::score {

std::unique_ptr<ImageTextEmbedder> open_embedder(EmbedderRole role, const std::string& spec, const Machine& machine,
                                                 int64_t side) {
  using checkpoint::Repository;
  const auto open = [&](const char* name, const checkpoint::Backend<ImageTextEmbedder>& backend) {
    return checkpoint::open_backend<ImageTextEmbedder>(name, {backend}, spec, machine);
  };
  switch (role) {
    case EmbedderRole::kClip:
      return open("CLIP model", {"clip", [&](const Repository& repository) {
                                   return std::make_unique<ClipEmbedder>(repository, machine.device, machine.dtype);
                                 }});
    case EmbedderRole::kDino:
      return open("DINO model", {"vit", [&](const Repository& repository) {
                                   DinoOptions options;
                                   if (side > 0) options.side = side;
                                   return std::make_unique<DinoEmbedder>(repository, machine.device, machine.dtype,
                                                                         options);
                                 }});
    case EmbedderRole::kSbert:
      return open("sentence encoder", {"bert", [&](const Repository& repository) {
                                         return std::make_unique<SentenceEmbedder>(repository, machine.device,
                                                                                   machine.dtype);
                                       }});
    case EmbedderRole::kInception:
      break;
  }
  return std::make_unique<InceptionEmbedder>(spec, machine.device);
}

}  // namespace readback::score
