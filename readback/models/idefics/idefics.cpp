#include "readback/models/idefics/idefics.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

using nn::Init;
using nn::Linear;

namespace {

ClipVisionConfig read_vision(checkpoint::ConfigReader config) {
  ClipVisionConfig c;
  c.hidden_act = "gelu";
  c.read_sizes(config);
  c.hidden_size = config.get("embed_dim", c.hidden_size);
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  config.expect("num_channels", {3});
  config.ignore({"attention_dropout", "initializer_factor", "initializer_range", "vision_model_name"});
  config.finish();
  return c;
}

}  // namespace

IdeficsConfig IdeficsConfig::read(checkpoint::ConfigReader config) {
  IdeficsConfig c;
  c.text.read_sizes(config);
  c.additional_vocab_size = config.get("additional_vocab_size", c.additional_vocab_size);
  c.cross_layer_interval = config.get("cross_layer_interval", c.cross_layer_interval);
  expect_positive(config, "cross_layer_interval", c.cross_layer_interval);
  c.qk_layer_norms = config.get("qk_layer_norms", c.qk_layer_norms);
  c.alpha_type = config.get("alpha_type", c.alpha_type);
  config.expect("alpha_type", {"float", "vector"});
  c.bos_token_id = config.get("bos_token_id", c.bos_token_id);
  c.eos_token_id = config.get("eos_token_id", c.eos_token_id);
  c.use_resampler = config.get("use_resampler", c.use_resampler);
  c.vision = read_vision(config.section("vision_config"));
  checkpoint::ConfigReader perceiver = config.section("perceiver_config");
  c.resampler_n_latents = perceiver.get("resampler_n_latents", c.resampler_n_latents);
  c.resampler_depth = perceiver.get("resampler_depth", c.resampler_depth);
  c.resampler_n_heads = perceiver.get("resampler_n_heads", c.resampler_n_heads);
  c.resampler_head_dim = perceiver.get("resampler_head_dim", c.resampler_head_dim);
  c.qk_layer_norms_perceiver = perceiver.get("qk_layer_norms_perceiver", c.qk_layer_norms_perceiver);
  perceiver.ignore({"use_resampler"});  // the outer one decides
  perceiver.finish();
  config.expect("tie_word_embeddings", {false});
  config.expect("dropout", {0, 0.0});
  config.ignore({"alpha_initializer", "alphas_initializer_range", "freeze_lm_head", "freeze_text_layers",
                 "freeze_text_module_exceptions", "freeze_vision_layers", "freeze_vision_module_exceptions",
                 "word_embed_proj_dim"});
  config.finish();
  return c;
}

IdeficsPerceiver::Block::Block(const nn::Weights& weights, const IdeficsConfig& config)
    : heads(config.resampler_n_heads) {
  const int64_t width = config.vision.hidden_size, inner = heads * config.resampler_head_dim;
  const nn::Weights attention = weights[0], mlp = weights[1];
  context_layer_norm = nn::LayerNorm(attention["context_layer_norm"], width, 1e-5);
  latents_layer_norm = nn::LayerNorm(attention["latents_layer_norm"], width, 1e-5);
  if (config.qk_layer_norms_perceiver) {
    q_layer_norm.emplace(attention["q_layer_norm"], config.resampler_head_dim, 1e-5);
    k_layer_norm.emplace(attention["k_layer_norm"], config.resampler_head_dim, 1e-5);
  }
  q_proj = Linear(attention["q_proj"], width, inner, false);
  k_proj = Linear(attention["k_proj"], width, inner, false);
  v_proj = Linear(attention["v_proj"], width, inner, false);
  output_proj = Linear(attention["output_proj"], inner, width, false);
  norm = nn::LayerNorm(mlp["ln"], width, 1e-5);
  fc = Linear(mlp["fc"], width, 4 * width, false);
  c_proj = Linear(mlp["c_proj"], 4 * width, width, false);
}

at::Tensor IdeficsPerceiver::Block::forward(const at::Tensor& context, const at::Tensor& latents) const {
  const at::Tensor own = latents_layer_norm(latents), all = at::cat({context_layer_norm(context), own}, 1);
  at::Tensor query = nn::split_heads(q_proj(own), heads), key = nn::split_heads(k_proj(all), heads);
  if (q_layer_norm) query = (*q_layer_norm)(query), key = (*k_layer_norm)(key);
  const at::Tensor x = latents + output_proj(nn::attention(query, key, nn::split_heads(v_proj(all), heads)));
  return x + c_proj(at::relu(fc(norm(x))));
}

