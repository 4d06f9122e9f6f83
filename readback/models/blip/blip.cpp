#include "readback/models/blip/blip.h"

#include <ATen/ATen.h>

#include <limits>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

using nn::Init;
using nn::Linear;

namespace {

BlipVisionConfig read_vision(checkpoint::ConfigReader config) {
  BlipVisionConfig c;
  c.read_sizes(config);
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  config.expect("num_channels", {3});
  config.ignore({"attention_dropout", "dropout", "initializer_factor", "initializer_range", "projection_dim",
                 "tie_word_embeddings"});
  config.finish();
  return c;
}

BlipTextConfig read_text(checkpoint::ConfigReader config) {
  BlipTextConfig c;
  c.read_sizes(config);
  c.vocab_size = config.get("vocab_size", c.vocab_size);
  c.encoder_hidden_size = config.get("encoder_hidden_size", c.encoder_hidden_size);
  c.max_position_embeddings = config.get("max_position_embeddings", c.max_position_embeddings);
  c.bos_token_id = config.get("bos_token_id", c.bos_token_id);
  c.sep_token_id = config.get("sep_token_id", c.sep_token_id);
  c.pad_token_id = config.get("pad_token_id", c.pad_token_id);
  c.label_smoothing = config.get("label_smoothing", c.label_smoothing);
  config.expect("is_decoder", {true});
  config.expect("tie_word_embeddings", {true});
  // Dropout concerns training only, and BLIP's published configurations have none.
  config.ignore({"attention_probs_dropout_prob", "hidden_dropout_prob", "initializer_factor", "initializer_range",
                 "projection_dim", "eos_token_id", "add_cross_attention", "position_embedding_type"});
  config.finish();
  return c;
}

// [B, P, C] → [B, P', C]. Products of matrices are up to a third slower where rows are not a whole number of blocks, as
// are the 577 of BLIP's 24 × 24 patches and class token. So a few rows of zeros are added that nobody reads.
at::Tensor fill_block(const at::Tensor& x) {
  constexpr int64_t kBlock = 16;
  const int64_t added = (kBlock - x.size(1) % kBlock) % kBlock;
  return added > 0 && added * kBlock <= x.size(1) ? at::constant_pad_nd(x, {0, 0, 0, added}) : x;
}

}  // namespace

BlipConfig BlipConfig::read(checkpoint::ConfigReader config) {
  BlipConfig c;
  c.vision = read_vision(config.section("vision_config"));
  c.text = read_text(config.section("text_config"));
  // As BlipConfig does: the decoder reads what the vision model gives.
  c.text.encoder_hidden_size = c.vision.hidden_size;
  config.expect("tie_word_embeddings", {true});
  config.ignore({"image_text_hidden_size", "initializer_factor", "initializer_range", "label_smoothing",
                 "logit_scale_init_value", "projection_dim", "text_config_dict", "vision_config_dict"});
  config.finish();
  return c;
}

BlipVisionLayer::BlipVisionLayer(const nn::Weights& weights, const BlipVisionConfig& config)
    : heads(config.num_attention_heads),
      layer_norm1(weights["layer_norm1"], config.hidden_size, config.layer_norm_eps),
      layer_norm2(weights["layer_norm2"], config.hidden_size, config.layer_norm_eps),
      qkv(weights["self_attn"]["qkv"], config.hidden_size, 3 * config.hidden_size),
      projection(weights["self_attn"]["projection"], config.hidden_size, config.hidden_size),
      fc1(weights["mlp"]["fc1"], config.hidden_size, config.intermediate_size),
      fc2(weights["mlp"]["fc2"], config.intermediate_size, config.hidden_size),
      act(nn::activation(config.hidden_act)) {}

at::Tensor BlipVisionLayer::forward(at::Tensor x, int64_t patches) const {
  const at::Tensor mixed = qkv(layer_norm1(x))
                               .view({x.size(0), x.size(1), 3, heads, x.size(2) / heads})
                               .permute({2, 0, 3, 1, 4});  // [3, B, heads, P, D]
  x = x + projection(nn::attention(mixed[0], mixed[1].narrow(2, 0, patches), mixed[2].narrow(2, 0, patches)));
  return x + fc2(act(fc1(layer_norm2(x))));
}

