"""The shipped small world in transformers and diffusers: the same captions, pictures and vectors as readback's?

    python tools/reference/small_world.py [--readback build/release/bin/readback] [--scenes 64]

Captions (beam 3) of BLIP and of the Flamingo, without and with examples, must be equal token for token; pictures of
Stable Diffusion and of the DALL-E from the same noise within a mean absolute difference of 1/255; CLIP vectors within
1e-4. Exits with status 1 when anything disagrees.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import karlo
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (AutoTokenizer, BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil, CLIPModel,
                          CLIPTokenizer, IdeficsForVisionText2Text, IdeficsProcessor)
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

ASSETS = pathlib.Path(__file__).resolve().parents[2] / "assets" / "emoji-scenes"
STEPS, GUIDANCE = 25, 3.0


def run(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{program} {arguments[0]} failed: {result.stderr}")
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def export_scenes(program, count, folder, split="validation"):
    """Paths of pictures, and a caption of each."""
    run(program, "dataset", "export", "emoji-scenes", "--split", split, "--limit", count, "--output", folder)
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    return [folder / line["image"] for line in lines], [line["captions"][0] for line in lines]


def compare_captions(program, scenes, repository, files, model):
    """`repository` in readback and `model` in transformers, whose tokenizer and preprocessing are in `files`: how many
    captions differ, and readback's captions."""
    tokenizer = BertTokenizer.from_pretrained(files)
    processor = BlipImageProcessorPil.from_pretrained(files)
    pixels = processor([Image.open(scene).convert("RGB") for scene in scenes], return_tensors="pt")["pixel_values"]
    prompt = tokenizer(["a picture of "] * len(scenes), return_tensors="pt")["input_ids"]
    expected = model.generate(pixel_values=pixels, input_ids=prompt, num_beams=3, max_length=20, min_length=5)
    lines = run(program, "caption", "--captioner", repository, "--dtype", "float32", "--format", "jsonl", *scenes)
    assert len(lines) == len(scenes)
    different, captions = 0, []
    for row, line in zip(expected.tolist(), lines):
        ids = line["captions"][0]["token_ids"]
        ended = row.index(model.config.text_config.sep_token_id) + 1  # what follows pads the batch
        different += ids != row[:ended]
        captions.append(line["captions"][0]["text"])
    print(f"captions: {different} of {len(scenes)} differ")
    return different, captions


def compare_pictures(program, prompts, folder, repository, pipeline):
    """`repository` in readback and `pipeline` in diffusers, both from the same initial latents: the largest mean absolute
    difference of a picture, and readback's pictures."""
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(len(prompts), 4, 8, 8, generator=torch.Generator().manual_seed(0))
    save_file({"latents": latents}, folder / "latents.safetensors")
    (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
    expected = pipeline(prompts, latents=latents, num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="np")
    lines = run(program, "generate", "--generator", repository, "--dtype", "float32", "--prompts",
                folder / "prompts.txt", "--latents", folder / "latents.safetensors", "--num-inference-steps", STEPS,
                "--guidance-scale", GUIDANCE, "--output", folder / "pictures", "--format", "jsonl")
    assert len(lines) == len(prompts)
    worst, pictures = 0.0, []
    for image, line in zip(expected.images, lines):
        pictures.append(np.asarray(Image.open(line["file"]), dtype=np.float64))
        worst = max(worst, np.abs(pictures[-1] - np.round(image * 255)).mean())
    print(f"pictures: largest mean absolute difference {worst:.4f} of 255")
    return worst, np.stack(pictures)


def flamingo_agrees(program, scenes, texts, folder):
    """Without and with two examples, which are the last scenes: how many captions differ."""
    model = IdeficsForVisionText2Text.from_pretrained(ASSETS / "flamingo", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "flamingo")
    write = IdeficsProcessor(IdeficsImageProcessorPil(image_size=32), tokenizer, image_size=32)
    end = tokenizer.convert_tokens_to_ids("<0x0A>")
    examples = list(zip(scenes[-2:], texts[-2:]))
    (folder / "shots.jsonl").write_text("".join(
        json.dumps({"image": str(picture), "caption": text}) + "\n" for picture, text in examples))
    agree = True
    for shots, flags in (([], []), (examples, ["--shots", folder / "shots.jsonl"])):
        lines = run(program, "caption", "--captioner", ASSETS / "flamingo", "--dtype", "float32", "--num-beams", 3,
                    "--max-new-tokens", 24, "--format", "jsonl", *flags, *scenes[:-2])
        assert len(lines) == len(scenes) - 2
        different = 0
        for scene, line in zip(scenes, lines):
            parts, before = [], ""
            for picture, text in shots:
                parts += ([before] if before else []) + [Image.open(picture).convert("RGB")]
                before = f"Caption: {text}\n"
            parts += ([before] if before else []) + [Image.open(scene).convert("RGB"), "Caption:"]
            inputs = write(text=[parts], add_end_of_utterance_token=False, return_tensors="pt")
            row = model.generate(**inputs, num_beams=3, max_new_tokens=24, eos_token_id=[end, 2])[0].tolist()
            said = tokenizer.decode(row[inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip()
            different += said != line["captions"][0]["text"]
        print(f"the Flamingo's captions with {len(shots)} examples: {different} of {len(lines)} differ")
        agree = agree and different == 0
    return agree


def dalle_agrees(program, prompts, folder):
    options = json.loads((ASSETS / "dalle" / "generation_config.json").read_text())
    names = {"num_inference_steps": "decoder_num_inference_steps", "guidance_scale": "decoder_guidance_scale"}
    expected = karlo.run(ASSETS / "dalle", {names.get(key, key): value for key, value in options.items()}, prompts,
                         seed=0, key=lambda i: (f"prompt-{i:05}", 0))["images"]
    lines = run(program, "generate", "--generator", ASSETS / "dalle", "--dtype", "float32", "--prompts",
                folder / "prompts.txt", "--output", folder / "dalle", "--format", "jsonl")
    assert len(lines) == len(prompts)
    worst = 0.0
    for image, line in zip(expected, lines):
        picture = np.asarray(Image.open(line["file"]), dtype=np.float64)
        worst = max(worst, np.abs(picture - ((image.permute(1, 2, 0).numpy() / 2 + 0.5) * 255).round()).mean())
    print(f"the DALL-E's pictures: largest mean absolute difference {worst:.4f} of 255")
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
        scenes, texts = export_scenes(options.readback, options.scenes, folder / "scenes")
        captioner, generator = ASSETS / "captioner", ASSETS / "generator"
        blip = BlipForConditionalGeneration.from_pretrained(captioner, dtype=torch.float32).eval()
        pipeline = StableDiffusionPipeline.from_pretrained(str(generator), dtype=torch.float32)
        results = [compare_captions(options.readback, scenes, captioner, captioner, blip)[0] == 0,
                   compare_pictures(options.readback, texts, folder, generator, pipeline)[0] < 1.0,
                   vectors_agree(options.readback, scenes, texts, folder),
                   flamingo_agrees(options.readback, scenes, texts, folder),
                   dalle_agrees(options.readback, texts, folder)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