IdeficsPerceiver::IdeficsPerceiver(const nn::Weights& weights, const IdeficsConfig& config)
    : latents(weights.get("latents", {config.resampler_n_latents, config.vision.hidden_size}, Init::normal(1))),
      layer_norm(weights["layer_norm"], config.vision.hidden_size, 1e-5) {
  for (int64_t i = 0; i < config.resampler_depth; ++i) blocks.emplace_back(weights["blocks"][i], config);
}

at::Tensor IdeficsPerceiver::forward(const at::Tensor& context) const {
  at::Tensor x = latents.expand({context.size(0), -1, -1});
  for (const Block& block : blocks) x = block.forward(context, x);
  return layer_norm(x);
}

IdeficsGatedLayer::IdeficsGatedLayer(const nn::Weights& weights, const IdeficsConfig& config)
    : heads(config.text.num_attention_heads),
      input_layernorm(weights["input_layernorm"], config.text.hidden_size, config.text.rms_norm_eps),
      post_attention_layernorm(weights["post_attention_layernorm"], config.text.hidden_size, config.text.rms_norm_eps),
      mlp(weights["mlp"], config.text) {
  const int64_t width = config.text.hidden_size;
  const nn::Weights attention = weights["cross_attn"];
  attention.ignore("rotary_emb.inv_freq");
  q_proj = Linear(attention["q_proj"], width, width, false);
  k_proj = Linear(attention["k_proj"], config.vision.hidden_size, width, false);
  v_proj = Linear(attention["v_proj"], config.vision.hidden_size, width, false);
  o_proj = Linear(attention["o_proj"], width, width, false);
  if (config.qk_layer_norms) {
    q_layer_norm.emplace(attention["q_layer_norm"], config.text.head_dim, config.text.rms_norm_eps);
    k_layer_norm.emplace(attention["k_layer_norm"], config.text.head_dim, config.text.rms_norm_eps);
  }
  const std::vector<int64_t> shape =
      config.alpha_type == "vector" ? std::vector<int64_t>{1, 1, width} : std::vector<int64_t>{1};
  alpha_cross_attn = weights.get("alpha_cross_attn", shape, Init::zeros());
  alpha_dense = weights.get("alpha_dense", shape, Init::zeros());
}

IdeficsImages IdeficsGatedLayer::prepare(const at::Tensor& image_states) const {
  const at::Tensor key = nn::split_heads(k_proj(image_states), heads);
  return {(k_layer_norm ? (*k_layer_norm)(key) : key).contiguous(),
          nn::split_heads(v_proj(image_states), heads).contiguous()};
}

at::Tensor IdeficsGatedLayer::forward(at::Tensor x, const IdeficsImages& images, const at::Tensor& mask,
                                      const at::Tensor& gate) const {
  // The sequences of one set of pictures stand side by side: they are one longer text to its keys.
  const int64_t sets = images.key.size(0), tokens = x.size(0) / sets * x.size(1);
  at::Tensor query = nn::split_heads(q_proj(input_layernorm(x)).view({sets, tokens, x.size(2)}), heads);
  if (q_layer_norm) query = (*q_layer_norm)(query);
  const at::Tensor mixed = o_proj(nn::attention(query, images.key, images.value, mask)).view(x.sizes());
  x = x + at::tanh(alpha_cross_attn) * (mixed * gate);
  return x + at::tanh(alpha_dense) * mlp(post_attention_layernorm(x));
}

Idefics::Idefics(const IdeficsConfig& config, const nn::Weights& weights)
    : config(config),
      vision_model(config.vision, weights["model"]["vision_model"]),
      text(config.text, weights["model"]),
      lm_head(weights["lm_head"], config.text.hidden_size, config.text.vocab_size, false) {
  const nn::Weights model = weights["model"];
  if (config.use_resampler) perceiver.emplace(model["perceiver_resampler"], config);
  for (int64_t i = 0; i < config.text.num_hidden_layers / config.cross_layer_interval; ++i) {
    gated_layers.emplace_back(model["gated_cross_attn_layers"][i], config);
  }
  if (config.additional_vocab_size == 0) return;
  additional_embedding = nn::Embedding(model["embed_tokens"]["additional_embedding"], config.additional_vocab_size,
                                       config.text.hidden_size);
  additional_fc =
      Linear(weights["lm_head"]["additional_fc"], config.text.hidden_size, config.additional_vocab_size, false);
}

at::Tensor Idefics::read_images(const at::Tensor& pixel_values) const {
  const int64_t sets = pixel_values.size(0);
  const at::Tensor states = vision_model.forward(pixel_values.flatten(0, 1)).last_hidden_state;  // [G · I, P, Cv]
  const at::Tensor latents = perceiver ? perceiver->forward(states) : states;
  return latents.reshape({sets, -1, latents.size(2)});
}

