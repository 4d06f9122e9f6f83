// Vectors of texts by a sentence-transformers repository (https://arxiv.org/abs/1908.10084), such as all-MiniLM-L6-v2.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>

#include "readback/checkpoint/repository.h"
#include "readback/models/bert/bert.h"
#include "readback/score/embedder.h"
#include "readback/text/tokenizer.h"

namespace readback::score {

class SentenceEmbedder final : public ImageTextEmbedder {
 public:
  // Reads modules.json, what it names of a BERT, mean or class-token pooling and normalisation, and
  // sentence_bert_config.json's max_seq_length (else the tokenizer's). Repositories of sentence-transformers 2 to 6.
  // Errors: CheckpointError, also for other modules, poolings or architectures.
  SentenceEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  std::string name() const override { return name_; }
  int64_t max_tokens() const { return max_tokens_; }  // [CLS] and [SEP] included
  int64_t truncated() const override { return truncated_; }

 private:
  // `projected`: as SentenceTransformer.encode (normalised where the repository says so); `pooled`: before
  // normalisation. Texts longer than max_tokens() are cut so that [SEP] stays; truncated() counts the tokens lost.
  Embeds embed_text_batch(std::span<const std::string> texts) override;
  Embeds embed_image_batch(std::span<const image::Image* const> images) override;  // Errors: UsageError, always
  at::Tensor pool(const at::Tensor& hidden, const at::Tensor& lengths) const;

  std::string name_;
  c10::Device device_;
  bool mean_pooling_ = true, normalize_ = false, lower_case_ = false;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<models::Bert> bert_;
  int64_t begin_id_ = 0, end_id_ = 0, padding_id_ = 0, max_tokens_ = 0, truncated_ = 0;
};

}  // namespace readback::score
