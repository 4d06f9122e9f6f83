"""Tiny random BLIP-2, IDEFICS and SmolVLM models and what transformers makes of them: python tools/reference/multimodal.py [NAME…]

Writes tests/goldens/models/NAME as models.py does. Loss: next-token cross-entropy over labels ≥ 0. (IDEFICS's own fails
where there are added tokens: it takes the logits for vocab_size wide.)
"""

import json
import sys

import models
import torch
import torch.nn.functional as F
from models import GOLDENS, draw, saved_keys, write
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    IdeficsConfig,
    IdeficsForVisionText2Text,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)


def randomise(model, seed):
    """As models.randomise; RMS norms stay near one, too."""
    models.randomise(model, seed)
    with torch.no_grad():
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.weight.add_(1)
    return model


def loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def idefics(name, seed, images, **options):
    """Three texts with `images` pictures each: the tokens before the first see none."""
    config = IdeficsConfig(
        vocab_size=90, hidden_size=24, intermediate_size=40, num_hidden_layers=4, num_attention_heads=3,
        max_position_embeddings=64, freeze_text_layers=False, freeze_vision_layers=False, freeze_lm_head=False,
        vision_config=dict(embed_dim=16, image_size=32, patch_size=8, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=2),
        **options)
    model = randomise(IdeficsForVisionText2Text(config), seed)
    for parameter in model.model.vision_model.post_layernorm.parameters():
        parameter.requires_grad_(False)  # nothing reads the class token
    vocabulary = 90 + config.additional_vocab_size
    input_ids = torch.randint(3, vocabulary, (3, 10), generator=torch.Generator().manual_seed(seed + 1))
    if config.additional_vocab_size:
        input_ids[:, 2] = 91
    seen = torch.tensor([[-1] * 2 + [0] * 4 + [images - 1] * 4, [-1] * 1 + [0] * 9, [0] * 3 + [images - 1] * 7])
    labels = input_ids.clone()
    labels[:, :3] = -100
    inputs = dict(pixel_values=draw(seed + 2, 3, images, 3, 32, 32), input_ids=input_ids, labels=labels, seen=seen)
    call = dict(pixel_values=inputs["pixel_values"], input_ids=input_ids)
    call["image_attention_mask"] = (seen[..., None] == torch.arange(images)).long()
    result = model(**call)
    image_states = result.image_hidden_states.flatten(1, 2)
    write(name, model, inputs, dict(image_states=image_states, logits=result.logits), lambda: loss(model(**call).logits, labels))


def smolvlm(name, seed, scale, side, tied=False, **text):
    """Two texts, the first with two parts of pictures, the second with one and padding behind it."""
    config = SmolVLMConfig(
        scale_factor=scale, image_token_id=95, pad_token_id=2,
        text_config=dict(model_type="llama", vocab_size=100, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
                         max_position_embeddings=96, pad_token_id=2, rope_theta=100000.0, **text),
        vision_config=dict(hidden_size=16, image_size=4 * side, patch_size=4, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=2),
        tie_word_embeddings=tied)
    model = randomise(SmolVLMForConditionalGeneration(config), seed)
    tokens = side * side // scale**2
    row = lambda *parts: torch.cat([torch.tensor(part) for part in parts])
    generator = torch.Generator().manual_seed(seed + 1)
    words = lambda count: torch.randint(3, 95, (count,), generator=generator).tolist()
    picture = [95] * tokens
    first = row(words(2), picture, words(1), picture, words(6))
    second = row(words(3), picture, words(len(first) - tokens - 3))
    input_ids = torch.stack([first, second])
    labels = input_ids.masked_fill(input_ids == 95, -100)
    labels[1, -2:] = -100
    pixels = draw(seed + 2, 3, 3, 4 * side, 4 * side)
    padded = torch.stack([pixels[:2], torch.stack([pixels[2], torch.zeros_like(pixels[2])])])
    inputs = dict(pixel_values=pixels, input_ids=input_ids, labels=labels)
    call = dict(input_ids=input_ids, pixel_values=padded)
    result = model(**call)
    features = torch.stack(model.get_image_features(padded).pooler_output[0].split(tokens)
                           + model.get_image_features(padded).pooler_output[1].split(tokens))
    write(name, model, inputs, dict(image_features=features, logits=result.logits), lambda: loss(model(**call).logits, labels))