BlipVisionModel::BlipVisionModel(const BlipVisionConfig& config, const nn::Weights& weights) : config(config) {
  const nn::Weights embeddings = weights["embeddings"];
  const int64_t side = config.image_size / config.patch_size;
  class_embedding = embeddings.get("class_embedding", {1, 1, config.hidden_size}, Init::normal(0.02));
  position_embedding =
      embeddings.get("position_embedding", {1, side * side + 1, config.hidden_size}, Init::normal(0.02));
  patch_embedding =
      nn::Conv2d(embeddings["patch_embedding"], 3, config.hidden_size, config.patch_size, config.patch_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(weights["encoder"]["layers"][i], config);
  post_layernorm = nn::LayerNorm(weights["post_layernorm"], config.hidden_size, config.layer_norm_eps);
}

at::Tensor BlipVisionModel::forward(const at::Tensor& pixel_values) const {
  if (pixel_values.size(2) != config.image_size || pixel_values.size(3) != config.image_size) {
    throw UsageError(describe("BLIP vision", std::to_string(config.image_size) + " pixels square",
                              std::to_string(pixel_values.size(3)) + " × " + std::to_string(pixel_values.size(2))));
  }
  const at::Tensor patches = patch_embedding(pixel_values.to(class_embedding.scalar_type()))  // [B, C, h, w]
                                 .flatten(2)
                                 .transpose(1, 2);  // [B, h·w, C]
  at::Tensor x = at::cat({class_embedding.expand({patches.size(0), 1, -1}), patches}, 1) + position_embedding;
  const int64_t count = x.size(1);
  x = fill_block(x);
  for (const BlipVisionLayer& layer : layers) {
    x = nn::checkpointed([&layer, count](const auto& inputs) { return layer.forward(inputs[0], count); }, {x});
  }
  return post_layernorm(x.narrow(1, 0, count));
}

BlipTextLayer::Attention::Attention(const nn::Weights& weights, const BlipTextConfig& config, int64_t source_width)
    : query(weights["self"]["query"], config.hidden_size, config.hidden_size),
      key(weights["self"]["key"], source_width, config.hidden_size),
      value(weights["self"]["value"], source_width, config.hidden_size),
      output(weights["output"]["dense"], config.hidden_size, config.hidden_size),
      norm(weights["output"]["LayerNorm"], config.hidden_size, config.layer_norm_eps) {}

BlipTextLayer::BlipTextLayer(const nn::Weights& weights, const BlipTextConfig& config)
    : heads(config.num_attention_heads),
      attention(weights["attention"], config, config.hidden_size),
      crossattention(weights["crossattention"], config, config.encoder_hidden_size),
      intermediate(weights["intermediate"]["dense"], config.hidden_size, config.intermediate_size),
      output(weights["output"]["dense"], config.intermediate_size, config.hidden_size),
      norm(weights["output"]["LayerNorm"], config.hidden_size, config.layer_norm_eps),
      act(nn::activation(config.hidden_act)) {}

at::Tensor BlipTextLayer::forward(const at::Tensor& x, BlipLayerState& state, const std::optional<at::Tensor>& mask,
                                  bool cache) const {
  at::Tensor key = nn::split_heads(attention.key(x), heads), value = nn::split_heads(attention.value(x), heads);
  if (state.key.defined()) {
    key = at::cat({state.key, key}, 2);  // [S, heads, T_all, D]
    value = at::cat({state.value, value}, 2);
  }
  if (cache) {
    state.key = key;
    state.value = value;
  }
  // A single new token sees everything; several without a mask are the start of a text and see what precedes them.
  const at::Tensor self_mixed = nn::attention(nn::split_heads(attention.query(x), heads), key, value, mask,
                                              /*causal=*/!mask && x.size(1) > 1);
  at::Tensor h = attention.norm(attention.output(self_mixed) + x);  // [S, T, C]

  // The sequences of one image stand side by side: fold them into the query's length, so that its keys are read once.
  const int64_t images = state.image_key.size(0), per_image = h.size(0) / images;
  const at::Tensor query = crossattention.query(h).view({images, per_image * h.size(1), h.size(2)});
  const at::Tensor cross_mixed = nn::attention(nn::split_heads(query, heads), state.image_key, state.image_value);
  h = crossattention.norm(crossattention.output(cross_mixed.view(h.sizes())) + h);
  return norm(output(act(intermediate(h))) + h);
}

BlipTextDecoder::BlipTextDecoder(const BlipTextConfig& config, const nn::Weights& weights)
    : config(config), act(nn::activation(config.hidden_act)) {
  const nn::Weights embeddings = weights["bert"]["embeddings"];
  embeddings.ignore("position_ids");
  word_embeddings = nn::Embedding(embeddings["word_embeddings"], config.vocab_size, config.hidden_size);
  position_embeddings =
      nn::Embedding(embeddings["position_embeddings"], config.max_position_embeddings, config.hidden_size);
  embedding_norm = nn::LayerNorm(embeddings["LayerNorm"], config.hidden_size, config.layer_norm_eps);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers.emplace_back(weights["bert"]["encoder"]["layer"][i], config);
  const nn::Weights head = weights["cls"]["predictions"];
  transform = Linear(head["transform"]["dense"], config.hidden_size, config.hidden_size);
  transform_norm = nn::LayerNorm(head["transform"]["LayerNorm"], config.hidden_size, config.layer_norm_eps);
  // An adapter of the layer does not change the embeddings (checkpoint/adapter.h).
  const nn::Weights decoder = head["decoder"];
  prediction.weight = decoder.has("own_weight") ? decoder.get("own_weight", {config.vocab_size, config.hidden_size})
                                                : word_embeddings.weight;
  prediction.bias = head.get("bias", {config.vocab_size}, Init::zeros());
  if (weights.is_for_inference()) prediction.pack();
  head.ignore("decoder.weight");  // tied to the word embeddings and the bias above; some exports repeat them
  head.ignore("decoder.bias");
}

void select(BlipState& state, const at::Tensor& images, const at::Tensor& sequences) {
  const auto keep = [](at::Tensor& tensor, const at::Tensor& indices) {
    if (tensor.defined() && indices.defined()) tensor = tensor.index_select(0, indices);
  };
  for (BlipLayerState& layer : state) {
    keep(layer.image_key, images);
    keep(layer.image_value, images);
    keep(layer.key, sequences);
    keep(layer.value, sequences);
  }
}

BlipState BlipTextDecoder::prepare(const at::Tensor& image_embeds) const {
  const at::Tensor filled = fill_block(image_embeds);
  BlipState state;
  for (const BlipTextLayer& layer : layers) {
    const auto heads_of = [&](const Linear& projection) {
      const at::Tensor rows = projection(filled).narrow(1, 0, image_embeds.size(1));
      return nn::split_heads(rows, layer.heads).contiguous();  // head by head in memory: they are read at every step
    };
    state.push_back({heads_of(layer.crossattention.key), heads_of(layer.crossattention.value), {}, {}});
  }
  return state;
}

at::Tensor BlipTextDecoder::hidden_states(const at::Tensor& input_ids, BlipState& state, bool cache,
                                          const at::Tensor& attention_mask) const {
  const int64_t past = state.front().key.defined() ? state.front().key.size(2) : 0, tokens = input_ids.size(1);
  at::Tensor x = embedding_norm(word_embeddings(input_ids) + position_embeddings.weight.narrow(0, past, tokens));
  std::optional<at::Tensor> mask;
  if (attention_mask.defined() && !attention_mask.all().item<bool>()) {
    const at::Tensor future = at::ones({tokens, tokens}, x.options().dtype(at::kBool)).triu(1);   // [T, T]
    const at::Tensor hidden = attention_mask.eq(0).unsqueeze(1).unsqueeze(1).logical_or(future);  // [S, 1, T, T]
    // The type's lowest finite value, as in transformers: a row that sees nothing must not become NaN.
    mask = at::zeros(hidden.sizes(), x.options())
               .masked_fill_(hidden, -std::numeric_limits<float>::infinity())
               .nan_to_num_();
  } else if (past > 0 && tokens > 1) {
    throw UsageError(describe("BLIP decoding", "one token a step after the prompt", std::to_string(tokens)));
  }
  for (size_t i = 0; i < layers.size(); ++i) x = layers[i].forward(x, state[i], mask, cache);
  return x;
}

at::Tensor BlipTextDecoder::logits(const at::Tensor& hidden) const {
  return prediction(transform_norm(act(transform(hidden))));
}

Blip::Blip(const BlipConfig& config, const nn::Weights& weights)
    : config(config),
      vision_model(config.vision, weights["vision_model"]),
      text_decoder(config.text, weights["text_decoder"]) {}

at::Tensor Blip::forward(const at::Tensor& pixel_values, const at::Tensor& input_ids,
                         const at::Tensor& attention_mask) const {
  BlipState state = text_decoder.prepare(vision_model.forward(pixel_values));
  return text_decoder.logits(text_decoder.hidden_states(input_ids, state, /*cache=*/false, attention_mask));
}

at::Tensor Blip::loss(const at::Tensor& logits, const at::Tensor& labels) const {
  const at::Tensor predicted = logits.slice(1, 0, -1).flatten(0, 1).to(at::kFloat);  // [B · (T - 1), V]
  return at::cross_entropy_loss(predicted, labels.slice(1, 1).flatten(), {}, at::Reduction::Mean, -100,
                                config.text.label_smoothing);
}

}  // namespace readback::models
