// Images and texts to vectors, with every original embedded once.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "readback/image/image.h"

namespace readback::score {

// B × D, fp32, on the CPU, not normalised. The two definitions of "the embedding": the paper's code takes `pooled`,
// most other work `projected`.
struct Embeds {
  at::Tensor projected;  // image_embeds / text_embeds: after the projection
  at::Tensor pooled;     // pooler_output: before it
};

// What a metric needs of CLIP (and what CLIP-like models can offer).
//
// No two calls at once: an embedder counts as it goes. A model computes on all cores by itself, so that several threads
// would gain nothing; those that share an embedder take turns.
class ImageTextEmbedder {
 public:
  virtual ~ImageTextEmbedder() = default;
  // One row per image or text. They are computed in batches, in smaller ones where a device's memory is full
  // (base/halving.h), which changes last bits only. Errors: DataError; UsageError for what the model does not read;
  // OutOfMemory when there is no room for a single one; EngineError.
  Embeds embed_images(std::span<const image::Image* const> images);
  Embeds embed_texts(std::span<const std::string> texts);
  virtual std::string name() const = 0;            // the repository: what tables print as the checkpoint
  virtual int64_t truncated() const { return 0; }  // tokens of texts so far that did not fit the model

 protected:
  // A batch: at most batch_size() of them; none only where none were asked for. After OutOfMemory it is asked for again
  // in parts, so what throws has counted nothing.
  virtual Embeds embed_image_batch(std::span<const image::Image* const> images) = 0;
  virtual Embeds embed_text_batch(std::span<const std::string> texts) = 0;
  // Of embedders that do not cut batches themselves.
  virtual int64_t batch_size() const { return std::numeric_limits<int64_t>::max(); }
};

// Embeddings by content, shared by all metrics of one model.
//
// Results do not depend on what was asked before, to the last bit, so that a resumed run stores what an undisturbed
// one does: an original is embedded by itself and kept; the distinct candidates of one call are embedded as one batch,
// and only the latest batch is kept (the next metric asks for the same one).
//
// No two calls at once, nor calls of two caches of one embedder: they fill what is kept.
class EmbeddingCache {
 public:
  enum class Originals {
    kOneByOne,
    kTogether,  // the new ones of a call as one batch: faster, and the last bits depend on what was asked before
  };
  explicit EmbeddingCache(std::shared_ptr<ImageTextEmbedder> embedder, Originals originals = Originals::kOneByOne);

  // One row per argument, repeated where the content repeats.
  Embeds original_images(std::span<const image::Image* const> images);
  Embeds original_texts(std::span<const std::string> texts);
  Embeds candidate_images(std::span<const image::Image* const> images);
  Embeds candidate_texts(std::span<const std::string> texts);

  const ImageTextEmbedder& embedder() const { return *embedder_; }

 private:
  struct Batch {
    std::vector<uint64_t> keys;
    Embeds embeds;
  };
  template <typename Item, typename Embed>
  Embeds lookup_originals(std::span<const Item> items, std::unordered_map<uint64_t, Embeds>& known, const Embed& embed);
  template <typename Item, typename Embed>
  Embeds lookup_batch(std::span<const Item> items, Batch& latest, const Embed& embed);

  std::shared_ptr<ImageTextEmbedder> embedder_;
  Originals originals_;
  std::unordered_map<uint64_t, Embeds> images_, texts_;  // originals, by content
  Batch candidate_images_, candidate_texts_;
};

}  // namespace readback::score
