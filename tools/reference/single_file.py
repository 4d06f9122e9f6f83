"""Models in one file with their original names, checked by diffusers' own conversions and by transformers' mapping.

    python tools/reference/single_file.py        writes tests/goldens/single_file/

NAME.safetensors, of tiny models with the blocks of the published ones, as
    stable-diffusion-1, stable-diffusion-2, stable-diffusion-xl      Stable Diffusion of CompVis and Stability AI
    blip.pth, blip2-opt.pth, blip2-t5.pth                            LAVIS, as torch.save of {"model": …}
and NAME/, their configurations and tokenizers without weights. The values of a tensor follow from its name in diffusers
or transformers, which the tests know too: element i is (hash + 7 i) mod 23 - 11, over 16, with FNV-1a of
"PART.KEY" as hash; so no other file has to hold them; counts.json says how many each part
has. lightning.ckpt is what PyTorch Lightning saves around weights.
"""

import json
import os
import pathlib
import shutil
import sys
import types

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils as reference
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens"
OUTPUT, TOKENIZER = GOLDENS / "single_file", GOLDENS / "generate/pipeline/tokenizer"


def values(name, shape):
    hashed = 0xCBF29CE484222325
    for byte in name.encode():
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    count = torch.tensor(shape).prod().item() if len(shape) else 1
    return (((hashed % 23 + 7 * torch.arange(count)) % 23 - 11).half() / 16).reshape(shape)


def state(model, part, level=""):
    """What the tests expect: the model's parameters by name, with older files' level "text_model."."""
    return {level + key: values(f"{part}.{level}{key}", value.shape) for key, value in model.state_dict().items()
            if not key.endswith("position_ids")}


COUNTS = {}  # of tensors: file → part


def dotted(*parts):
    return ".".join(str(part) for part in parts)


RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}


def ldm_unet(key, unet):
    name, _, kind = key.rpartition(".")
    if name in UNET:
        return dotted(UNET[name], kind)
    side, *rest = key.split(".")
    per_level = unet.config.layers_per_block + 1
    if side == "mid_block":
        part, index, *inner = rest
        if part == "attentions":
            return dotted("middle_block.1", *inner)
        return dotted("middle_block", 2 * int(index), RESNET[inner[0]], inner[-1])
    level, part, layer, *inner = rest
    block = int(level) * per_level + int(layer)
    if side == "down_blocks":
        if part == "downsamplers":
            return dotted("input_blocks", (int(level) + 1) * per_level, "0.op", inner[-1])
        block += 1
    if part == "upsamplers":
        has_attention = bool(getattr(unet.up_blocks[int(level)], "attentions", None))
        return dotted("output_blocks", (int(level) + 1) * per_level - 1, 1 + has_attention, "conv", inner[-1])
    blocks = "input_blocks" if side == "down_blocks" else "output_blocks"
    if part == "attentions":
        return dotted(blocks, block, 1, *inner)
    return dotted(blocks, block, 0, RESNET[inner[0]], inner[-1])


def ldm_vae(key, vae):
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = key.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    for new, old in (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        key = key.replace(f"mid_block.attentions.0.{new}.", f"mid.attn_1.{old}.")
    parts = key.split(".")
    if len(parts) < 4 or parts[1] not in ("down_blocks", "up_blocks"):
        return key
    side, blocks, level, part, index, *inner = parts
    level = int(level) if blocks == "down_blocks" else len(vae.config.up_block_types) - 1 - int(level)
    direction = blocks.removesuffix("_blocks")
    if part == "resnets":
        return dotted(side, direction, level, "block", index, *inner)
    return dotted(side, direction, level, direction + "sample", *inner)


OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
             "self_attn.out_proj": "attn.out_proj"}