def blip2(name, seed, text, **options):
    """Five queries; T5 reads the first ids with them and writes the others. Loss of T5: over the labels it writes."""
    config = Blip2Config(
        num_query_tokens=5, image_token_index=98,
        qformer_config=dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
                            encoder_hidden_size=24, cross_attention_frequency=2),
        vision_config=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3,
                           image_size=32, patch_size=8),
        text_config=text, **options)
    model = randomise(Blip2ForConditionalGeneration(config), seed)
    if text["model_type"] == "t5" and text.get("tie_word_embeddings") is False:  # version 1.1: a head of its own
        head = torch.nn.Parameter(draw(seed + 7, 100, text["d_model"]) / text["d_model"] ** 0.5)
        model.language_model.lm_head.weight = head
        for one in (model, model.language_model):
            one.all_tied_weights_keys = {k: v for k, v in one.all_tied_weights_keys.items() if "lm_head" not in k}
    words = torch.randint(3, 97, (3, 9), generator=torch.Generator().manual_seed(seed + 1))
    pixels = draw(seed + 2, 3, 3, 32, 32)
    ids, labels = words.clone(), words.clone()
    ids[:, 0] = 2
    labels[1, -2:] = -100
    prompt = lambda count: torch.cat([torch.full((3, 5), 98), ids[:, :count]], 1)
    inputs = dict(pixel_values=pixels, input_ids=ids, labels=labels)
    if text["model_type"] == "opt":
        call = dict(pixel_values=pixels, input_ids=prompt(9))
        of = lambda logits: loss(logits[:, 5:], labels)
    else:
        inputs["decoder_input_ids"] = decoder = torch.cat([torch.zeros(3, 1, dtype=torch.long), words[:, :-1]], 1)
        call = dict(pixel_values=pixels, input_ids=prompt(4), decoder_input_ids=decoder)
        inputs["input_ids"] = ids[:, :4]
        of = lambda logits: F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    result = model(**call)
    features = model.get_image_features(pixels, return_dict=True)
    outputs = dict(query_states=features.qformer_outputs.last_hidden_state, logits=result.logits)
    write(name, model, inputs, outputs, lambda: of(model(**call).logits))


OPT = dict(model_type="opt", vocab_size=100, hidden_size=24, num_hidden_layers=2, ffn_dim=48, num_attention_heads=3,
           max_position_embeddings=40, dropout=0.0, word_embed_proj_dim=24)
T5 = dict(model_type="t5", vocab_size=100, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_decoder_layers=3, num_heads=3,
          relative_attention_num_buckets=8, relative_attention_max_distance=12, dropout_rate=0.0,
          decoder_start_token_id=0)
RESAMPLER = dict(use_resampler=True, resampler_n_latents=3, resampler_depth=2, resampler_n_heads=2, resampler_head_dim=6)
MODELS = {
    "blip2-opt": lambda n: blip2(n, 350, OPT),
    # OPT-350m's way: norms behind.
    "blip2-opt-post": lambda n: blip2(n, 360, dict(OPT, do_layer_norm_before=False)),
    "blip2-t5": lambda n: blip2(n, 370, dict(**T5, feed_forward_proj="relu")),
    "blip2-flan-t5": lambda n: blip2(n, 380, dict(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    # As idefics-9b: a resampler, norms of queries and keys, gates of one number, two added tokens.
    "idefics": lambda n: idefics(n, 310, 2, additional_vocab_size=2, cross_layer_interval=2, qk_layer_norms=True,
                                 alpha_type="float", use_resampler=True,
                                 perceiver_config=dict(**RESAMPLER, qk_layer_norms_perceiver=True)),
    "idefics-plain": lambda n: idefics(n, 320, 1, cross_layer_interval=1, alpha_type="vector"),
    # As SmolVLM-256M: shared keys, its own head; 7 patches a side is where float32 rounds a place down.
    "smolvlm": lambda n: smolvlm(n, 330, 4, 8, num_attention_heads=6, num_key_value_heads=2, head_dim=4),
    "smolvlm-tied": lambda n: smolvlm(n, 340, 2, 14, num_attention_heads=3, num_key_value_heads=3, tied=True),
}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in sys.argv[1:] or MODELS:
        MODELS[name](name)
    keys = json.loads((GOLDENS / "keys.json").read_text())
    keys |= {name: sorted(saved_keys(GOLDENS / name)) for name in MODELS if (GOLDENS / name).exists()}
    (GOLDENS / "keys.json").write_text(json.dumps(dict(sorted(keys.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
