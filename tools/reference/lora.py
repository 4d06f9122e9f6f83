"""Golden adapters and what PEFT and diffusers make of them: python tools/reference/lora.py [others]

Low-rank adapters with random A and B for the tiny BLIP (tests/goldens/models/blip) and the tiny pipeline
(tests/goldens/generate/pipeline), saved by PEFT and diffusers. Writes tests/goldens/lora/NAME/, each an adapter's folder
that names its base relative to itself, beside a golden.safetensors:
    input.*, output.*       tensors given to the model with its adapter and got from it
    loss, gradient.KEY      the mean square of the output, and its gradient with respect to lora_A and lora_B of KEY's
                            module, in the adapters that readback can train itself
Adapters in other programs' names (tests/goldens/lora/others-…) have a golden.safetensors of
    PART.KEY                for every weight that diffusers' load_lora_weights and fuse_lora change: the fused weight as a
                            matrix [out, …], times the column cos(0), cos(1), …
and tests/goldens/lora/peft_options.json: for many LoraConfigs which modules PEFT adapts, and each one's rank and scale.
"""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pathlib
import shutil
import sys

import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import BlipForConditionalGeneration

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens"
BLIP, PIPELINE, OUTPUT = GOLDENS / "models/blip", GOLDENS / "generate/pipeline", GOLDENS / "lora"


def randomise(model, seed):
    """A and B of a size that changes the outputs visibly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7 / parameter[0].numel() ** 0.5)


def folder_of(name):
    shutil.rmtree(OUTPUT / name, ignore_errors=True)
    (OUTPUT / name).mkdir(parents=True)
    return OUTPUT / name


def base_of(folder, base):
    return os.path.relpath(base, folder)


def finish(name, inputs, outputs, model=None):
    """`model`: whose adapter's gradients are stored."""
    golden = {f"input.{k}": v for k, v in inputs.items()} | {f"output.{k}": v.detach() for k, v in outputs.items()}
    if model:
        (output,) = outputs.values()
        loss = output.square().mean()
        loss.backward()
        golden["loss"] = loss.detach()
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                key = key.removeprefix("base_model.model.").replace(".default.", ".").replace(".default_0.", ".")
                golden[f"gradient.{key}"] = parameter.grad
    save_file({k: v.contiguous().clone() for k, v in golden.items()}, OUTPUT / name / "golden.safetensors")
    print(name, {path.name: path.stat().st_size for path in sorted((OUTPUT / name).iterdir())})


def blip(name, config, trained, dtype=torch.float32):
    folder = folder_of(name)
    model = get_peft_model(BlipForConditionalGeneration.from_pretrained(BLIP, dtype=torch.float32).eval(), config)
    randomise(model, 1)
    model.peft_config["default"].base_model_name_or_path = base_of(folder, BLIP)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    weights = folder / "adapter_model.safetensors"
    save_file({k: v.to(dtype) for k, v in load_file(weights).items()}, weights, {"format": "pt"})

    base = BlipForConditionalGeneration.from_pretrained(BLIP, dtype=torch.float32).eval()
    model = PeftModel.from_pretrained(base, folder, is_trainable=trained).eval()
    golden = load_file(BLIP / "golden.safetensors")
    inputs = {key: golden[f"input.{key}"] for key in ("pixel_values", "input_ids", "attention_mask")}
    finish(name, inputs, {"logits": model(**inputs).logits}, model if trained else None)


def pipeline(name, unet_config, trained, text_config=None):
    """With `trained` as diffusers saves today, metadata and all; else as it did, the base named in the model card."""
    folder = folder_of(name)
    pipe = StableDiffusionPipeline.from_pretrained(PIPELINE, dtype=torch.float32, low_cpu_mem_usage=False)
    layers = {}
    for part, config in (("unet", unet_config), ("text_encoder", text_config)):
        if config:
            model = getattr(pipe, part)
            model.add_adapter(config)
            randomise(model, 2)
            layers[f"{part}_lora_layers"] = get_peft_model_state_dict(model)
    if trained:
        unet_config.base_model_name_or_path = base_of(folder, PIPELINE)
        layers["unet_lora_adapter_metadata"] = unet_config.to_dict()
    else:
        (folder / "README.md").write_text(f'---\nlicense: mit\nbase_model: "{base_of(folder, PIPELINE)}"\n---\n# LoRA\n')
    StableDiffusionPipeline.save_lora_weights(folder, **layers)

    pipe = StableDiffusionPipeline.from_pretrained(PIPELINE, dtype=torch.float32, low_cpu_mem_usage=False)
    pipe.load_lora_weights(folder)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 194, (2, 16), generator=generator)
    ids[:, 0], ids[0, 9:], ids[1, 12:] = 194, 195, 195
    inputs = {"ids": ids, "sample": torch.randn(2, 4, 8, 8, generator=generator), "timesteps": torch.tensor([40, 700])}
    with torch.no_grad():
        text = pipe.text_encoder(ids).last_hidden_state
    output = pipe.unet.requires_grad_(False)(inputs["sample"], inputs["timesteps"], text).sample
    if trained:
        for key, parameter in pipe.unet.named_parameters():
            parameter.requires_grad_("lora_" in key)
        output = pipe.unet(inputs["sample"], inputs["timesteps"], text).sample
    finish(name, inputs, {"prediction": output}, pipe.unet if trained else None)


