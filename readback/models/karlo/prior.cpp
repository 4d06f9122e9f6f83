#include "readback/models/karlo/prior.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/models/karlo/timesteps.h"

namespace readback::models {

namespace {

constexpr int64_t kAdded = 4;  // tokens after the text's: its embedding, the timestep, the noisy embedding, the answer
constexpr double kEpsilon = 1e-5;

// Queries see the keys up to themselves: bool [1, 1, queries, keys], the queries being the last of the keys.
at::Tensor causal(int64_t queries, int64_t keys, c10::Device device) {
  const auto options = at::TensorOptions(at::kBool).device(device);
  return at::ones({1, 1, queries, keys}, options).tril(keys - queries);
}

}  // namespace

PriorConfig PriorConfig::read(checkpoint::ConfigReader config) {
  PriorConfig c;
  c.num_attention_heads = config.get("num_attention_heads", c.num_attention_heads);
  c.attention_head_dim = config.get("attention_head_dim", c.attention_head_dim);
  c.num_layers = config.get("num_layers", c.num_layers);
  c.embedding_dim = config.get("embedding_dim", c.embedding_dim);
  c.num_embeddings = config.get("num_embeddings", c.num_embeddings);
  const auto [least, most] = std::minmax({c.num_attention_heads, c.attention_head_dim});
  constexpr int64_t kMost = 1 << 16;
  if (least < 1 || most > kMost || c.width() % 2 != 0) {
    throw CheckpointError(
        describe(config.where(),
                 "num_attention_heads and attention_head_dim of at least 1 with an "
                 "even product",
                 std::to_string(c.num_attention_heads) + " and " + std::to_string(c.attention_head_dim)));
  }
  c.time_embed_dim = config.get("time_embed_dim", c.width());
  config.expect("additional_embeddings", {kAdded});
  config.expect("embedding_proj_dim", {nullptr, c.embedding_dim});
  config.expect("clip_embed_dim", {nullptr, c.embedding_dim});
  config.expect("time_embed_act_fn", {"silu"});
  for (const auto& [key, kind] : {std::pair("encoder_hid_proj_type", "linear"), std::pair("added_emb_type", "prd")}) {
    if (config.raw().contains(key)) config.require<std::string>(key);  // null means none of them, not the default
    config.expect(key, {kind});
  }
  for (const char* key : {"norm_in_type", "embedding_proj_norm_type"}) config.expect(key, {nullptr});
  config.ignore({"dropout"});
  config.finish();
  return c;
}

PriorContext PriorContext::select(const std::vector<int64_t>& rows) const {
  const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong).device(mask.device()));
  PriorContext selected{.mask = mask.index_select(0, index)};
  for (const KeyValue& layer : layers) {
    selected.layers.push_back({layer.key.index_select(0, index), layer.value.index_select(0, index)});
  }
  return selected;
}

PriorBlock::PriorBlock(const nn::Weights& weights, const PriorConfig& config)
    : heads(config.num_attention_heads),
      norm1(weights["norm1"], config.width(), kEpsilon),
      norm3(weights["norm3"], config.width(), kEpsilon),
      to_q(weights["attn1"]["to_q"], config.width(), config.width()),
      to_k(weights["attn1"]["to_k"], config.width(), config.width()),
      to_v(weights["attn1"]["to_v"], config.width(), config.width()),
      to_out(weights["attn1"]["to_out"]["0"], config.width(), config.width()),
      ff_in(weights["ff"]["net"]["0"]["proj"], config.width(), 4 * config.width()),
      ff_out(weights["ff"]["net"]["2"], 4 * config.width(), config.width()) {}

KeyValue PriorBlock::keys_of(const at::Tensor& normed) const {
  return {nn::split_heads(to_k(normed), heads), nn::split_heads(to_v(normed), heads)};
}

at::Tensor PriorBlock::forward(const at::Tensor& x, const at::Tensor& normed, const KeyValue& seen,
                               const at::Tensor& mask) const {
  const at::Tensor query = nn::split_heads(to_q(normed), heads);
  const at::Tensor h = x + to_out(nn::attention(query, seen.key, seen.value, mask));
  return h + ff_out(at::gelu(ff_in(norm3(h))));
}