def open_clip(tensors):
    """With queries, keys and values one below the other."""
    result = {}
    for key, tensor in tensors.items():
        key = key.removeprefix("text_model.")
        if key == "text_projection.weight":
            result["text_projection"] = tensor.T.contiguous()
        elif key.startswith("encoder.layers."):
            _, _, layer, *inner = key.split(".")
            inner, kind = ".".join(inner[:-1]), inner[-1]
            begin = f"transformer.resblocks.{layer}"
            if inner in OPEN_CLIP:
                result[dotted(begin, OPEN_CLIP[inner], kind)] = tensor
            elif inner == "self_attn.q_proj":
                rows = [tensors[f"text_model.encoder.layers.{layer}.self_attn.{x}_proj.{kind}"] for x in "qkv"]
                result[f"{begin}.attn.in_proj_{kind}"] = torch.cat(rows)
        else:
            key = key.replace("embeddings.token_embedding", "token_embedding")
            key = key.replace("embeddings.position_embedding.weight", "positional_embedding")
            result[key.replace("final_layer_norm", "ln_final")] = tensor
    return result


def expect_same(name, converted, expected):
    assert converted.keys() == expected.keys(), (name, converted.keys() ^ expected.keys())
    for key, tensor in expected.items():
        assert torch.equal(converted[key], tensor), (name, key)


def folder_of(name):
    folder = OUTPUT / name
    folder.mkdir(parents=True)
    return folder


