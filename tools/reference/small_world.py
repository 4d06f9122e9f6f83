"""The shipped small world in transformers and diffusers: the same captions, pictures and vectors as readback's?

    python tools/reference/small_world.py [--readback build/release/bin/readback] [--scenes 64]

Captions (beam 3) must be equal token for token, pictures from the same initial latents within a mean absolute
difference of 1/255, CLIP vectors within 1e-4. Exits with status 1 when anything disagrees.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil, CLIPModel, CLIPTokenizer

ASSETS = pathlib.Path(__file__).resolve().parents[2] / "assets" / "emoji-scenes"
STEPS, GUIDANCE = 25, 3.0


def run(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{program} {arguments[0]} failed: {result.stderr}")
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def captions_agree(program, scenes):
    model = BlipForConditionalGeneration.from_pretrained(ASSETS / "captioner", dtype=torch.float32).eval()
    tokenizer = BertTokenizer.from_pretrained(ASSETS / "captioner")
    processor = BlipImageProcessorPil.from_pretrained(ASSETS / "captioner")
    pixels = processor([Image.open(scene).convert("RGB") for scene in scenes], return_tensors="pt")["pixel_values"]
    prompt = tokenizer(["a picture of "] * len(scenes), return_tensors="pt")["input_ids"]
    expected = model.generate(pixels, input_ids=prompt, num_beams=3, max_length=20, min_length=5)
    lines = run(program, "caption", "--dtype", "float32", "--format", "jsonl", *scenes)
    different = 0
    for row, line in zip(expected.tolist(), lines):
        ids = line["captions"][0]["token_ids"]
        ended = row.index(model.config.text_config.sep_token_id) + 1  # what follows pads the batch
        different += ids != row[:ended]
    print(f"captions: {different} of {len(scenes)} differ")
    return different == 0


def pictures_agree(program, prompts, folder):
    pipeline = StableDiffusionPipeline.from_pretrained(ASSETS / "generator", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(len(prompts), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    save_file({"latents": latents}, folder / "latents.safetensors")
    (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
    expected = pipeline(prompts, latents=latents, num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="np")
    lines = run(program, "generate", "--dtype", "float32", "--prompts", folder / "prompts.txt", "--latents",
                folder / "latents.safetensors", "--num-inference-steps", STEPS, "--guidance-scale", GUIDANCE,
                "--output", folder / "pictures", "--format", "jsonl")
    worst = 0.0
    for image, line in zip(expected.images, lines):
        ours = np.asarray(Image.open(line["file"]), dtype=np.float64)
        worst = max(worst, np.abs(ours - np.round(image * 255)).mean())
    print(f"pictures: largest mean absolute difference {worst:.4f} of 255")
    return worst < 1.0


def vectors_agree(program, scenes, texts, folder):
    model = CLIPModel.from_pretrained(ASSETS / "clip", dtype=torch.float32).eval()
    tokens = CLIPTokenizer.from_pretrained(ASSETS / "clip")(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        text = model.text_projection(model.text_model(**tokens).pooler_output)
    run(program, "embed", "--dtype", "float32", "--texts", *texts, "--output", folder / "texts.safetensors")
    ours = load_file(folder / "texts.safetensors")["text_embeds"]
    error = ((ours - text).norm() / text.norm()).item()
    print(f"text vectors: relative difference {error:.1e}")
    return error < 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readback", default="build/release/bin/readback")
    parser.add_argument("--scenes", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run(options.readback, "dataset", "export", "emoji-scenes", "--limit", options.scenes, "--output", folder / "scenes")
        lines = [json.loads(line) for line in (folder / "scenes" / "captions.jsonl").read_text().splitlines()]
        scenes = [folder / "scenes" / line["image"] for line in lines]
        texts = [line["captions"][0] for line in lines]
        results = [captions_agree(options.readback, scenes), pictures_agree(options.readback, texts, folder),
                   vectors_agree(options.readback, scenes, texts, folder)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
