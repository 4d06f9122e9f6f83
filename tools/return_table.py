"""The experiment of docs/RETURN.md: what can be learned from what returned? Every arm, one table.

    python tools/return_table.py --output runs/return                # hours; what is there already is not done again
    python tools/return_table.py --output runs/return --only centre  # three seeds of the centre and its controls
    python tools/return_table.py --output runs/return --table        # what there is so far
    python tools/return_table.py --output runs/quick --quick         # under an hour: a fifth of everything, one seed

Collections are runs of `readback run`: texts drawn and read again, pictures captioned and drawn again. Arms learn from
them by `readback finetune` with recipes/return/ and flags of their own, so that all arms of a seed see the same candidates.
Supervised arms learn from clean pairs by recipes/unified/lm.toml and diffusion.toml, for the number of updates that is best
on validation. What each arm trained is scored on scenes whose pairs of objects no training scene has. Needs numpy and scipy.

The last lines are Markdown. A cell has the mean over seeds and scenes in percent with its 95 % bootstrap interval over both;
differences are paired by seed and scene.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import pathlib
import sqlite3
import sys
import threading
import time

import numpy as np
from unified_table import ROOT, bootstrap, readback

MODELS = ["captioner", "generator"]
NOISY = {model: f"emoji-scenes/noisy-{model}" for model in MODELS}
# Of supervised arms; the best on validation is taken.
CLEAN_STEPS = {"captioner": [100, 200, 400, 1000, 2000, 4000], "generator": [100, 200, 400, 1000, 2000]}
STEPS = {"captioner": 1000, "generator": 2000}  # of all others, but Diffusion-DPO, whose updates cost three times as much
ROUNDS = 4
ALL = [1, 2, 3]
DRAW = ["--num-inference-steps", 10, "--guidance-scale", 3, "--reading-num-beams", 1]


@dataclasses.dataclass
class Collection:
    direction: str
    items: int = 5000
    candidates: int = 8
    models: dict = dataclasses.field(default_factory=dict)  # in place of the noisy ones


COLLECTIONS = {
    "texts": Collection("t2i2t"),
    "pictures": Collection("i2t2i"),
    "texts, 16": Collection("t2i2t", candidates=16),
    "texts, 20000": Collection("t2i2t", items=20000),
    "texts, perfect reader": Collection("t2i2t", models={"captioner": "emoji-scenes/captioner"}),
    "texts, perfect drawer": Collection("t2i2t", models={"generator": "emoji-scenes/generator"}),
    "pictures, perfect drawer": Collection("i2t2i", models={"generator": "emoji-scenes/generator"}),
}
METRICS = {"t2i2t": ["text-probability", "cider", "bleu-4", "rouge-l", "clip-text", "clipscore", "oracle-image"],
           "i2t2i": ["denoising-error", "psnr", "ssim", "clip-image", "clipscore", "oracle-text"]}
RETURN = {"t2i2t": "text-probability", "i2t2i": "denoising-error"}  # by what the return's choice is made


@dataclasses.dataclass
class Arm:
    model: str
    name: str
    group: str  # "centre" (three seeds), or what is varied
    collection: str = None
    flags: list = dataclasses.field(default_factory=list)
    clean: int = 0           # pairs that it learns from besides
    supervised: bool = False  # from these alone
    steps: int = 0           # 0: STEPS
    round: int = 0           # of one learning in rounds, which collects anew with the models of the round before

    @property
    def seeds(self):
        return ALL if self.group == "centre" else ALL[:1]

    @property
    def folder(self):
        return "".join(c if c.isalnum() or c in "-_" else "" for c in f"{self.model}-{self.name}".replace(" ", "_"))


def arms():
    """Every arm but the untuned models."""
    texts = ["--text-cycle-by"]
    pictures = ["--captioner-source", "own", "--image-cycle-by"]
    dpo = ["--captioner-method", "dpo", "--captioner-learning-rate", "2e-5"]
    grpo = ["--captioner-method", "grpo", "--captioner-learning-rate", "1e-4"]
    diffusion_dpo = ["--generator-method", "dpo", "--learning-rate", "2e-5"]
    made = []

    def add(model, name, group, *rest, **fields):
        made.append(Arm(model, name, group, *rest, **fields))

    for model in MODELS:
        add(model, "supervised, 500 pairs", "centre", clean=500, supervised=True)
        add(model, "supervised, 5000 pairs", "clean pairs", clean=5000, supervised=True)
        for by, what in [("random", "random"), ("likelihood", "the likeliest"), ("clipscore", "CLIPScore's choice"),
                         (RETURN["t2i2t"], "the return's choice"), ("oracle-image", "the oracle's choice")]:
            add(model, f"texts: {what}", "centre", "texts", texts + [by])
        add(model, "texts: the return's choice, and 500 pairs", "centre", "texts", texts + [RETURN["t2i2t"]], clean=500)
        add(model, "texts: random, and 500 pairs", "clean pairs", "texts", texts + ["random"], clean=500)
        add(model, "texts: the return's choice, and 5000 pairs", "clean pairs", "texts", texts + [RETURN["t2i2t"]], clean=5000)
        for n in (2, 16):
            add(model, f"texts: N = {n}", "candidates", "texts, 16", texts + [RETURN["t2i2t"], "--text-cycle-candidates", n])
        for n in (1000, 20000):
            add(model, f"texts: {n} items", "items", "texts, 20000", texts + [RETURN["t2i2t"], "--text-cycle-samples", n])
        add(model, "texts: the return's choice, where it is −0.3 or more", "distance", "texts",
            texts + [RETURN["t2i2t"], "--text-cycle-accept=-0.3"])
        for by in ("cider", "bleu-4", "rouge-l", "clip-text", "text-probability cider"):
            add(model, f"texts: by {by}", "distance", "texts", texts + by.split())
        for r in range(1, ROUNDS + 1):
            add(model, f"texts: round {r}, both learn", "rounds", "texts", round=r)
    for by, what in [("random", "random"), ("likelihood", "the likeliest"), ("clipscore", "CLIPScore's choice"),
                     (RETURN["i2t2i"], "the return's choice"), ("oracle-text", "the oracle's choice")]:
        add("captioner", f"pictures: {what}", "centre", "pictures", pictures + [by])
    add("captioner", "pictures: the return's choice, DPO", "centre", "pictures", pictures + [RETURN["i2t2i"], *dpo])
    add("captioner", "pictures: the return's choice, GRPO", "centre", "pictures", pictures + [RETURN["i2t2i"], *grpo])
    add("captioner", "pictures: the oracle's choice, DPO", "centre", "pictures", pictures + ["oracle-text", *dpo])
    for by in ("psnr", "ssim", "clip-image", "denoising-error likelihood"):
        add("captioner", f"pictures: by {by}, DPO", "distance", "pictures", pictures + by.split() + dpo)
    add("captioner", "pictures: perfect drawer, DPO", "partner", "pictures, perfect drawer",
        pictures + [RETURN["i2t2i"], *dpo])
    add("captioner", "texts: perfect drawer", "partner", "texts, perfect drawer", texts + [RETURN["t2i2t"]])
    add("generator", "texts: the return's choice, DPO", "method", "texts", texts + [RETURN["t2i2t"], *diffusion_dpo],
        steps=1000)
    add("generator", "texts: the oracle's choice, DPO", "method", "texts", texts + ["oracle-image", *diffusion_dpo],
        steps=1000)
    add("generator", "texts: weighted by the return", "distance", "texts",
        texts + [RETURN["t2i2t"], "--sft-temperature", 0.5])
    add("generator", "texts: perfect reader", "partner", "texts, perfect reader", texts + [RETURN["t2i2t"]])
    return made


class Experiment:
    def __init__(self, arguments):
        self.arguments, self.output = arguments, arguments.output
        self.learning_in_rounds = threading.Lock()

    def collect(self, name, seed):
        """The run's folder."""
        folder = self.output / "collections" / f"{name}-{seed}".replace(" ", "_").replace(",", "")
        done = folder / "seconds.json"
        if done.exists():
            return folder
        what, start = COLLECTIONS[name], time.time()
        first = 100 if what.direction == "i2t2i" else 200  # other scenes for pictures than for texts
        models = [part for model in MODELS for part in (f"--{model}", what.models.get(model, NOISY[model]))]
        metrics = METRICS[what.direction] + (["sbert-text"] if what.direction == "t2i2t" and self.arguments.sbert else [])
        readback(self.with_threads(2), "run", "emoji-scenes", "--split", "train", "--dataset-seed", first + seed, "--limit",
                 what.items // self.arguments.shrink, "--directions", what.direction, "--num-candidates", what.candidates,
                 *models, *DRAW, "--dtype", "bfloat16", "--batch-size", 128, "--seed", seed, "--metrics", *metrics,
                 *(["--sbert", self.arguments.sbert] if "sbert-text" in metrics else []), "--output", folder)
        done.write_text(json.dumps(time.time() - start))
        print(f"{name} {seed} collected", file=sys.stderr, flush=True)
        return folder

    def with_threads(self, threads):
        return argparse.Namespace(**vars(self.arguments) | {"threads": threads})

    def train_in_rounds(self, seed):
        """One learning, whose rounds are arms: captioner and generator learn from the texts' best pictures, and the next
        round's pictures are drawn and read by what they became."""
        folder = self.output / "rounds" / str(seed)
        done = folder / "seconds.json"
        with self.learning_in_rounds:
            if done.exists():
                return folder
            start = time.time()
            readback(self.arguments, "finetune", ROOT / "recipes/return/generator.toml", "--train-captioner", "all",
                     "--captioner-method", "sft", "--captioner-source", "other", "--captioner-learning-rate", "5e-4",
                     "--texts-dataset-seed", 200 + seed, "--texts-limit", 5000 // self.arguments.shrink, "--rounds",
                     ROUNDS, "--steps", STEPS["generator"] // self.arguments.shrink, "--seed", seed, "--output", folder)
            done.write_text(json.dumps((time.time() - start) / ROUNDS))
        return folder

    def train(self, arm, seed, steps=None):
        if arm.round:
            return self.train_in_rounds(seed) / "rounds" / str(arm.round) / "trained"
        folder = self.output / "trained" / (f"{arm.folder}-{seed}" + (f"-{steps}" if steps else ""))
        done = folder / "seconds.json"
        if done.exists():
            return folder
        pairs = ["--dataset", "emoji-scenes", "--samples", max(1, arm.clean // self.arguments.shrink), "--captions", "first"]
        if arm.supervised:
            recipe = ROOT / f"recipes/unified/{'lm' if arm.model == 'captioner' else 'diffusion'}.toml"
            flags = [*pairs, "--batch-size", 32, "--accumulation", 1, "--steps", steps]
        else:
            recipe = ROOT / f"recipes/return/{arm.model}.toml"
            cycle = "text" if COLLECTIONS[arm.collection].direction == "t2i2t" else "image"
            flags = [f"--{cycle}-cycle-run", self.collect(arm.collection, seed), *arm.flags, *(pairs if arm.clean else []),
                     "--steps", (arm.steps or STEPS[arm.model]) // self.arguments.shrink]
        start = time.time()
        readback(self.arguments, "finetune", recipe, *flags, "--seed", seed, "--output", folder)
        done.write_text(json.dumps(time.time() - start))
        return folder

    def score(self, model, repository, result, split, limit):
        """Writes every scene's accuracy; the mean share of pairs that are all right."""
        lines = result / f"{model}.jsonl"
        if not lines.exists():
            other = MODELS[1 - MODELS.index(model)]
            readback(self.arguments, "score", "scenes", f"--{model}", repository, f"--no-{other}", "--split", split, "--limit",
                     limit, "--num-inference-steps", 12, "--dtype", "bfloat16", "--output", result)
        return np.mean([json.loads(line)["all"] for line in open(lines) if '"pair"' in line])

    def one(self, arm, seed):
        if arm.supervised:
            best = max(CLEAN_STEPS[arm.model][: 3 if self.arguments.shrink > 1 else None],
                       key=lambda steps: self.score(arm.model, self.train(arm, seed, steps) / arm.model,
                                                    self.train(arm, seed, steps) / "validation", "validation", 200))
            folder = self.train(arm, seed, best)
            (self.output / "trained" / f"{arm.folder}-{seed}.json").write_text(json.dumps({"steps": best}))
        else:
            folder = self.train(arm, seed)
            if arm.round and not folder.exists():
                print(f"{arm.model}, {arm.name}, {seed}: the guards ended learning before", file=sys.stderr, flush=True)
                return
        for split in self.arguments.splits:
            self.score(arm.model, folder / arm.model, folder / split, split, self.arguments.limit)
        print(f"{arm.model}, {arm.name}, {seed} done", file=sys.stderr, flush=True)

    def folder_of(self, arm, seed):
        if arm.round:
            return self.output / "rounds" / str(seed) / "rounds" / str(arm.round) / "trained"
        if not arm.supervised:
            return self.output / "trained" / f"{arm.folder}-{seed}"
        steps = json.loads((self.output / "trained" / f"{arm.folder}-{seed}.json").read_text())["steps"]
        return self.output / "trained" / f"{arm.folder}-{seed}-{steps}"

    def done(self, arm, seed):
        try:
            return all((self.folder_of(arm, seed) / split / f"{arm.model}.jsonl").exists() for split in self.arguments.splits)
        except FileNotFoundError:
            return False

    def seeds(self, arm):
        return [seed for seed in arm.seeds if seed in self.arguments.seeds and self.done(arm, seed)]

    def values(self, model, folders, split, key):
        """[seeds, scenes] of pairs, in percent."""
        rows = [[json.loads(line) for line in open(folder / split / f"{model}.jsonl")] for folder in folders]
        return 100.0 * np.array([[row[key] for row in lines if row["scenes"] == "pair"] for lines in rows], dtype=float)

    def chosen(self, arm):
        """The oracle's mean score of what was chosen for the first seed, ties shared."""
        if arm.supervised or arm.round:
            return None
        direction = COLLECTIONS[arm.collection].direction
        folder = self.collect(arm.collection, arm.seeds[0])
        database = sqlite3.connect(f"file:{folder}/run.sqlite?mode=ro", uri=True)
        scores = {(sample, candidate): value for sample, candidate, value in database.execute(
            "select sample, candidate, value from scores where direction = ? and metric = ?",
            (direction, "oracle-image" if direction == "t2i2t" else "oracle-text"))}
        rows = [json.loads(line) for line in open(self.folder_of(arm, arm.seeds[0]) / f"training/lessons_{direction}.jsonl")]
        return float(np.mean([np.mean([scores[row["sample"], one["candidate"]] for one in row["chosen"]]) for row in rows]))


def cell(values, difference=None):
    shown = f"{values.mean():.1f} [{', '.join(f'{x:.1f}' for x in bootstrap(values))}]"
    if difference is not None:
        shown += f"; {difference.mean():+.1f} [{', '.join(f'{x:+.1f}' for x in bootstrap(difference))}]"
    return shown


def table(experiment, model, split, wanted):
    untuned = experiment.values(model, [experiment.output / "untuned"], split, "all")
    parts = ["objects", "relation", "background"]
    print(f"\n**{model.capitalize()}, {split}**\n\n| arm | seeds | chosen are right | all right; difference from untuned | "
          f"{' | '.join(parts)} | seconds |\n{'|---' * (len(parts) + 5)}|")
    means = [f"{experiment.values(model, [experiment.output / 'untuned'], split, part).mean():.1f}" for part in parts]
    print(f"| untuned | | | {cell(untuned)} | {' | '.join(means)} | |")
    for arm in wanted:
        seeds = experiment.seeds(arm)
        folders = [experiment.folder_of(arm, seed) for seed in seeds]
        values = experiment.values(model, folders, split, "all")
        means = [f"{experiment.values(model, folders, split, part).mean():.1f}" for part in parts]
        chosen = experiment.chosen(arm)
        seconds = np.mean([json.loads(((folder.parents[2] if arm.round else folder) / "seconds.json").read_text())
                           for folder in folders])
        print(f"| {arm.name} | {len(seeds)} | {'' if chosen is None else f'{100 * chosen:.1f}'} | {cell(values, values - untuned)} | "
              f"{' | '.join(means)} | {seconds:.0f} |")
    by_name = {arm.name: arm for arm in wanted}
    print()
    for better, control in [("texts: the return's choice", "texts: random"),
                            ("texts: the return's choice", "texts: the likeliest"),
                            ("texts: the return's choice", "texts: CLIPScore's choice"),
                            ("texts: the return's choice", "supervised, 500 pairs"),
                            ("texts: the return's choice, and 500 pairs", "supervised, 500 pairs"),
                            ("pictures: the return's choice", "pictures: random"),
                            ("pictures: the return's choice, DPO", "pictures: random"),
                            ("texts: the return's choice, DPO", "texts: random")]:
        if better not in by_name or control not in by_name:
            continue
        seeds = [seed for seed in experiment.seeds(by_name[better]) if seed in experiment.seeds(by_name[control])]
        a, b = (experiment.values(model, [experiment.folder_of(by_name[name], seed) for seed in seeds], split, "all")
                for name in (better, control))
        print(f"- {better}, less {control}: {cell(a - b)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="+", help="groups: centre, method, candidates, items, partner, clean pairs, distance, rounds")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=ALL)
    parser.add_argument("--splits", nargs="+", default=["novel-pairs", "test"])
    parser.add_argument("--limit", type=int, default=400, help="scenes of a split")
    parser.add_argument("--sbert", help="repository of a sentence encoder, to learn from its distance too")
    parser.add_argument("--quick", action="store_true", help="a fifth of everything, the centre alone, one seed")
    parser.add_argument("--table", action="store_true", help="print what is done, and do nothing")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--readback", type=pathlib.Path, default=ROOT / "build/release/bin/readback")
    arguments = parser.parse_args()
    arguments.output, arguments.readback = arguments.output.resolve(), arguments.readback.resolve()
    arguments.shrink = 5 if arguments.quick else 1
    if arguments.quick:
        arguments.seeds, arguments.only, arguments.limit = [1], ["centre"], 200
    wanted = [arm for arm in arms() if arm.model in arguments.models and (not arguments.only or arm.group in arguments.only)]
    if arguments.sbert:
        wanted += [Arm(model, "texts: by sbert-text", "distance", "texts", ["--text-cycle-by", "sbert-text"])
                   for model in arguments.models if not arguments.only or "distance" in arguments.only]
    experiment = Experiment(arguments)
    for seed in [] if arguments.table else arguments.seeds:
        now = [arm for arm in wanted if seed in arm.seeds]
        for name in COLLECTIONS:
            if any(arm.collection == name for arm in now):
                experiment.collect(name, seed)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for future in [pool.submit(experiment.one, arm, seed) for arm in now]:
                future.result()
    for model in arguments.models:
        for split in arguments.splits:
            experiment.score(model, NOISY[model], experiment.output / "untuned" / split, split, arguments.limit)
    for split in arguments.splits:
        for model in arguments.models:
            table(experiment, model, split, [arm for arm in wanted if arm.model == model and experiment.seeds(arm)])


if __name__ == "__main__":
    main()