def write_tokenizer(folder, pad):
    shutil.copytree(TOKENIZER, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def vae_model(levels):
    return AutoencoderKL(block_out_channels=(4,) * levels, layers_per_block=2, latent_channels=4, norm_num_groups=2,
                         sample_size=4 * 2 ** (levels - 1), down_block_types=["DownEncoderBlock2D"] * levels,
                         up_block_types=["UpDecoderBlock2D"] * levels)


def stable_diffusion(name, unet, texts, scheduler, pipeline, extra):
    """`texts`: part → (model, prefix, whether it is OpenCLIP's). `extra`: tensors that belong to no part."""
    folder, vae, file = folder_of(name), vae_model(len(unet.down_blocks)), {}
    index = {"_class_name": pipeline, "_diffusers_version": "0.42.1", "scheduler": ["diffusers", type(scheduler).__name__],
             "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    expected = {"unet": state(unet, "unet"), "vae": state(vae, "vae")}
    file |= {"model.diffusion_model." + ldm_unet(k, unet): v for k, v in expected["unet"].items()}
    for key, tensor in expected["vae"].items():
        # The original attention is made of convolutions.
        attention = "mid_block.attentions.0.to_" in key and tensor.dim() == 2
        file["first_stage_model." + ldm_vae(key, vae)] = tensor[:, :, None, None] if attention else tensor
    for part, (model, prefix, is_open) in texts.items():
        level = "" if hasattr(model, "text_model") else "text_model."
        expected[part] = state(model, part, level)
        index[part] = ["transformers", type(model).__name__]
        index[part.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
        file |= {prefix + k: v for k, v in (open_clip(expected[part]) if is_open else expected[part]).items()}
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder / part)
        pad = "!" if is_open else "<|endoftext|>"
        write_tokenizer(folder / part.replace("text_encoder", "tokenizer"), pad)
    file |= extra
    for part, model in (("unet", unet), ("vae", vae), ("scheduler", scheduler)):
        model.save_config(folder / part)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")

    expect_same("unet", reference.convert_ldm_unet_checkpoint(dict(file), unet.config), expected["unet"])
    expect_same("vae", reference.convert_ldm_vae_checkpoint(dict(file), vae.config), expected["vae"])
    for part, (model, prefix, is_open) in texts.items():
        own = {k: v for k, v in file.items() if k.startswith(prefix)}
        converted = (reference.convert_open_clip_checkpoint(model, own, prefix) if is_open
                     else reference.convert_ldm_clip_checkpoint(own))
        if part == "text_encoder" and is_open:
            converted.pop("text_projection.weight", None)
        expect_same(part, converted, expected[part])
    COUNTS[name] = {part: len(tensors) for part, tensors in expected.items()}
    save_file({k: v.contiguous() for k, v in file.items()}, OUTPUT / f"{name}.safetensors", {"format": "pt"})


def text_config(**options):
    return CLIPTextConfig(**{"vocab_size": 196, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2,
                             "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": 194,
                             "eos_token_id": 195, "pad_token_id": 195, "projection_dim": 8} | options)


def unet_model(**options):
    cross, plain = "CrossAttn{}Block2D", "{}Block2D"
    kinds = options.pop("kinds", [cross, cross, cross, plain])
    return UNet2DConditionModel(**{
        "sample_size": 4, "norm_num_groups": 2, "block_out_channels": (4,) * len(kinds), "layers_per_block": 2,
        "cross_attention_dim": 8, "attention_head_dim": 2, "down_block_types": [kind.format("Down") for kind in kinds],
        "up_block_types": [kind.format("Up") for kind in reversed(kinds)]} | options)


def noise():
    """What training leaves in such files beside the weights."""
    return {"betas": values("betas", [10]), "model_ema.decay": values("decay", []),
            "model_ema.diffusion_modeltime_embed0weight": values("ema", [16, 4])}


def all_stable_diffusion():
    stable_diffusion("stable-diffusion-1", unet_model(),
                     {"text_encoder": (CLIPTextModel(text_config()), "cond_stage_model.transformer.", False)},
                     PNDMScheduler(skip_prk_steps=True, steps_offset=1), "StableDiffusionPipeline", noise())
    prefix = "cond_stage_model.model."
    last = {f"{prefix}transformer.resblocks.23.{key}": values(key, shape) for key, shape in
            {"ln_1.weight": [8], "attn.in_proj_weight": [24, 8], "attn.in_proj_bias": [24],
             "attn.out_proj.weight": [8, 8], "mlp.c_fc.weight": [8, 8]}.items()}
    last[prefix + "text_projection"] = values("projection", [8, 8])
    last[prefix + "logit_scale"] = values("scale", [])
    stable_diffusion("stable-diffusion-2", unet_model(kinds=["CrossAttn{}Block2D", "{}Block2D"], attention_head_dim=[1, 2],
                                                      use_linear_projection=True),
                     {"text_encoder": (CLIPTextModel(text_config(num_hidden_layers=23, hidden_act="gelu")), prefix, True)},
                     PNDMScheduler(skip_prk_steps=True, steps_offset=1), "StableDiffusionPipeline", last)
    second = CLIPTextModelWithProjection(text_config(num_hidden_layers=3, hidden_size=12, num_attention_heads=3,
                                                     projection_dim=10, hidden_act="gelu"))
    unet = unet_model(kinds=["{}Block2D", "CrossAttn{}Block2D", "CrossAttn{}Block2D"], cross_attention_dim=20,
                      transformer_layers_per_block=[1, 1, 2], use_linear_projection=True, attention_head_dim=[1, 2, 2],
                      addition_embed_type="text_time", addition_time_embed_dim=2,
                      projection_class_embeddings_input_dim=22)
    stable_diffusion("stable-diffusion-xl", unet,
                     {"text_encoder": (CLIPTextModel(text_config()), "conditioner.embedders.0.transformer.", False),
                      "text_encoder_2": (second, "conditioner.embedders.1.model.", True)},
                     EulerDiscreteScheduler(steps_offset=1), "StableDiffusionXLPipeline",
                     {"conditioner.embedders.1.model.logit_scale": values("scale", [])})


# transformers' convert_blip_original_pytorch_to_hf.py, read backwards.
BLIP = [("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.post_layernorm", "visual_encoder.norm"), ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("self_attn.projection", "attn.proj"), ("self_attn", "attn"), ("layer_norm1", "norm1"), ("layer_norm2", "norm2")]


def lavis_vision(key):
    for new, old in BLIP:
        key = key.replace(new, old)
    return key


def save_lavis(name, tensors):
    torch.save({"model": tensors, "optimizer": {"state": {}}, "config": {"run": {"seed": 42}}, "epoch": 4},
               OUTPUT / f"{name}.pth")


def blip():
    source = GOLDENS / "caption/blip"
    model = transformers.BlipForConditionalGeneration.from_pretrained(source)
    folder = folder_of("blip")
    for file in source.iterdir():
        if file.suffix in (".json", ".txt"):
            shutil.copy(file, folder)
    expected = state(model, "")
    tensors = {lavis_vision(key) if key.startswith("vision_model") else key: value for key, value in expected.items()}
    assert len(tensors) == len(expected)
    COUNTS["blip"] = {"": len(expected)}
    extra = {"text_encoder.embeddings.word_embeddings.weight": values("a", [4, 4]), "queue_ptr": values("b", [1]),
             "visual_encoder_m.cls_token": values("c", [1, 1, 4]), "vision_proj.weight": values("d", [2, 2])}
    save_lavis("blip", tensors | extra)


def blip2(name, text, projection):
    """Names as LAVIS writes them: what was trained, and in files of captioning the ViT."""
    vision = transformers.Blip2VisionConfig(hidden_size=8, intermediate_size=16, num_hidden_layers=2,
                                            num_attention_heads=2, image_size=8, patch_size=4)
    qformer = transformers.Blip2QFormerConfig(vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                                              intermediate_size=16, cross_attention_frequency=2, encoder_hidden_size=8)
    config = transformers.Blip2Config(vision_config=vision.to_dict(), qformer_config=qformer.to_dict(),
                                      text_config=text.to_dict(), num_query_tokens=3)
    model = transformers.Blip2ForConditionalGeneration(config)
    tensors, keys = {}, []
    for key, value in state(model, "").items():
        if key.startswith("language_model."):
            continue
        if key.endswith(".self_attn.qkv.bias"):
            value = value.clone()
            value[8:16] = 0  # keys have no bias
            tensors[lavis_vision(key).replace("qkv.bias", "q_bias")] = value[:8].clone()
            tensors[lavis_vision(key).replace("qkv.bias", "v_bias")] = value[16:].clone()
        elif key.startswith("vision_model.post_layernorm"):
            tensors[key.replace("vision_model.post_layernorm", "ln_vision")] = value
        elif key.startswith("vision_model."):
            tensors[lavis_vision(key)] = value
        elif key.startswith("qformer."):
            old = key.replace("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm")
            old = old.replace("qformer.", "Qformer.bert.") if old == key else old
            tensors[old.replace("attention.attention.", "attention.self.")] = value
        else:
            tensors[key.replace("language_projection", projection)] = value
        keys.append(f"{key} {list(value.shape)}")
    save_lavis(name, tensors | {"Qformer.cls.predictions.bias": values("e", [4])})
    (OUTPUT / f"{name}.txt").write_text("".join(f"{key}\n" for key in sorted(keys)))


def lightning():
    """A class as a key, as pytorch_lightning.callbacks before 1.5 saved its state; and numbers beside the weights."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    checkpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = checkpoint
    for i in range(1, 4):
        name = ".".join(module.__name__.split(".")[:i])
        sys.modules[name] = module
    torch.save({"state_dict": {"a.weight": values("a", [2, 3])}, "epoch": 3, "global_step": 875000,
                "callbacks": {checkpoint: {"monitor": None, "best_model_path": ""}}, "lr_schedulers": []},
               OUTPUT / "lightning.ckpt")


if __name__ == "__main__":
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    all_stable_diffusion()
    blip()
    blip2("blip2-opt", transformers.OPTConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, ffn_dim=8,
                                              num_attention_heads=2, word_embed_proj_dim=8), "opt_proj")
    blip2("blip2-t5", transformers.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2),
          "t5_proj")
    lightning()
    (OUTPUT / "counts.json").write_text(json.dumps(COUNTS, indent=1) + "\n")
    for path in sorted(OUTPUT.rglob("*")):
        if path.is_file():
            print(path.relative_to(OUTPUT), path.stat().st_size)