IdeficsState Idefics::prepare(const at::Tensor& image_states, int64_t count, int64_t capacity) const {
  IdeficsState state{{}, count, {}, nn::KeyValueCache(config.text.num_hidden_layers, capacity)};
  for (const IdeficsGatedLayer& layer : gated_layers) state.images.push_back(layer.prepare(image_states));
  return state;
}

at::Tensor Idefics::hidden_states(const at::Tensor& ids, const at::Tensor& seen, IdeficsState& state) const {
  const int64_t sets = state.images.front().key.size(0), each = ids.size(0) / sets;
  if (seen.defined()) state.seen = seen.select(1, -1).view({sets, each}).select(1, 0);
  const at::Tensor own =
      seen.defined() ? seen : state.seen.repeat_interleave(each).unsqueeze(1).expand({-1, ids.size(1)});
  return run(ids, own, state.images, state.count, &state.cache);
}

at::Tensor Idefics::hidden_states(const at::Tensor& ids, const at::Tensor& seen, const at::Tensor& image_states,
                                  int64_t count) const {
  std::vector<IdeficsImages> images;
  for (const IdeficsGatedLayer& layer : gated_layers) images.push_back(layer.prepare(image_states));
  return run(ids, seen, images, count, nullptr);
}

at::Tensor Idefics::embed(const at::Tensor& ids) const {
  if (config.additional_vocab_size == 0) return text.embed_tokens(ids);
  const int64_t known = config.text.vocab_size;
  const at::Tensor added = ids.ge(known);
  return at::where(added.unsqueeze(2), additional_embedding((ids - known).clamp_min(0)),
                   text.embed_tokens(ids.masked_fill(added, 0)));
}

at::Tensor Idefics::run(const at::Tensor& ids, const at::Tensor& seen, const std::vector<IdeficsImages>& images,
                        int64_t count, nn::KeyValueCache* cache) const {
  at::Tensor x = embed(ids);
  const int64_t sets = images.front().key.size(0), latents = images.front().key.size(2) / count;
  const at::Tensor hidden = seen.reshape({sets, -1, 1}).ne(at::arange(count, seen.options()));  // [G, S / G · T, I]
  const at::Tensor mask = at::zeros(hidden.sizes(), x.options())
                              .masked_fill(hidden, x.scalar_type() == at::kHalf ? -65504 : -3e38)
                              .repeat_interleave(latents, 2)
                              .unsqueeze(1);
  const at::Tensor gate = seen.ge(0).unsqueeze(2).to(x.scalar_type());
  const int64_t first = cache ? cache->length() : 0, tokens = x.size(1);
  const nn::Rotation rotation(first, tokens, config.text.head_dim, config.text.rope_theta, x.options());
  for (int64_t i = 0; i < config.text.num_hidden_layers; ++i) {
    const auto block = static_cast<size_t>(i / config.cross_layer_interval);
    const IdeficsGatedLayer* const gated =
        i % config.cross_layer_interval == 0 && block < gated_layers.size() ? &gated_layers[block] : nullptr;
    const auto both = [gated, &layer = text.layers[static_cast<size_t>(i)], mask, gate, rotation, cache,
                       i](const std::vector<at::Tensor>& inputs) {
      at::Tensor y = inputs[0];
      if (gated) y = gated->forward(y, {inputs[1], inputs[2]}, mask, gate);
      return layer.forward(y, rotation, cache, i);
    };
    std::vector<at::Tensor> inputs = {x};
    if (gated) inputs.insert(inputs.end(), {images[block].key, images[block].value});
    x = nn::checkpointed(both, inputs);
  }
  if (cache) cache->advance(tokens);
  return text.norm(x);
}

at::Tensor Idefics::logits(const at::Tensor& hidden) const {
  const at::Tensor known = lm_head(hidden);
  return config.additional_vocab_size == 0 ? known : at::cat({known, additional_fc(hidden)}, -1);
}

at::Tensor Idefics::forward(const at::Tensor& pixel_values, const at::Tensor& ids, const at::Tensor& seen) const {
  return logits(hidden_states(ids, seen, read_images(pixel_values), pixel_values.size(1)));
}

void select(IdeficsState& state, const at::Tensor& sets, const at::Tensor& sequences) {
  if (sets.defined()) {
    for (IdeficsImages& images : state.images) {
      images = {images.key.index_select(0, sets), images.value.index_select(0, sets)};
    }
    state.seen = state.seen.index_select(0, sets);
  }
  if (sequences.defined()) state.cache.select(sequences);
}

}  // namespace readback::models
