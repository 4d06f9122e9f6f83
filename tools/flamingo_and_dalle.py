"""The tables of docs/FLAMINGO_AND_DALLE.md: do the small world's Flamingo and DALL-E understand each other?

    python tools/flamingo_and_dalle.py --output runs/title           # half an hour on two cores; goes on where it stopped
    python tools/flamingo_and_dalle.py --output runs/title --limit 20

First what examples do to the Flamingo's captions: none, and three of each of the world's phrasings. Then every captioner
with every generator, both ways: how much of a scene the middle and the end still have, by the oracle. The last lines are
Markdown. Needs numpy.
"""

import argparse
import json
import pathlib
import sqlite3
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The places of a scene's references, as `readback dataset export` writes them.
PHRASINGS = {"complete": 0, "complete, turned round": 1, "without the background": 2, "without the relation": 3,
             "terse": 4}
CAPTIONERS = {"BLIP": ["--captioner", "emoji-scenes/captioner"],
              "Flamingo": ["--captioner", "emoji-scenes/flamingo"],
              "Flamingo, three complete examples": ["--captioner", "emoji-scenes/flamingo", "--shots"]}
TEMPERATURE = 0.2  # of the captions in the middle: the Flamingo, whose language model is frozen, is never very sure
GENERATORS = {"Stable Diffusion": ["--generator", "emoji-scenes/generator", "--num-inference-steps", "20",
                                   "--guidance-scale", "3"],
              "DALL-E": ["--generator", "emoji-scenes/dalle", "--ceiling", "emoji-scenes/dalle"]}
# Three scenes of validation with two objects each, which all phrasings tell apart.
EXAMPLES = [1, 3, 6]


def readback(arguments, *flags):
    print("readback", *flags, file=sys.stderr, flush=True)
    result = subprocess.run([str(arguments.readback), *map(str, flags)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"readback {flags[0]} failed with status {result.returncode}")
    return result.stdout


def write_examples(arguments):
    """One file a phrasing."""
    folder = arguments.output / "examples"
    readback(arguments, "dataset", "export", "emoji-scenes", "--split", "validation", "--limit", max(EXAMPLES) + 1,
             "--output", folder)
    scenes = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    files = {}
    for name, place in PHRASINGS.items():
        files[name] = folder / f"phrasing-{place}.jsonl"
        files[name].write_text("".join(json.dumps({"image": scenes[i]["image"], "caption": scenes[i]["captions"][place]})
                                       + "\n" for i in EXAMPLES))
    return files


def percent(values):
    """The mean and its 95 % bootstrap interval."""
    values = 100 * np.asarray(values, dtype=float)
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(2000, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.1f}" if low == high else f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"


def examples_table(arguments, files):
    print("\n| examples | scenes | objects | relation | background | all right |\n|---|---|---|---|---|---|")
    for name, shots in {"none": None, **files}.items():
        folder = arguments.output / "phrasing" / ("none" if shots is None else shots.stem)
        lines = folder / "captioner.jsonl"
        if not lines.exists():
            readback(arguments, "score", "scenes", "--captioner", "emoji-scenes/flamingo", "--no-generator", "--split",
                     "test", "--limit", arguments.limit, "--dtype", "bfloat16", "--output", folder,
                     *([] if shots is None else ["--shots", shots]))
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        for kind in ("single", "pair"):
            of_kind = [row for row in rows if row["scenes"] == kind]
            cells = [percent([row[key] for row in of_kind]) for key in ("objects", "relation", "background", "all")]
            print(f"| {name} | {kind} | {' | '.join(cells)} |")


def shares(folder, table, where, *parameters):
    """Each sample's mean over its candidates."""
    database = sqlite3.connect(f"file:{folder}/run.sqlite?mode=ro", uri=True)
    rows = database.execute(f"select avg(value) from {table} where {where} group by sample", parameters).fetchall()
    return [row[0] for row in rows]


def pairs_table(arguments, files):
    print("\n| captioner | generator | caption in the middle | picture that comes back | the same, without words | "
          "picture in the middle | text that comes back |\n|---|---|---|---|---|---|---|")
    for captioner, who in CAPTIONERS.items():
        for generator, how in GENERATORS.items():
            folder = arguments.output / "pairs" / f"{captioner}-{generator}".replace(" ", "_").replace(",", "")
            shots = [files["complete"]] if who[-1] == "--shots" else []
            readback(arguments, "run", "emoji-scenes", "--split", "test", "--limit", arguments.limit, "--num-candidates",
                     5, "--temperature", TEMPERATURE, "--dtype", "bfloat16", "--metrics", "oracle-text", "oracle-image",
                     *who, *shots, *how, "--output", folder)
            score = "direction = ? and metric = ?"
            ceiling = shares(folder, "ceilings", "metric = ?", "oracle-image")
            cells = [percent(shares(folder, "scores", score, "i2t2i", "oracle-text")),
                     percent(shares(folder, "scores", score, "i2t2i", "oracle-image")),
                     percent(ceiling) if ceiling else "",
                     percent(shares(folder, "scores", score, "t2i2t", "oracle-image")),
                     percent(shares(folder, "scores", score, "t2i2t", "oracle-text"))]
            print(f"| {captioner} | {generator} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=200, help="scenes of the test split")
    parser.add_argument("--readback", type=pathlib.Path, default=ROOT / "build/release/bin/readback")
    arguments = parser.parse_args()
    arguments.output, arguments.readback = arguments.output.resolve(), arguments.readback.resolve()
    files = write_examples(arguments)
    examples_table(arguments, files)
    pairs_table(arguments, files)


if __name__ == "__main__":
    main()
