"""How good is the candidate that is selected? docs/SMALL_WORLD.md's table of rules, by the oracle's truth.

    python tools/select_table.py --readback PROGRAM --output FOLDER [--limit 100] [--candidates 10]

Runs both round trips over the first test scenes, with models of which at least one is noisy: others leave nothing to
select. It exports the candidates, and
prints, for every rule, the oracle's score of what it selects with 95 % bootstrap intervals over scenes, and the paired
difference from a random candidate. A rule of several names takes the best mean rank, as `readback select --by` does.
"""

import argparse
import json
import pathlib
import subprocess

import numpy

PAIRS = [("emoji-scenes/noisy-captioner", "emoji-scenes/generator"),
         ("emoji-scenes/noisy-captioner", "emoji-scenes/noisy-generator"),
         ("emoji-scenes/captioner", "emoji-scenes/noisy-generator")]
METRICS = ["clip-image", "clip-text", "clipscore", "oracle-text", "oracle-image"]
LOWER = {"clip-image", "clip-text"}
# What a direction's candidates are, and by what they may be selected.
RULES = {"i2t2i": ("oracle-text", [["random"], ["likelihood"], ["clipscore"], ["clip-image"], ["clip-image", "likelihood"],
                                   ["clip-image", "clipscore", "likelihood"], ["oracle-text"]]),
         "t2i2t": ("oracle-image", [["random"], ["clipscore"], ["clip-text"], ["clip-text", "clipscore"],
                                    ["oracle-image"]])}


def value(candidate, by):
    if by == "likelihood":
        return candidate["per_token"]
    return -candidate["scores"][by] if by in LOWER else candidate["scores"][by]


def mean_ranks(candidates, rule):
    ranks = numpy.zeros(len(candidates))
    for by in rule:
        values = numpy.array([value(c, by) for c in candidates])
        ranks += [(v > values).sum() + ((v == values).sum() - 1) / 2 for v in values]
    return ranks


def selected(samples, rule, truth):
    """The truth's score of each sample's selected candidate; the mean of all for a random one, and of equally good ones."""
    scores = []
    for candidates in samples:
        truths = numpy.array([c["scores"][truth] for c in candidates])
        if rule == ["random"]:
            scores.append(truths.mean())
        else:
            ranks = mean_ranks(candidates, rule)
            scores.append(truths[ranks == ranks.max()].mean())
    return numpy.array(scores)


def interval(values):
    random = numpy.random.default_rng(0)
    means = values[random.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = numpy.percentile(means, [2.5, 97.5])
    return f"{100 * values.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def samples_of(program, run, direction):
    path = subprocess.run([program, "export", run, "--as", "jsonl", "--direction", direction], check=True,
                          capture_output=True, text=True).stdout.strip()
    samples = []
    for line in pathlib.Path(path).read_text().splitlines():
        candidates = json.loads(line)["candidates"]
        for candidate in candidates:
            if "log_probability" in candidate:
                candidate["per_token"] = candidate["log_probability"] / candidate["tokens"]
        samples.append(candidates)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readback", default="build/release/bin/readback")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=10)
    arguments = parser.parse_args()
    for captioner, generator in PAIRS:
        run = arguments.output / "-".join(name.split("/")[1] for name in (captioner, generator))
        subprocess.run([arguments.readback, "run", "emoji-scenes", "--limit", str(arguments.limit), "--num-candidates",
                        str(arguments.candidates), "--captioner", captioner, "--generator", generator,
                        "--num-inference-steps", "20", "--guidance-scale", "3", "--metrics", ",".join(METRICS),
                        "--dtype", "float32", "--output", run], check=True, stdout=subprocess.DEVNULL)
        for direction, (truth, rules) in RULES.items():
            samples = samples_of(arguments.readback, run, direction)
            random = selected(samples, ["random"], truth)
            print(f"\n{direction}, {captioner} with {generator}, {len(samples)} scenes, {arguments.candidates} candidates\n")
            print("| selected by | right | above a random one |\n|---|---|---|")
            for rule in rules:
                scores = selected(samples, rule, truth)
                print(f"| {' + '.join(rule)} | {interval(scores)} | {interval(scores - random)} |", flush=True)


if __name__ == "__main__":
    main()
