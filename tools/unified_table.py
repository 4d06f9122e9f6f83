"""The experiment of docs/UNIFIED.md: is the reconstruction term worth anything? Every arm, several seeds, one table.

    python tools/unified_table.py --captioner runs/noisy/captioner --generator runs/noisy/generator --output runs/unified

An arm is a recipe of recipes/unified/ (--arms: some of them). Each is trained with each seed by `readback finetune` and
scored on the test scenes and on pairs of objects that no training scene has. What is there already is not done again.
Needs numpy and safetensors. The last lines are Markdown: means over scenes and seeds with 95 % bootstrap intervals over
scenes, and against the control (lm for captioners, diffusion for generators) a paired permutation test over scenes.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[1]
SPLITS = {"test": "test", "novel-pairs": "novel pairs"}
CONTROL = {"captioner": "lm", "generator": "diffusion"}
RESAMPLES = 10000
# name: (file of the values, key, only pairs of objects, larger is better)
CAPTIONER = {"all right, pairs": ("captioner", "all", True, True), "F1 of content": ("captioner", "semantic", False, True),
             "CIDEr": ("captions", "CIDEr", False, True)}
GENERATOR = {"all right, pairs": ("generator", "all", True, True), "F1 of content": ("generator", "semantic", False, True),
             "CLIP distance": ("pictures", "CLIP", False, False)}


def readback(arguments, *flags, output=None):
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    result = subprocess.run([str(arguments.readback), *map(str, flags)], cwd=ROOT, env=environment, capture_output=True,
                            text=True)
    if result.returncode != 0:
        sys.exit(f"readback {' '.join(map(str, flags))} failed:\n{result.stderr[-2000:]}")
    if output:
        output.write_text(result.stdout)


def train(arguments, arm, seed):
    """The folder of the trained models; the starting models themselves are the arm "untuned"."""
    folder = arguments.output / f"{arm}-{seed}"
    done = folder / "seconds.json"
    if arm == "untuned" or done.exists():
        return folder
    start = time.time()
    readback(arguments, "finetune", ROOT / f"recipes/unified/{arm}.toml", "--captioner", arguments.captioner, "--generator",
             arguments.generator, "--seed", seed, "--output", folder)
    done.write_text(json.dumps(time.time() - start))
    return folder


def score(arguments, arm, folder, split):
    models = {"captioner": arguments.captioner, "generator": arguments.generator}
    if arm != "untuned":
        models = {name: folder / name for name in models}
    result, real = folder / split, arguments.output / "scenes" / split
    if (result / "done").exists():
        return
    result.mkdir(parents=True, exist_ok=True)
    readback(arguments, "score", "scenes", "--captioner", models["captioner"], "--generator", models["generator"], "--split",
             split, "--limit", arguments.limit, "--dtype", "float32", "--output", result)
    readback(arguments, "score", "captions", "--predictions", result / "captioner.jsonl", "--references",
             real / "captions.jsonl", "--metrics", "bleu", "cider", "--per-sample", result / "captions.jsonl", "--format",
             "json", output=result / "captions.json")
    readback(arguments, "score", "images", "--generated", result / "pictures", "--real", real, "--metrics", "clip", "--clip",
             "emoji-scenes/clip", "--per-sample", result / "pictures.jsonl")
    readback(arguments, "embed", "--images", *sorted((result / "pictures").glob("*.png")), "--output",
             result / "embeds.safetensors")
    (result / "done").touch()


def prepare(arguments, split):
    real = arguments.output / "scenes" / split
    if (real / "embeds.safetensors").exists():
        return
    command = [str(arguments.readback), "dataset", "export", "emoji-scenes", "--split", split, "--limit", str(arguments.limit),
               "--output", str(real)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    readback(arguments, "embed", "--images", *sorted(real.glob("*.png")), "--output", real / "embeds.safetensors")


def frechet(a, b):
    """Fréchet distance of two sets of vectors taken as normal distributions, as FID has it."""
    root_a = symmetric_root(np.cov(a, rowvar=False))
    cross = symmetric_root(root_a @ np.cov(b, rowvar=False) @ root_a)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * cross))


def symmetric_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


class Results:
    def __init__(self, arguments):
        self.arguments = arguments

    def folders(self, arm):
        seeds = [0] if arm == "untuned" else self.arguments.seeds
        return [self.arguments.output / f"{arm}-{seed}" for seed in seeds]

    def values(self, arm, split, column):
        """[seeds, scenes]"""
        file, key, pairs_only, _ = column
        rows = []
        for folder in self.folders(arm):
            kinds = [json.loads(line)["scenes"] for line in open(folder / split / "captioner.jsonl")]
            lines = [json.loads(line) for line in open(folder / split / f"{file}.jsonl")]
            rows.append([float(line[key]) for line, kind in zip(lines, kinds) if kind == "pair" or not pairs_only])
        return np.array(rows)

    def bleu(self, arm, split):
        return [json.load(open(folder / split / "captions.json"))["metrics"]["BLEU-4"]["value"] for folder in self.folders(arm)]

    def frechet(self, arm, split):
        real = load_file(self.arguments.output / "scenes" / split / "embeds.safetensors")["image_pooler_output"]
        return [frechet(load_file(folder / split / "embeds.safetensors")["image_pooler_output"].astype(np.float64),
                        real.astype(np.float64)) for folder in self.folders(arm)]

    def seconds(self, arm):
        return 0 if arm == "untuned" else float(np.mean([json.loads((f / "seconds.json").read_text()) for f in self.folders(arm)]))


def interval(values):
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    return np.quantile(values[draws].mean(1), [0.025, 0.975])


def permutation_p(differences):
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (RESAMPLES, len(differences)))
    return (1 + (np.abs((signs * differences).mean(1)) >= abs(differences.mean()) - 1e-12).sum()) / (1 + RESAMPLES)


def shown(value, name):
    return f"{100 * value:.1f}" if "right" in name or "F1" in name else f"{value:.3f}"


def cell(results, arm, split, name, column, control):
    values = results.values(arm, split, column)
    means = values.mean(0)
    low, high = interval(means)
    text = f"{shown(means.mean(), name)} [{shown(low, name)}, {shown(high, name)}]"
    if arm in ("untuned", control):
        return text
    difference = means - results.values(control, split, column).mean(0)
    p = permutation_p(difference)
    return f"{text}, {'+' if difference.mean() >= 0 else '−'}{shown(abs(difference.mean()), name)} (p {p:.3f})"


def table(results, arms, split, model, columns, extra_name, extra):
    print(f"\n**{model.capitalize()}, {SPLITS[split]}**\n")
    print("| arm | " + " | ".join(columns) + f" | {extra_name} |")
    print("|---" * (len(columns) + 2) + "|")
    for arm in arms:
        more = extra(arm, split)
        spread = f" ({min(more):.3f} … {max(more):.3f})" if len(more) > 1 else ""
        cells = [cell(results, arm, split, name, column, CONTROL[model]) for name, column in columns.items()]
        print(f"| {arm} | " + " | ".join(cells) + f" | {np.mean(more):.3f}{spread} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", type=pathlib.Path, required=True, help="the starting captioner")
    parser.add_argument("--generator", type=pathlib.Path, required=True, help="the starting generator")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--arms", nargs="+", default=sorted(p.stem for p in (ROOT / "recipes/unified").glob("*.toml")))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--limit", type=int, default=500, help="scenes of a split")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--readback", type=pathlib.Path, default=ROOT / "build/release/bin/readback")
    arguments = parser.parse_args()
    for name in ("captioner", "generator", "output", "readback"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    for split in SPLITS:
        prepare(arguments, split)
    arms = ["untuned"] + arguments.arms

    def one(arm, seed):
        folder = train(arguments, arm, seed)
        for split in SPLITS:
            score(arguments, arm, folder, split)
        print(f"{arm} {seed} done", file=sys.stderr, flush=True)

    work = [("untuned", 0)] + [(arm, seed) for seed in arguments.seeds for arm in arguments.arms]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for future in [pool.submit(one, *item) for item in work]:
            future.result()

    results = Results(arguments)
    captioners = [arm for arm in arms if arm != "diffusion"]
    generators = [arm for arm in arms if arm != "lm"]
    for split in SPLITS:
        table(results, captioners, split, "captioner", CAPTIONER, "BLEU-4", results.bleu)
        table(results, generators, split, "generator", GENERATOR, "Fréchet distance", results.frechet)
    print("\n| arm | seconds of training |\n|---|---|")
    for arm in arguments.arms:
        print(f"| {arm} | {results.seconds(arm):.0f} |")


if __name__ == "__main__":
    main()
