#include "readback/score/checkpoints.h"

#include <nlohmann/json.hpp>

#include "readback/caption/open.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/checkpoint/repository.h"
#include "readback/generate/open.h"
#include "readback/score/clip_embedder.h"
#include "readback/score/dino_embedder.h"
#include "readback/score/inception_embedder.h"
#include "readback/score/open_embedder.h"
#include "readback/score/sentence_embedder.h"
#include "readback/wire/hub.h"

namespace readback::score {

std::set<std::string> given(const MetricCheckpoints& checkpoints) {
  std::set<std::string> names;
  for_each_field(checkpoints, [&](const auto& field, const auto& value) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::string>) {
      if (!value.empty()) names.insert(field.name);
    }
  });
  return names;
}

namespace {

// What is no model shows here, before hours of work that it would measure.
std::string repository_digest(const std::string& name) {
  if (!checkpoint::scheme(name).empty()) return name;  // a judge elsewhere
  const checkpoint::Repository repository(name);
  static_cast<void>(repository.json());
  return repository.digest();
}

}  // namespace

MetricCheckpoints pulled(MetricCheckpoints checkpoints, const wire::WireOptions& wire, const Context& context) {
  for (std::string* spec : {&checkpoints.clip, &checkpoints.dino, &checkpoints.inception, &checkpoints.sbert,
                            &checkpoints.judge_captioner, &checkpoints.judge_generator}) {
    *spec = wire::pulled(*spec, wire, context);
  }
  return checkpoints;
}

nlohmann::json digests(const MetricCheckpoints& checkpoints) {
  nlohmann::json digests = nlohmann::json::object();
  if (!checkpoints.clip.empty()) digests["clip"] = repository_digest(checkpoints.clip);
  if (!checkpoints.dino.empty()) digests["dino"] = repository_digest(checkpoints.dino);
  if (checkpoints.dino_size > 0) digests["dino size"] = checkpoints.dino_size;
  if (!checkpoints.inception.empty()) digests["inception"] = InceptionEmbedder::digest(checkpoints.inception);
  if (!checkpoints.sbert.empty()) digests["sbert"] = repository_digest(checkpoints.sbert);
  if (!checkpoints.judge_captioner.empty()) digests["judge captioner"] = repository_digest(checkpoints.judge_captioner);
  if (!checkpoints.judge_generator.empty()) {
    digests["judge generator"] = checkpoint::scheme(checkpoints.judge_generator).empty()
                                     ? checkpoint::Repository(checkpoints.judge_generator).digest()
                                     : checkpoints.judge_generator;
  }
  if (!checkpoints.vectors.empty()) digests["vectors"] = WordVectors::digest(checkpoints.vectors);
  return digests;
}

MetricContext open_checkpoints(const MetricCheckpoints& checkpoints, const Machine& machine,
                               EmbeddingCache::Originals originals, const wire::WireOptions& wire) {
  const auto lazily = [&](EmbedderRole role, const std::string& spec, int64_t side = 0) {
    if (spec.empty()) return Lazy<EmbeddingCache>();
    return Lazy<EmbeddingCache>(
        [=] { return std::make_shared<EmbeddingCache>(open_embedder(role, spec, machine, side), originals); });
  };
  MetricContext context;
  context.clip = lazily(EmbedderRole::kClip, checkpoints.clip);
  context.dino = lazily(EmbedderRole::kDino, checkpoints.dino, checkpoints.dino_size);
  context.inception = lazily(EmbedderRole::kInception, checkpoints.inception);
  context.sbert = lazily(EmbedderRole::kSbert, checkpoints.sbert);
  if (!checkpoints.judge_captioner.empty()) {
    context.judge_captioner = Lazy<caption::Captioner>(
        [=] { return std::shared_ptr<caption::Captioner>(caption::open(checkpoints.judge_captioner, machine, wire)); });
  }
  if (!checkpoints.judge_generator.empty()) {
    context.judge_generator = Lazy<generate::Generator>([=] {
      return std::shared_ptr<generate::Generator>(generate::open(checkpoints.judge_generator, machine, wire));
    });
  }
  if (!checkpoints.vectors.empty()) {
    context.vectors =
        Lazy<const WordVectors>([path = checkpoints.vectors] { return std::make_shared<const WordVectors>(path); });
  }
  return context;
}

}  // namespace readback::score
