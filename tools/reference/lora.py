"""Golden adapters and what PEFT and diffusers make of them: python tools/reference/lora.py

Low-rank adapters with random A and B for the tiny BLIP (tests/goldens/models/blip) and the tiny pipeline
(tests/goldens/generate/pipeline), saved by PEFT and diffusers. Writes tests/goldens/lora/NAME/, each an adapter's folder
that names its base relative to itself, beside a golden.safetensors:
    input.*, output.*       tensors given to the model with its adapter and got from it
    loss, gradient.KEY      the mean square of the output, and its gradient with respect to lora_A and lora_B of KEY's
                            module, in the adapters that readback can train itself
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pathlib
import shutil

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


if __name__ == "__main__":
    blip("captioner", LoraConfig(r=4, lora_alpha=6, target_modules=[
        "query", "key", "value", "dense", "qkv", "projection", "fc1", "fc2"]), trained=True)
    blip("captioner-patterns", LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["query", "qkv", "fc1"], rank_pattern={"fc1": 2},
        alpha_pattern={r"crossattention\.self\.query": 12, r"^vision_model.*\.qkv": 3}), trained=False,
        dtype=torch.bfloat16)
    linear = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "time_emb_proj", "linear_1", "linear_2"]
    pipeline("generator", LoraConfig(r=3, lora_alpha=5, target_modules=linear), trained=True)
    pipeline("generator-convolutions", LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "proj_in", "conv1"]),
             trained=False, text_config=LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "fc1"]))
