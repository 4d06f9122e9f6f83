"""BLIP-2, IDEFICS, SmolVLM and SDXL at their published width with one or two layers: python tools/reference/full_width.py

    tests/goldens/models/full_width.json           configurations
    tests/goldens/models/full_width.safetensors    outputs

Weights and inputs are hashed (hashed.py), so that none are stored; vocabularies and pictures are small.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

# A neighbour here is called like a package that transformers imports.
HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]
import diffusers
import torch
from safetensors.torch import save_file
from transformers import (Blip2Config, Blip2ForConditionalGeneration, CLIPTextConfig, CLIPTextModelWithProjection,
                          IdeficsConfig, IdeficsForVisionText2Text, SmolVLMConfig, SmolVLMForConditionalGeneration)

sys.path.append(str(HERE))
from full_size_multimodal import BIG_G, CLIP_H, FLAN_T5, IDEFICS, OPT, Q_FORMER, VIT_G, XL_UNET
from hashed import fill_hashed, hashed

GOLDENS = HERE.parents[1] / "tests/goldens/models"
WORDS = 64
IDS = torch.tensor([[3, 17, 42, 5, 60, 8], [9, 9, 31, 2, 50, 11]])
VISION = dict(num_hidden_layers=1, image_size=28)


def idefics():
    sizes = dict(vocab_size=WORDS, num_hidden_layers=1, cross_layer_interval=1, max_position_embeddings=64)
    perceiver = IDEFICS["perceiver_config"] | dict(resampler_depth=1)
    model = IdeficsForVisionText2Text(IdeficsConfig(**IDEFICS | sizes | dict(
        perceiver_config=perceiver, vision_config=CLIP_H | VISION)))
    fill_hashed(model)
    seen = torch.ones(2, 6, 1, dtype=torch.long)
    return model, model(pixel_values=hashed("pixels", (2, 1, 3, 28, 28)), input_ids=IDS, image_attention_mask=seen).logits


def blip2(text):
    model = Blip2ForConditionalGeneration(Blip2Config(
        num_query_tokens=32, image_token_index=WORDS - 1, text_config=text | dict(vocab_size=WORDS),
        qformer_config=Q_FORMER | dict(num_hidden_layers=2), vision_config=VIT_G | VISION))
    fill_hashed(model)
    prompt = torch.cat([torch.full((2, 32), WORDS - 1), IDS], 1)
    extra = {} if text["model_type"] == "opt" else dict(decoder_input_ids=IDS[:, :4])
    logits = model(pixel_values=hashed("pixels", (2, 3, 28, 28)), input_ids=prompt, **extra).logits
    return model, logits


def smolvlm():
    text = dict(model_type="llama", vocab_size=WORDS, hidden_size=576, intermediate_size=1536, num_hidden_layers=2,
                num_attention_heads=9, num_key_value_heads=3, head_dim=64, max_position_embeddings=64, pad_token_id=2,
                rope_theta=100000.0, rms_norm_eps=1e-5)
    vision = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=1, num_attention_heads=12, patch_size=16,
                  image_size=64)
    model = SmolVLMForConditionalGeneration(SmolVLMConfig(
        scale_factor=4, image_token_id=WORDS - 1, pad_token_id=2, text_config=text, vision_config=vision,
        tie_word_embeddings=False))
    fill_hashed(model)
    ids = torch.cat([torch.full((2, 1), WORDS - 1), IDS], 1)
    return model, model(input_ids=ids, pixel_values=hashed("pixels", (2, 1, 3, 64, 64))).logits


def xl_unet():
    model = diffusers.UNet2DConditionModel(**XL_UNET | dict(
        sample_size=8, layers_per_block=1, transformer_layers_per_block=(1, 1, 1)))
    fill_hashed(model)
    conditions = dict(text_embeds=hashed("pooled", (2, 1280)), time_ids=torch.tensor([[512.0, 512, 0, 0, 512, 512]] * 2))
    return model, model(hashed("sample", (2, 4, 8, 8)), torch.tensor([17, 981]), hashed("states", (2, 12, 2048)),
                        added_cond_kwargs=conditions).sample


def big_g():
    model = CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G | dict(
        vocab_size=WORDS, num_hidden_layers=2, eos_token_id=60, bos_token_id=3)))
    fill_hashed(model)
    return model, model(input_ids=IDS).last_hidden_state


@torch.no_grad()
def main():
    texts = dict(opt=OPT | dict(num_hidden_layers=1, max_position_embeddings=64, bos_token_id=2, eos_token_id=5),
                 # The head is the embedding: which it is, a file would say.
                 flan_t5=FLAN_T5 | dict(num_layers=1, num_decoder_layers=1, tie_word_embeddings=True))
    models = dict(idefics=idefics, blip2_opt=lambda: blip2(texts["opt"]), blip2_flan_t5=lambda: blip2(texts["flan_t5"]),
                  smolvlm=smolvlm, xl_unet=xl_unet, big_g=big_g)
    configs, outputs = {}, {}
    for name, make in models.items():
        model, output = make()
        config = model.config.to_dict() if hasattr(model.config, "to_dict") else dict(model.config)
        configs[name] = {key: value for key, value in config.items() if not key.startswith("_")}
        outputs[name] = output.contiguous()
        print(name, f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M, deviation", output.std().item())
        del model
    (GOLDENS / "full_width.json").write_text(json.dumps(configs, indent=1, default=str) + "\n")
    save_file(outputs, GOLDENS / "full_width.safetensors")


if __name__ == "__main__":
    main()
