"""The experiment of docs/UNIFIED.md: is the reconstruction term worth anything? Every arm, several seeds, one table.

    python tools/unified_table.py --output runs/table
    python tools/unified_table.py --output runs/table --splits validation --seeds 1 2 --arms lm diffusion unified \\
        unified:lm-weight=1:diffusion-weight=1                                       # how to choose a weight

An arm is a recipe of recipes/unified/, with flags of its own behind colons where it has any. Each is trained with each
seed by `readback finetune`, and what it trained is scored on the scenes of each split; "novel-pairs" are pairs of objects
that no training scene has. What is there already is not done again. Needs numpy, scipy and safetensors.

The last lines are Markdown. A cell has the mean over seeds and scenes, and behind the semicolon its difference from the
control (lm for captioners, diffusion or --generator-control for generators) of the same seeds and scenes, with 95 % intervals: bootstraps over
seeds and scenes for means over scenes, Student's t over seeds for BLEU-4 and the Fréchet distance, which are of whole
sets. A star says that the paired permutation test over scenes, or the paired t-test over seeds, has p < 0.05 after Holm's
correction for all arms of the column.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time
import tomllib

import numpy as np
import scipy.stats
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONTROL = {"captioner": "lm", "generator": "diffusion"}
RESAMPLES = 4000
# name: (file of the values, key, pairs of objects only, factor of what is shown)
PER_SCENE = {
    "captioner": {"all right, pairs %": ("captioner", "all", True, 100), "F1 of content %": ("captioner", "semantic", False, 100),
                  "CIDEr": ("captions", "CIDEr", False, 1)},
    "generator": {"all right, pairs %": ("generator", "all", True, 100), "F1 of content %": ("generator", "semantic", False, 100),
                  "CLIP distance": ("pictures", "CLIP", False, 1)},
}
PER_SET = {"captioner": "BLEU-4", "generator": "Fréchet distance"}


def readback(arguments, *flags, output=None):
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads))
    result = subprocess.run([str(arguments.readback), *map(str, flags)], cwd=ROOT, env=environment, capture_output=True,
                            text=True)
    if result.returncode != 0:
        sys.exit(f"readback {' '.join(map(str, flags))} failed:\n{result.stderr[-2000:]}")
    if output:
        output.write_text(result.stdout)


def recipe_and_flags(arm):
    recipe, *flags = arm.split(":")
    return ROOT / f"recipes/unified/{recipe}.toml", flags


def trained_models(arm):
    """What an arm trains; the controls leave the other model as it was."""
    if arm == "untuned":
        return list(CONTROL)
    recipe, flags = recipe_and_flags(arm)
    options = tomllib.loads(recipe.read_text()) | dict(flag.split("=", 1) for flag in flags)
    by_losses = {"lm": ["captioner"], "diffusion": ["generator"]}.get(options.get("losses"), CONTROL)
    return [model for model in by_losses if options.get(f"train-{model}") != "none"]


def train(arguments, arm, seed):
    """The folder of the trained models; the starting models themselves are the arm "untuned"."""
    folder = arguments.output / f"{arm}-{seed}"
    done = folder / "seconds.json"
    if arm == "untuned" or done.exists():
        return folder
    recipe, flags = recipe_and_flags(arm)
    start = time.time()
    readback(arguments, "finetune", recipe, *(f"--{flag}" for flag in flags), "--captioner",
             arguments.captioner, "--generator", arguments.generator, "--seed", seed, "--output", folder)
    done.write_text(json.dumps(time.time() - start))
    return folder


def score(arguments, arm, folder, split):
    result, real = folder / split, arguments.output / "scenes" / split
    if (result / "done").exists():
        return
    result.mkdir(parents=True, exist_ok=True)
    models = trained_models(arm)
    chosen = []
    for model in CONTROL:
        start = getattr(arguments, model)
        chosen += ([f"--{model}", start if arm == "untuned" else folder / model] if model in models else [f"--no-{model}"])
    readback(arguments, "score", "scenes", *chosen, "--split", split, "--limit", arguments.limit, "--num-inference-steps",
             12, "--output", result)
    if "captioner" in models:
        readback(arguments, "score", "captions", "--predictions", result / "captioner.jsonl", "--references",
                 real / "captions.jsonl", "--metrics", "bleu", "cider", "--per-sample", result / "captions.jsonl", "--format",
                 "json", output=result / "captions.json")
    if "generator" in models:
        readback(arguments, "score", "images", "--generated", result / "pictures", "--real", real, "--metrics", "clip",
                 "--clip", "emoji-scenes/clip", "--per-sample", result / "pictures.jsonl")
        readback(arguments, "embed", "--images", *sorted((result / "pictures").glob("*.png")), "--output",
                 result / "embeds.safetensors")
    (result / "done").touch()


def prepare(arguments, split):
    real = arguments.output / "scenes" / split
    if (real / "embeds.safetensors").exists():
        return
    readback(arguments, "dataset", "export", "emoji-scenes", "--split", split, "--limit", arguments.limit, "--output", real)
    readback(arguments, "embed", "--images", *sorted(real.glob("*.png")), "--output", real / "embeds.safetensors")


def frechet(a, b):
    """Fréchet distance of two sets of vectors taken as normal distributions, as FID has it of Inception's."""
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = symmetric_root(covariances[0])
    cross = symmetric_root(root @ covariances[1] @ root)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * cross))


def symmetric_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


