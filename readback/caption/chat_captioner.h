// Captioners that a server offers: the chat protocol that llama-server, vLLM, Ollama, LocalAI, `transformers serve` and
// OpenAI speak (POST …/chat/completions with pictures as data URIs).
#pragma once
#include <cstdint>
#include <string>

#include "readback/caption/captioner.h"
#include "readback/wire/json_endpoint.h"

namespace readback::caption {

// Options are sent by the names that servers have for them: max_tokens, temperature (0 when searching), top_p, top_k,
// repetition_penalty, seed, n; and num_beams, length_penalty and min_tokens, which are no part of the protocol. What a
// server refuses it is asked without, and the context's progress is warned. Lengths are those of what is written
// (max_new_tokens). Examples are messages before the picture's.
class ChatCaptioner : public Captioner {
 public:
  // Asks the server two small questions, which tell what it knows; their answers are kept. `asks` false: nothing is
  // asked, nothing is promised, and caption() must not be called. Errors: UsageError, NetworkError.
  ChatCaptioner(const std::string& spec, const wire::WireOptions& options, bool asks = true);

  std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests, const DecodingOptions& options,
                                                    const Context& context) override;

  // The share of the answer among the first token's alternatives (top_logprobs), whatever its case and blanks.
  std::vector<Result<double>> answer_probabilities(std::span<const image::Image* const> images,
                                                   std::span<const std::string> questions, const std::string& answer,
                                                   const Context& context) override;

  std::string description() const override;
  std::string identity() const override { return endpoint_.client().endpoint().spec(); }
  Capabilities capabilities() const override { return can_; }
  DecodingOptions defaults() const override;
  std::string estimate(int64_t images, int64_t captions) const override;
  std::string account() const override { return endpoint_.client().sentence(); }

 private:
  struct Want;
  wire::Question question(const Want& want, const DecodingOptions& options) const;
  void ask_what_it_knows();

  wire::JsonEndpoint endpoint_;
  wire::WireOptions options_;
  Capabilities can_;
  bool knows_n_ = false;  // several captions by one request
};

}  // namespace readback::caption
