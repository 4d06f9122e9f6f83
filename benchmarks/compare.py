"""readback against transformers and diffusers: same weights, dtype, threads and machine, in one run.

    python tools/reference/full_size.py write FOLDER          # BLIP-base and Stable Diffusion 1.4, random weights, 5.3 GB
    python benchmarks/compare.py [--full-size FOLDER] [--only TEXT] [--rounds 3] [--dtypes float32 bfloat16]

Each case is timed in turns (reference, readback, reference, …) and the median of the rounds' ratios is printed. What
loading costs is left out on both sides: the reference is timed inside its process after a warm-up; readback says for
each output how long it took, and the first of a process is left out. Where the two do not do the same work for one
output, as the text encoder before the first denoising step, less and more work are timed and the difference counts.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
THREADS = os.cpu_count()


def run(program, *arguments):
    """What readback prints, and how many seconds the process took."""
    start = time.perf_counter()
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"readback {arguments[0]} failed: {result.stderr}")
    return result.stdout, time.perf_counter() - start


def seconds_each(program, *arguments):
    output, _ = run(program, *arguments, "--format", "jsonl")
    return [json.loads(line)["seconds"] for line in output.splitlines()]


class Captions:
    """A caption of one image by BLIP-base: beam 3, or ten nucleus samples."""

    def __init__(self, repository, dtype, sampling):
        self.repository, self.dtype, self.sampling = repository, dtype, sampling
        self.name = f"BLIP-base {'nucleus × 10' if sampling else 'beam 3'}, an image"

    def prepare(self, folder):
        import numpy as np
        import torch
        from PIL import Image
        from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

        self.images = []
        for i in range(6):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            self.images.append(folder / f"{i}.png")
            Image.fromarray(pixels).resize((480, 360), Image.Resampling.BICUBIC).save(self.images[-1])
        self.model = BlipForConditionalGeneration.from_pretrained(self.repository, dtype=getattr(torch, self.dtype)).eval()
        self.processor = BlipImageProcessorPil.from_pretrained(self.repository)
        self.prompt = BertTokenizer.from_pretrained(self.repository)("a picture of ", return_tensors="pt")["input_ids"]
        self.options = dict(max_length=20, min_length=20)
        if self.sampling:
            self.options.update(do_sample=True, top_p=0.9, top_k=0, num_return_sequences=10)
        else:
            self.options.update(num_beams=3)

    def reference(self):
        from PIL import Image

        start = time.perf_counter()
        for path in self.images[1:]:
            pixels = self.processor(Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
            self.model.generate(pixels.to(self.model.dtype), input_ids=self.prompt, **self.options)
        return (time.perf_counter() - start) / (len(self.images) - 1)

    def readback(self, program):
        common = ["caption", "--captioner", self.repository, "--dtype", self.dtype, "--threads", THREADS,
                  "--batch-size", 1, "--min-length", 20]
        if self.sampling:
            common += ["--do-sample", "--num-captions", 10]
        return statistics.mean(seconds_each(program, *common, *self.images)[1:])


class DenoisingStep:
    """One denoising step of Stable Diffusion 1.4: two forwards of the UNet, with guidance."""

    STEPS = (2, 6)

    def __init__(self, repository, dtype, size):
        self.repository, self.dtype, self.size = repository, dtype, size
        self.name = f"Stable Diffusion 1.4 step at {size} px"

    def prepare(self, folder):
        import torch
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        self.folder = folder
        self.pipeline = StableDiffusionPipeline.from_pretrained(self.repository, torch_dtype=getattr(torch, self.dtype))
        self.pipeline.scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.set_progress_bar_config(disable=True)

    def reference(self):
        times = []
        for steps in self.STEPS:
            start = time.perf_counter()
            self.pipeline("a boat", height=self.size, width=self.size, num_inference_steps=steps, output_type="latent")
            times.append(time.perf_counter() - start)
        return (times[1] - times[0]) / (self.STEPS[1] - self.STEPS[0])

    def readback(self, program):
        less, more = (
            seconds_each(program, "generate", "--generator", self.repository, "--dtype", self.dtype, "--threads", THREADS,
                         "--prompt", "a dog", "a boat", "--height", self.size, "--width", self.size, "--scheduler", "ddim",
                         "--num-inference-steps", steps, "--output-type", "latent", "--batch-size", 1,
                         "--output", self.folder / "latents")[1]
            for steps in self.STEPS)
        return (more - less) / (self.STEPS[1] - self.STEPS[0])


class RoundTrips:
    """Picture → words → picture on the small world: 8 captions a scene, each drawn again in 20 steps.

    The reference draws the captions of a scene as one batch, or one call a caption as scripts usually do. readback also
    measures the CLIP distance of every picture, in the same time.
    """

    SCENES = (4, 20)
    CANDIDATES, STEPS = 8, 20

    def __init__(self, dtype, batched):
        self.dtype, self.batched = dtype, batched
        self.name = f"small-world round trip, reference {'in batches of 8' if batched else 'one by one'}"

    def prepare(self, folder):
        import torch
        from diffusers import StableDiffusionPipeline
        from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

        assets = ROOT / "assets" / "emoji-scenes"
        dtype = getattr(torch, self.dtype)
        self.folder, self.count = folder, 0
        self.captioner = BlipForConditionalGeneration.from_pretrained(assets / "captioner", dtype=dtype).eval()
        self.tokenizer = BertTokenizer.from_pretrained(assets / "captioner")
        self.processor = BlipImageProcessorPil.from_pretrained(assets / "captioner")
        self.generator = StableDiffusionPipeline.from_pretrained(assets / "generator", torch_dtype=dtype)
        self.generator.set_progress_bar_config(disable=True)

    def reference(self):
        from PIL import Image

        scenes = sorted((self.folder / "scenes").glob("*.png"))[:4]
        prompt = self.tokenizer("a picture of ", return_tensors="pt")["input_ids"]
        start = time.perf_counter()
        for scene in scenes:
            pixels = self.processor(Image.open(scene).convert("RGB"), return_tensors="pt")["pixel_values"]
            ids = self.captioner.generate(pixels.to(self.captioner.dtype), input_ids=prompt, do_sample=True, top_p=0.9, top_k=0,
                                          num_return_sequences=self.CANDIDATES, max_length=20, min_length=5)
            texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
            texts = [text.removeprefix("a picture of ") for text in texts]
            for prompts in [texts] if self.batched else texts:
                self.generator(prompts, num_inference_steps=self.STEPS)
        return (time.perf_counter() - start) / len(scenes) / self.CANDIDATES

    def readback(self, program):
        run(program, "dataset", "export", "emoji-scenes", "--limit", self.SCENES[1], "--output", self.folder / "scenes")
        self.count += 1
        less, more = (
            run(program, "run", "emoji-scenes", "--limit", scenes, "--directions", "i2t2i", "--dtype", self.dtype,
                    "--threads", THREADS, "--num-candidates", self.CANDIDATES, "--num-inference-steps", self.STEPS,
                    "--metrics", "clip-image", "--output", self.folder / f"run-{self.count}-{scenes}")[1]
            for scenes in self.SCENES)
        return (more - less) / (self.SCENES[1] - self.SCENES[0]) / self.CANDIDATES


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readback", default=ROOT / "build/release/bin/readback", type=pathlib.Path)
    parser.add_argument("--full-size", type=pathlib.Path, help="folder that full_size.py wrote; without it only the small world")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    options = parser.parse_args()

    import torch

    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    print("| case | dtype | reference | readback | ratio |\n|---|---|---|---|---|")
    for dtype in options.dtypes:
        cases = [RoundTrips(dtype, batched) for batched in (True, False)]
        if options.full_size:
            blip, diffusion = options.full_size / "blip-base", options.full_size / "stable-diffusion-1-4"
            cases += [Captions(blip, dtype, sampling) for sampling in (False, True)]
            cases += [DenoisingStep(diffusion, dtype, size) for size in (256, 512)]
        for case in (case for case in cases if options.only in case.name):
            with tempfile.TemporaryDirectory() as name:
                case.prepare(pathlib.Path(name))
                case.readback(options.readback)  # warm-up of the file cache, and what the reference reads
                case.reference()
                rounds = [(case.reference(), case.readback(options.readback)) for _ in range(options.rounds)]
            theirs, ours = (statistics.median(times) for times in zip(*rounds))
            ratio = statistics.median(a / b for a, b in rounds)
            print(f"| {case.name} | {dtype} | {theirs:.3f} s | {ours:.3f} s | {ratio:.2f} × |", flush=True)


if __name__ == "__main__":
    main()
