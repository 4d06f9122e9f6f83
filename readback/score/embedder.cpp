#include "readback/score/embedder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "readback/base/halving.h"
#include "readback/base/random.h"

namespace readback::score {

namespace {

uint64_t content_key(const image::Image* image) {
  const std::string_view bytes(reinterpret_cast<const char*>(image->pixels.data()), image->pixels.size());
  return fnv1a(bytes) ^ static_cast<uint64_t>(image->width) << 32 ^ static_cast<uint64_t>(image->height);
}

uint64_t content_key(const std::string& text) { return fnv1a(text); }

template <typename Item, typename Embed>
Embeds in_batches(std::span<const Item> items, int64_t batch_size, const Embed& embed) {
  if (items.empty()) return embed(items);
  std::vector<at::Tensor> projected, pooled;
  in_parts_that_fit(std::ssize(items), batch_size, [&](int64_t begin, int64_t end) {
    const Embeds batch = embed(items.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    projected.push_back(batch.projected);
    pooled.push_back(batch.pooled);
  });
  return {at::cat(projected), at::cat(pooled)};
}

}  // namespace

Embeds ImageTextEmbedder::embed_images(std::span<const image::Image* const> images) {
  return in_batches(images, batch_size(), [&](auto batch) { return embed_image_batch(batch); });
}

Embeds ImageTextEmbedder::embed_texts(std::span<const std::string> texts) {
  return in_batches(texts, batch_size(), [&](auto batch) { return embed_text_batch(batch); });
}

EmbeddingCache::EmbeddingCache(std::shared_ptr<ImageTextEmbedder> embedder, Originals originals)
    : embedder_(std::move(embedder)), originals_(originals) {}

template <typename Item, typename Embed>
Embeds EmbeddingCache::lookup_originals(std::span<const Item> items, std::unordered_map<uint64_t, Embeds>& known,
                                        const Embed& embed) {
  std::vector<Item> fresh;
  std::vector<uint64_t> fresh_keys;
  for (const Item& item : items) {
    const uint64_t key = content_key(item);
    if (known.contains(key) || std::find(fresh_keys.begin(), fresh_keys.end(), key) != fresh_keys.end()) continue;
    fresh.push_back(item);
    fresh_keys.push_back(key);
  }
  const size_t step = originals_ == Originals::kTogether ? std::max<size_t>(fresh.size(), 1) : 1;
  for (size_t begin = 0; begin < fresh.size(); begin += step) {
    const Embeds embeds = embed(std::span<const Item>(fresh).subspan(begin, step));
    for (size_t i = 0; i < step; ++i) {
      const auto row = static_cast<int64_t>(i);
      known[fresh_keys[begin + i]] = {embeds.projected.narrow(0, row, 1), embeds.pooled.narrow(0, row, 1)};
    }
  }
  std::vector<at::Tensor> projected, pooled;
  for (const Item& item : items) {
    const Embeds& row = known.at(content_key(item));
    projected.push_back(row.projected);
    pooled.push_back(row.pooled);
  }
  return {at::cat(projected), at::cat(pooled)};
}

template <typename Item, typename Embed>
Embeds EmbeddingCache::lookup_batch(std::span<const Item> items, Batch& latest, const Embed& embed) {
  std::vector<uint64_t> keys;
  std::vector<Item> distinct;
  std::vector<int64_t> rows;
  for (const Item& item : items) {
    const uint64_t key = content_key(item);
    const auto found = std::find(keys.begin(), keys.end(), key);
    rows.push_back(found - keys.begin());
    if (found != keys.end()) continue;
    keys.push_back(key);
    distinct.push_back(item);
  }
  if (keys != latest.keys) latest = {std::move(keys), embed(std::span<const Item>(distinct))};
  const at::Tensor index = at::tensor(rows, at::kLong);
  return {latest.embeds.projected.index_select(0, index), latest.embeds.pooled.index_select(0, index)};
}

Embeds EmbeddingCache::original_images(std::span<const image::Image* const> images) {
  return lookup_originals(images, images_, [&](auto one) { return embedder_->embed_images(one); });
}

Embeds EmbeddingCache::original_texts(std::span<const std::string> texts) {
  return lookup_originals(texts, texts_, [&](auto one) { return embedder_->embed_texts(one); });
}

Embeds EmbeddingCache::candidate_images(std::span<const image::Image* const> images) {
  return lookup_batch(images, candidate_images_, [&](auto batch) { return embedder_->embed_images(batch); });
}

Embeds EmbeddingCache::candidate_texts(std::span<const std::string> texts) {
  return lookup_batch(texts, candidate_texts_, [&](auto batch) { return embedder_->embed_texts(batch); });
}

}  // namespace readback::score
