#include "readback/roundtrip/set_curves.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "readback/roundtrip/curves.h"
#include "readback/score/image/frechet.h"

namespace readback::roundtrip {

namespace {

// The features of one picture of the run folder after the other, each read once.
class PictureFeatures {
 public:
  PictureFeatures(const Store& store, score::EmbeddingCache& embedder, const Context& context)
      : store_(store), embedder_(embedder), context_(context) {}

  // [paths, D]
  at::Tensor of(std::span<const std::string> paths) {
    constexpr size_t kBatch = 32;
    std::vector<at::Tensor> parts;
    for (size_t begin = 0; begin < paths.size(); begin += kBatch) {
      context_.check();
      std::vector<image::Image> images;
      for (const std::string& path : paths.subspan(begin, std::min(kBatch, paths.size() - begin))) {
        images.push_back(store_.load_image(path));
      }
      std::vector<const image::Image*> pointers;
      for (const image::Image& image : images) pointers.push_back(&image);
      parts.push_back(embedder_.candidate_images(pointers).pooled);
    }
    return at::cat(parts);
  }

 private:
  const Store& store_;
  score::EmbeddingCache& embedder_;
  Context context_;
};

// Samples of which every picture is there: their candidates' pictures, then the original.
using Paths = std::map<std::string, std::vector<std::string>>;

Paths picture_paths(const Store& store) {
  Paths paths;
  for (const CandidateRow& row : store.candidates(Direction::kT2I2T)) {
    if (row.complete() && store.has_image(*row.image)) paths[row.key.sample].push_back(*row.image);
  }
  for (const SampleRow& sample : store.samples()) {
    if (!sample.image.empty() && store.has_image(sample.image)) paths[sample.id].push_back(sample.image);
  }
  std::erase_if(paths, [&](const auto& entry) {
    return static_cast<int64_t>(entry.second.size()) != store.num_candidates() + 1;
  });
  return paths;
}

struct Pictures {
  std::map<std::string, int64_t> rows;  // by sample: its place in the tensors
  at::Tensor originals;                 // [S, D]
  at::Tensor candidates;                // [S, K, D]
};

Pictures read_pictures(const Store& store, const Paths& paths, score::EmbeddingCache& embedder,
                       const Context& context) {
  Pictures pictures;
  PictureFeatures features(store, embedder, context);
  std::vector<at::Tensor> originals, candidates;
  context.progress().begin("features for FID", static_cast<int64_t>(paths.size()));
  for (const auto& [sample, files] : paths) {
    const at::Tensor rows = features.of(files);
    pictures.rows[sample] = static_cast<int64_t>(originals.size());
    candidates.push_back(rows.narrow(0, 0, store.num_candidates()));
    originals.push_back(rows[store.num_candidates()]);
    context.progress().advance(1);
  }
  context.progress().end();
  pictures.originals = at::stack(originals);
  pictures.candidates = at::stack(candidates);
  return pictures;
}

}  // namespace

void measure_sets(Store& store, score::EmbeddingCache& features, const Context& context) {
  const std::vector<Direction> directions = store.directions();
  if (std::ranges::find(directions, Direction::kT2I2T) == directions.end()) return;

  const std::string checkpoint = features.embedder().name();
  const std::vector<SetCurve> curves = store.set_curves();
  Paths paths = picture_paths(store);
  std::map<std::string, std::vector<Ranking>> wanted;  // by distance
  std::set<std::string> samples;                       // that these rank
  for (const score::MetricInfo& metric : store.metrics()) {
    if (role(Direction::kT2I2T, metric.inputs) != Role::kDistance) continue;
    std::vector<Ranking> ranked = rankings(store, Direction::kT2I2T, metric.name);
    std::erase_if(ranked, [&](const Ranking& ranking) { return !paths.contains(ranking.sample); });
    if (ranked.size() < 2) continue;  // a covariance takes two
    const bool known = std::ranges::any_of(curves, [&](const SetCurve& curve) {
      return curve.distance == metric.name && curve.checkpoint == checkpoint &&
             curve.samples == static_cast<int64_t>(ranked.size());
    });
    if (known) continue;
    for (const Ranking& ranking : ranked) samples.insert(ranking.sample);
    wanted.emplace(metric.name, std::move(ranked));
  }
  if (wanted.empty()) return;

  std::erase_if(paths, [&](const auto& entry) { return !samples.contains(entry.first); });
  const Pictures pictures = read_pictures(store, paths, features, context);
  context.progress().begin("FID", static_cast<int64_t>(wanted.size()));
  for (const auto& [distance, ranked] : wanted) {
    context.check();
    SetCurve curve{Direction::kT2I2T, distance, checkpoint, {}, static_cast<int64_t>(ranked.size())};
    std::vector<int64_t> rows;
    for (const Ranking& ranking : ranked) rows.push_back(pictures.rows.at(ranking.sample));
    const at::Tensor places = at::tensor(rows, at::kLong);
    const at::Tensor originals = pictures.originals.index_select(0, places);
    for (int64_t rank = 0; rank < store.num_candidates(); ++rank) {
      std::vector<int64_t> chosen;
      for (const Ranking& ranking : ranked) chosen.push_back(ranking.candidates[static_cast<size_t>(rank)]);
      const at::Tensor set = pictures.candidates.index({places, at::tensor(chosen, at::kLong)});
      curve.ranks.push_back(score::frechet_distance(set, originals));
    }
    store.put_set_curve(curve);
    context.progress().advance(1);
  }
  context.progress().end();
}

}  // namespace readback::roundtrip
