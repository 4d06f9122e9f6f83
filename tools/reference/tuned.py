"""What `readback finetune` saved, in transformers and diffusers with PEFT: the same captions and pictures?

    python tools/reference/tuned.py RUN… [--readback build/release/bin/readback] [--scenes 64]

RUN holds captioner/ and generator/, each a whole repository or an adapter, whose base is found as readback does when it
is started in the same folder. Captions (beam 3) must be equal token for token, pictures from the same initial latents
within a mean absolute difference of 0.05 of 255, far less than a few updates change. Says how much adapters changed.
Exits with status 1 when anything disagrees.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from peft import PeftModel
from safetensors import safe_open
from small_world import ASSETS, compare_captions, export_scenes, compare_pictures
from transformers import BlipForConditionalGeneration


def find(base):
    return str(ASSETS.parent / base) if base.startswith("emoji-scenes/") else base


def captioner(folder):
    """The model, the folder of its tokenizer, and the base of an adapter."""
    if not (folder / "adapter_config.json").exists():
        return BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval(), folder, None
    base = find(json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"])
    model = BlipForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder).eval(), base, base


def generator(folder):
    weights = folder / "pytorch_lora_weights.safetensors"
    if not weights.exists():
        return StableDiffusionPipeline.from_pretrained(str(folder), dtype=torch.float32), None
    with safe_open(weights, "pt") as file:
        base = find(json.loads(file.metadata()["lora_adapter_metadata"])["unet.base_model_name_or_path"])
    pipeline = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32, low_cpu_mem_usage=False)
    pipeline.load_lora_weights(str(folder))
    return pipeline, base


def agrees(program, run, scenes, texts, folder):
    blip, files, captioner_base = captioner(run / "captioner")
    pipeline, generator_base = generator(run / "generator")
    print(f"{run}: captioner {'adapter' if captioner_base else 'whole'}, "
          f"generator {'adapter' if generator_base else 'whole'}")
    different, captions = compare_captions(program, scenes, run / "captioner", files, blip)
    worst, pictures = compare_pictures(program, texts, folder, run / "generator", pipeline)
    if captioner_base:
        print("  the base")
        blip, _, _ = captioner(pathlib.Path(captioner_base))
        before = compare_captions(program, scenes, captioner_base, files, blip)[1]
        print(f"  tuning changed {sum(a != b for a, b in zip(captions, before))} of {len(scenes)} captions")
    if generator_base:
        pipeline, _ = generator(pathlib.Path(generator_base))
        before = compare_pictures(program, texts, folder, generator_base, pipeline)[1]
        print(f"  tuning changed pictures by {np.abs(pictures - before).mean():.2f} of 255")
    return different == 0 and worst < 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--readback", default="build/release/bin/readback")
    parser.add_argument("--scenes", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        scenes, texts = export_scenes(options.readback, options.scenes, folder / "scenes")
        results = [agrees(options.readback, run, scenes, texts, folder) for run in options.runs]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
