#include "readback/models/blip2/blip2.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

using nn::Init;
using nn::Linear;

namespace {

BlipVisionConfig read_vision(checkpoint::ConfigReader config) {
  BlipVisionConfig c;
  c.hidden_size = 1408;
  c.intermediate_size = 6144;
  c.num_hidden_layers = 39;
  c.num_attention_heads = 16;
  c.hidden_act = "gelu";
  c.layer_norm_eps = 1e-6;
  c.image_size = 224;
  c.patch_size = 14;
  c.read_sizes(config);
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  config.expect("qkv_bias", {true});
  config.expect("num_channels", {3});
  config.ignore({"attention_dropout", "dropout", "initializer_factor", "initializer_range", "projection_dim"});
  config.finish();
  return c;
}

TransformerSizes read_qformer(checkpoint::ConfigReader config, Blip2Config& blip2) {
  TransformerSizes c{.layer_norm_eps = 1e-12};
  c.read_sizes(config);
  blip2.cross_attention_frequency = config.get("cross_attention_frequency", blip2.cross_attention_frequency);
  expect_positive(config, "cross_attention_frequency", blip2.cross_attention_frequency);
  config.expect("use_qformer_text_input", {false});
  config.expect("position_embedding_type", {"absolute"});
  config.ignore({"attention_probs_dropout_prob", "classifier_dropout", "encoder_hidden_size", "hidden_dropout_prob",
                 "initializer_range", "max_position_embeddings", "vocab_size"});
  config.finish();
  return c;
}

}  // namespace

int64_t Blip2Config::text_width() const {
  const auto* const opt = std::get_if<OptConfig>(&text);
  return opt ? opt->hidden_size : std::get<T5Config>(text).d_model;
}

Blip2Config Blip2Config::read(checkpoint::ConfigReader config) {
  Blip2Config c;
  c.vision = read_vision(config.section("vision_config"));
  c.qformer = read_qformer(config.section("qformer_config"), c);
  checkpoint::ConfigReader text = config.section("text_config");
  const auto type = text.get<std::string>("model_type", "opt");
  if (type == "opt") {
    c.text = OptConfig::read(std::move(text));
  } else if (type == "t5") {
    c.text = T5Config::read(std::move(text));
  } else {
    throw CheckpointError(describe(text.where() + ": model_type", "opt or t5", type));
  }
  c.num_query_tokens = config.get("num_query_tokens", c.num_query_tokens);
  if (config.has("image_token_index")) c.image_token_index = config.require<int64_t>("image_token_index");
  config.ignore({"image_text_hidden_size", "image_token_index", "initializer_factor", "initializer_range",
                 "is_encoder_decoder", "tie_word_embeddings", "use_decoder_only_language_model"});
  config.finish();
  return c;
}

QFormerLayer::Attention::Attention(const nn::Weights& weights, const TransformerSizes& sizes, int64_t source_width)
    : heads(sizes.num_attention_heads),
      query(weights["attention"]["query"], sizes.hidden_size, sizes.hidden_size),
      key(weights["attention"]["key"], source_width, sizes.hidden_size),
      value(weights["attention"]["value"], source_width, sizes.hidden_size),
      output(weights["output"]["dense"], sizes.hidden_size, sizes.hidden_size),
      norm(weights["output"]["LayerNorm"], sizes.hidden_size, sizes.layer_norm_eps) {}

at::Tensor QFormerLayer::Attention::forward(const at::Tensor& x, const at::Tensor& source) const {
  const at::Tensor mixed = nn::attention(nn::split_heads(query(x), heads), nn::split_heads(key(source), heads),
                                         nn::split_heads(value(source), heads));
  return norm(output(mixed) + x);
}

QFormerLayer::QFormerLayer(const nn::Weights& weights, const Blip2Config& config, bool crosses)
    : attention(weights["attention"], config.qformer, config.qformer.hidden_size),
      intermediate(weights["intermediate_query"]["dense"], config.qformer.hidden_size,
                   config.qformer.intermediate_size),
      output(weights["output_query"]["dense"], config.qformer.intermediate_size, config.qformer.hidden_size),
      norm(weights["output_query"]["LayerNorm"], config.qformer.hidden_size, config.qformer.layer_norm_eps),
      act(nn::activation(config.qformer.hidden_act)) {
  if (crosses) crossattention.emplace(weights["crossattention"], config.qformer, config.vision.hidden_size);
}

at::Tensor QFormerLayer::forward(const at::Tensor& queries, const at::Tensor& image_embeds) const {
  at::Tensor x = attention.forward(queries, queries);
  if (crossattention) x = crossattention->forward(x, image_embeds);
  return norm(output(act(intermediate(x))) + x);
}

Blip2::Blip2(const Blip2Config& config, const nn::Weights& weights)
    : config(config),
      vision_model(config.vision, weights["vision_model"]),
      query_tokens(weights.float32_for_float16().get(
          "query_tokens", {1, config.num_query_tokens, config.qformer.hidden_size}, Init::normal(0.02))),
      query_norm(weights["qformer"].float32_for_float16()["layernorm"], config.qformer.hidden_size,
                 config.qformer.layer_norm_eps),
      language_projection(weights["language_projection"], config.qformer.hidden_size, config.text_width()) {
  const nn::Weights layers = weights["qformer"].float32_for_float16()["encoder"]["layer"];
  for (int64_t i = 0; i < config.qformer.num_hidden_layers; ++i) {
    qformer.emplace_back(layers[i], config, i % config.cross_attention_frequency == 0);
  }
  // Exports of the class for retrieval repeat these.
  weights["qformer"]["embeddings"].ignore("position_ids");
  if (const auto* const text = std::get_if<OptConfig>(&config.text)) {
    opt.emplace(*text, weights["language_model"]);
  } else {
    t5.emplace(std::get<T5Config>(config.text), weights["language_model"]);
  }
}

at::Tensor Blip2::query_states(const at::Tensor& image_embeds) const {
  at::Tensor x = query_norm(query_tokens).expand({image_embeds.size(0), -1, -1});
  const at::Tensor seen = image_embeds.to(x.scalar_type());
  for (const QFormerLayer& layer : qformer) {
    x = nn::checkpointed(
        [&layer](const std::vector<at::Tensor>& inputs) { return layer.forward(inputs[0], inputs[1]); }, {x, seen});
  }
  return x.to(image_embeds.scalar_type());
}

at::Tensor Blip2::read_images(const at::Tensor& pixel_values) const {
  return language_projection(query_states(vision_model.forward(pixel_values)));
}

at::Tensor Blip2::embeddings(const at::Tensor& images, const at::Tensor& ids) const {
  return at::cat({images, opt ? opt->embed_tokens(ids) : t5->shared(ids)}, 1);
}

at::Tensor Blip2::forward(const at::Tensor& pixel_values, const at::Tensor& ids, const at::Tensor& decoder_ids) const {
  const at::Tensor read = embeddings(read_images(pixel_values), ids);
  if (opt) return opt->logits(opt->forward(read, nullptr));
  T5State state = t5->prepare(t5->encode(read), 0);
  return t5->decode(decoder_ids, state, /*cache=*/false);
}

}  // namespace readback::models