MODULES = [
    "text_decoder.bert.encoder.layer.0.attention.self.query", "text_decoder.bert.encoder.layer.1.attention.self.query",
    "text_decoder.bert.encoder.layer.1.crossattention.self.key", "text_decoder.bert.encoder.layer.11.output.dense",
    "text_decoder.cls.predictions.decoder", "text_decoder.cls.predictions.transform.dense",
    "vision_model.encoder.layers.0.self_attn.qkv", "vision_model.encoder.layers.1.mlp.fc1", "blocks.2.layers.1.fc1",
    "fc1"]
OPTIONS = [
    {"target_modules": ["query", "fc1"]}, {"target_modules": ["self.query", "layer.1.crossattention.self.key"]},
    {"target_modules": ["uery", "coder", "fc1"]}, {"target_modules": MODULES[:1]},
    {"target_modules": r".*(query|key)"}, {"target_modules": r"text_decoder\..*\.dense"},
    {"target_modules": "all-linear"}, {"target_modules": "All-Linear"},
    {"target_modules": ["query", "key", "dense", "fc1"], "exclude_modules": ["key", "transform.dense", "ense"]},
    {"target_modules": ["query", "key", "dense", "fc1"], "exclude_modules": r"text.*\.(key|query)"},
    {"target_modules": "all-linear", "exclude_modules": ["decoder"]},
    {"target_modules": ["query", "dense", "fc1", "qkv"], "layers_to_transform": [1]},
    {"target_modules": ["query", "dense", "fc1", "qkv"], "layers_to_transform": 0},
    {"target_modules": ["query", "dense", "fc1", "qkv"], "layers_to_transform": [0, 11], "layers_pattern": "layer"},
    {"target_modules": ["query", "dense", "fc1", "qkv"], "layers_to_transform": [1], "layers_pattern": ["layers"]},
    {"target_modules": ["query", "dense", "fc1", "qkv"], "layers_to_transform": [1], "layers_pattern": ["(layer)(s?)"]},
    {"target_modules": ["query", "dense", "fc1"], "layers_to_transform": [], "layers_pattern": []},
    {"target_modules": ["query", "key", "fc1"], "rank_pattern": {"query": 4, r"layer\.1\..*": 3, "fc1": 1}},
    {"target_modules": ["query", "fc1"], "rank_pattern": {"^fc1": 4}, "alpha_pattern": {"self.query": 9, "^fc1": 1}},
    {"target_modules": ["query", "fc1"], "use_rslora": True, "lora_alpha": 3, "rank_pattern": {"fc1": 2}},
    {"target_modules": ["query", "fc1"], "init_lora_weights": "mica", "fan_in_fan_out": True}]


class Tree(torch.nn.Module):
    """A linear layer under each of MODULES."""

    def __init__(self):
        super().__init__()
        for name in MODULES:
            *parents, leaf = name.split(".")
            node = self
            for parent in parents:
                if not hasattr(node, parent):
                    node.add_module(parent, torch.nn.Module())
                node = getattr(node, parent)
            node.add_module(leaf, torch.nn.Linear(16, 16))


def peft_options():
    cases = []
    for options in OPTIONS:
        model = get_peft_model(Tree(), LoraConfig(**{"r": 5, "lora_alpha": 4} | options)).base_model.model
        layers = {name: model.get_submodule(name) for name in MODULES}
        adapted = {name: {"rank": layer.r["default"], "scale": layer.scaling["default"]}
                   for name, layer in layers.items() if hasattr(layer, "lora_A")}
        cases.append({"options": {"r": 5, "lora_alpha": 4} | options, "adapted": adapted})
    path = OUTPUT / "peft_options.json"
    path.write_text(json.dumps({"modules": MODULES, "cases": cases}, indent=1) + "\n")
    print(path.name, path.stat().st_size)


def layers_of(model):
    return {name: layer for name, layer in model.named_modules()
            if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))}