class Results:
    """What score() has written, by arm and split; the first axis is the seed's."""

    def __init__(self, arguments):
        self.arguments = arguments

    def folders(self, arm):
        seeds = [0] if arm == "untuned" else self.arguments.seeds
        return [self.arguments.output / f"{arm}-{seed}" for seed in seeds]

    def per_scene(self, arm, split, model, name):
        file, key, pairs_only, factor = PER_SCENE[model][name]
        rows = []
        for folder in self.folders(arm):
            kinds = [json.loads(line)["scenes"] for line in open(folder / split / f"{model}.jsonl")]
            lines = [json.loads(line) for line in open(folder / split / f"{file}.jsonl")]
            rows.append([factor * line[key] for line, kind in zip(lines, kinds, strict=True) if kind == "pair" or not pairs_only])
        return np.array(rows, dtype=float)

    def per_set(self, arm, split, model):
        folders = [folder / split for folder in self.folders(arm)]
        if model == "captioner":
            return np.array([json.load(open(f / "captions.json"))["metrics"]["BLEU-4"]["value"] for f in folders])
        vectors = [load_file(f / "embeds.safetensors")["image_pooler_output"].astype(float)
                   for f in [self.arguments.output / "scenes" / split, *folders]]
        return np.array([frechet(x, vectors[0]) for x in vectors[1:]])

    def seconds(self, arm):
        return np.mean([json.loads((folder / "seconds.json").read_text()) for folder in self.folders(arm)])


def bootstrap(values):
    """95 % interval of the mean of [seeds, scenes] when both are drawn again."""
    random = np.random.default_rng(0)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        seeds, scenes = (random.integers(0, n, n) for n in values.shape)
        means[i] = values[seeds].mean(0)[scenes].mean()
    return np.quantile(means, [0.025, 0.975])


def student(values):
    """95 % interval of the mean of [seeds]; none of one seed."""
    if len(values) < 2:
        return None
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return values.mean() - half, values.mean() + half


def t_test_p(differences):
    return scipy.stats.ttest_1samp(differences, 0).pvalue if len(differences) > 1 else 1.0


def permutation_p(differences):
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (10000, len(differences)))
    return (1 + (np.abs((signs * differences).mean(1)) >= abs(differences.mean()) - 1e-12).sum()) / 10001


def holm(p_values):
    """Adjusted for all of them, as a dictionary of the same keys."""
    adjusted, highest = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = highest
    return adjusted


def column(arms, control, values_of, interval, p_of, digits):
    """A cell for each arm."""
    values = {arm: values_of(arm) for arm in arms}
    differences = {arm: values[arm] - values[control] for arm in arms if arm not in ("untuned", control)}
    p = holm({arm: p_of(difference) for arm, difference in differences.items()})
    cells = {}
    for arm in arms:
        cells[arm] = f"{values[arm].mean():.{digits}f}"
        shown, sign = (differences[arm], "+") if arm in differences else (values[arm], "")
        if sign:
            cells[arm] += f"; {shown.mean():+.{digits}f}"
        if (bounds := interval(shown)) is not None:
            cells[arm] += " [" + ", ".join(f"{bound:{sign}.{digits}f}" for bound in bounds) + "]"
        cells[arm] += "\\*" if arm in p and p[arm] < 0.05 else ""
    return cells


def table(results, arms, split, model):
    arms, control = [arm for arm in arms if model in trained_models(arm)], CONTROL[model]
    columns = {}
    for name, (_, _, _, factor) in PER_SCENE[model].items():
        columns[name] = column(arms, control, lambda arm: results.per_scene(arm, split, model, name), bootstrap,
                               lambda difference: permutation_p(difference.mean(0)), 1 if factor == 100 else 3)
    columns[PER_SET[model]] = column(arms, control, lambda arm: results.per_set(arm, split, model), student,
                                     t_test_p, 3)
    print(f"\n**{model.capitalize()}, {split}**\n\n| arm | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
    for arm in arms:
        print(f"| {arm} | {' | '.join(cells[arm] for cells in columns.values())} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    for model in CONTROL:
        parser.add_argument(f"--{model}", type=pathlib.Path, default=ROOT / "assets/emoji-scenes" / f"noisy-{model}",
                            help="to start from")
    parser.add_argument("--generator-control", default=CONTROL["generator"],
                        help="the arm that generators are compared with")
    recipes = sorted(path.stem for path in (ROOT / "recipes/unified").glob("*.toml"))
    parser.add_argument("--arms", nargs="+", default=recipes)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--splits", nargs="+", default=["test", "novel-pairs"])
    parser.add_argument("--limit", type=int, default=400, help="scenes of a split")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--readback", type=pathlib.Path, default=ROOT / "build/release/bin/readback")
    arguments = parser.parse_args()
    for name in ("captioner", "generator", "output", "readback"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    CONTROL["generator"] = arguments.generator_control
    compared = [model for model in CONTROL if any(model in trained_models(arm) for arm in arguments.arms)]
    for model in compared:
        if CONTROL[model] not in arguments.arms:
            parser.error(f"--arms needs the control {CONTROL[model]}")
    for split in arguments.splits:
        prepare(arguments, split)

    def one(arm, seed):
        folder = train(arguments, arm, seed)
        for split in arguments.splits:
            score(arguments, arm, folder, split)
        print(f"{arm} {seed} done", file=sys.stderr, flush=True)

    work = [("untuned", 0)] + [(arm, seed) for seed in arguments.seeds for arm in arguments.arms]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for future in [pool.submit(one, *item) for item in work]:
            future.result()

    results = Results(arguments)
    for split in arguments.splits:
        for model in compared:
            table(results, ["untuned", *arguments.arms], split, model)
    print("\n| arm | seconds of training |\n|---|---|")
    for arm in arguments.arms:
        print(f"| {arm} | {results.seconds(arm):.0f} |")


if __name__ == "__main__":
    main()