Prior::Prior(const PriorConfig& config, const nn::Weights& weights)
    : config(config),
      positional_embedding(
          weights.get("positional_embedding", {1, config.num_embeddings + kAdded, config.width()}, nn::Init::zeros())),
      prd_embedding(weights.get("prd_embedding", {1, 1, config.width()}, nn::Init::zeros())),
      clip_mean(weights.get("clip_mean", {1, config.embedding_dim}, nn::Init::zeros())),
      clip_std(weights.get("clip_std", {1, config.embedding_dim}, nn::Init::ones())),
      time_linear_1(weights["time_embedding"]["linear_1"], config.width(), config.time_embed_dim),
      time_linear_2(weights["time_embedding"]["linear_2"], config.time_embed_dim, config.width()),
      proj_in(weights["proj_in"], config.embedding_dim, config.width()),
      embedding_proj(weights["embedding_proj"], config.embedding_dim, config.width()),
      encoder_hidden_states_proj(weights["encoder_hidden_states_proj"], config.embedding_dim, config.width()),
      norm_out(weights["norm_out"], config.width(), kEpsilon),
      proj_to_clip_embeddings(weights["proj_to_clip_embeddings"], config.width(), config.embedding_dim) {
  for (int64_t i = 0; i < config.num_layers; ++i) {
    transformer_blocks.emplace_back(weights["transformer_blocks"][i], config);
  }
}

PriorContext Prior::prepare(const at::Tensor& embeds, const at::Tensor& states, const at::Tensor& tokens) const {
  const int64_t count = config.num_embeddings + 1;
  if (states.size(1) != config.num_embeddings) {
    throw UsageError(
        describe("prior", std::to_string(config.num_embeddings) + " states of a text", std::to_string(states.size(1))));
  }
  at::Tensor x = at::cat({encoder_hidden_states_proj(states), embedding_proj(embeds).unsqueeze(1)}, 1) +
                 positional_embedding.narrow(1, 0, count);  // [B, T + 1, C]
  const at::Tensor seen = at::constant_pad_nd(tokens, {0, 1}, 1).view({-1, 1, 1, count});
  PriorContext context{.mask = additive_mask(seen, x.scalar_type())};
  const at::Tensor mask = additive_mask(seen & causal(count, count, x.device()), x.scalar_type());
  for (const PriorBlock& block : transformer_blocks) {
    const at::Tensor normed = block.norm1(x);
    context.layers.push_back(block.keys_of(normed));
    // What the last block makes of these tokens is read by nobody.
    if (&block != &transformer_blocks.back()) x = block.forward(x, normed, context.layers.back(), mask);
  }
  return context;
}

at::Tensor Prior::forward(const at::Tensor& sample, const at::Tensor& timesteps, const PriorContext& text) const {
  const at::Tensor wave = timestep_waves(timesteps, config.width()).to(time_linear_1.bias.scalar_type());
  const at::Tensor time = time_linear_2(at::silu(time_linear_1(wave)));  // [B, C]
  constexpr int64_t count = kAdded - 1;
  at::Tensor x =
      at::cat({time.unsqueeze(1), proj_in(sample).unsqueeze(1), prd_embedding.expand({time.size(0), 1, -1})}, 1) +
      positional_embedding.narrow(1, config.num_embeddings + 1, count);  // [B, 3, C]
  const at::Tensor mask =
      at::cat({text.mask.expand({-1, -1, count, -1}),
               additive_mask(causal(count, count, x.device()), x.scalar_type()).expand({x.size(0), -1, -1, -1})},
              -1);
  for (size_t i = 0; i < transformer_blocks.size(); ++i) {
    const PriorBlock& block = transformer_blocks[i];
    const at::Tensor normed = block.norm1(x);
    const KeyValue own = block.keys_of(normed), &before = text.layers[i];
    x = block.forward(x, normed, {at::cat({before.key, own.key}, 2), at::cat({before.value, own.value}, 2)}, mask);
  }
  return proj_to_clip_embeddings(norm_out(x.select(1, count - 1)));
}

at::Tensor Prior::denormalise(const at::Tensor& embeds) const { return embeds * clip_std + clip_mean; }

}  // namespace readback::models