def low_rank(layer, rank, generator):
    """A and B as lora.down and lora.up."""
    shape = layer.weight.shape
    down = torch.randn(rank, *shape[1:], generator=generator) * 0.3
    up = torch.randn(shape[0], rank, *(1 for _ in shape[2:]), generator=generator) * 0.3
    return down.half(), up.half()


def kohya(pipe, generator):
    """Every linear layer and convolution, of ranks 1 to 3, with one alpha: where alphas differ, diffusers 0.42 drops
    those of attention."""
    tensors = {}
    for prefix, model in (("lora_unet_", pipe.unet), ("lora_te_text_model_", pipe.text_encoder)):
        for i, (name, layer) in enumerate(layers_of(model).items()):
            key = prefix + name.replace(".", "_")
            tensors[key + ".lora_down.weight"], tensors[key + ".lora_up.weight"] = low_rank(layer, 1 + i % 3, generator)
            tensors[key + ".alpha"] = torch.tensor(1.5)
    return tensors


def processors(pipe, generator, prefix, text):
    """Attention alone, as diffusers' save_attn_procs and save_lora_weights wrote it before PEFT."""
    tensors = {}

    def add(key, layer):
        tensors[key + ".down.weight"], tensors[key + ".up.weight"] = low_rank(layer, 2, generator)

    for name, layer in layers_of(pipe.unet).items():
        attention, _, kind = name.removesuffix(".0").rpartition(".")
        if kind in ("to_q", "to_k", "to_v", "to_out"):
            add(f"{prefix}{attention}.processor.{kind}_lora", layer)
    for name, layer in layers_of(pipe.text_encoder).items() if text else ():
        attention, _, kind = name.rpartition(".")
        if kind in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"text_encoder.text_model.{attention}.to_{kind.removesuffix('_proj')}_lora", layer)
    return tensors


def others(name, file, make):
    """`make`: tensors from a pipeline and a generator."""
    folder = folder_of(name)
    pipe = StableDiffusionPipeline.from_pretrained(PIPELINE, dtype=torch.float32, low_cpu_mem_usage=False)
    weights = lambda: {f"{part}.{key}": value.clone() for part in ("unet", "text_encoder")
                       for key, value in getattr(pipe, part).state_dict().items()}
    before = weights()
    tensors = make(pipe, torch.Generator().manual_seed(3))
    if file.endswith(".bin"):
        torch.save(tensors, folder / file)
    else:
        save_file(tensors, folder / file)
    (folder / "README.md").write_text(f"---\nbase_model: {base_of(folder, PIPELINE)}\n---\n")
    if any(key.startswith(("unet.", "lora_unet")) for key in tensors):
        pipe.load_lora_weights(folder, weight_name=file)
    else:  # load_lora_weights finds nothing in it, and says so in a warning only
        pipe.unet.load_lora_adapter(tensors, prefix=None)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    golden = {}
    for key, fused in weights().items():
        if not torch.equal(fused, before[key]):
            golden[key] = fused.flatten(1) @ torch.arange(fused[0].numel()).cos()
    count = sum(key.endswith(("down.weight")) for key in tensors)
    assert len(golden) == count, f"{name}: diffusers changed {len(golden)} weights of {count}"
    save_file(golden, folder / "golden.safetensors")
    print(name, len(golden), {path.name: path.stat().st_size for path in sorted(folder.iterdir())})


def all_others():
    others("others-kohya", "pytorch_lora_weights.safetensors", kohya)
    others("others-processors", "pytorch_lora_weights.safetensors", lambda *a: processors(*a, "unet.", True))
    others("others-processors-unet", "pytorch_lora_weights.bin", lambda *a: processors(*a, "", False))


if __name__ == "__main__":
    if sys.argv[1:] == ["others"]:
        sys.exit(all_others())
    peft_options()
    blip("captioner", LoraConfig(r=4, lora_alpha=6, target_modules=[
        "query", "key", "value", "dense", "qkv", "projection", "fc1", "fc2"]), trained=True)
    blip("captioner-patterns", LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["query", "qkv", "fc1"], rank_pattern={"fc1": 2},
        alpha_pattern={r"crossattention\.self\.query": 12, r"^vision_model.*\.qkv": 3}), trained=False,
        dtype=torch.bfloat16)
    # The output layer, too, which shares the matrix of the word embeddings.
    blip("captioner-all-linear", LoraConfig(r=2, lora_alpha=3, target_modules="all-linear"), trained=False)
    linear = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2"]
    pipeline("generator", LoraConfig(r=3, lora_alpha=5, target_modules=linear), trained=True)
    pipeline("generator-convolutions", LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "proj_in", "conv1"]),
             trained=False, text_config=LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "fc1"]))
    all_others()
