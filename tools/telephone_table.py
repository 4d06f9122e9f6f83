#!/usr/bin/env python3
"""The tables of docs/SMALL_WORLD.md from folders of `readback telephone`.

    tools/telephone_table.py shipped=runs/telephone noisy=runs/telephone-noisy
"""
import json
import pathlib
import sys

METRICS = ["words", "oracle-text", "oracle-image", "clip-text", "clip-image", "bleu-4", "cider"]
ROUNDS = [1, 2, 3, 5, 7, 10]


def half_life(metric):
    def said(value):
        return "–" if value is None else "more" if value == "more" else f"{value:.1f}"

    half = metric["half_life"]
    low, high = said(half["low"]), said(half["high"])
    return said(half["rounds"]) + ("" if low == high else f" [{low}, {high}]")


def said(number):
    return f"{number:.3f}".replace("-0.000", "0.000")


def cell(round_):
    mean, low, high = (said(round_["value"][key]) for key in ("mean", "low", "high"))
    return mean if mean == low == high else f"{mean} [{low}, {high}]"


def main():
    for argument in sys.argv[1:]:
        name, folder = argument.split("=", 1)
        game = json.loads((pathlib.Path(folder) / "telephone.json").read_text())
        rounds = [r for r in ROUNDS if r <= game["rounds"]]
        for chain in game["chains"]:
            print(f"\n{name}, {chain['direction']}: {len(chain['samples'])} of {chain['begun'][0]} samples")
            print(f"| metric | {' | '.join(map(str, rounds))} | random pairs | half-life |")
            print("|---" * (len(rounds) + 3) + "|")
            metrics = {metric["metric"]: metric for metric in chain["metrics"]}
            for key in [m for m in METRICS if m in metrics]:
                metric = metrics[key]
                cells = [cell(metric["rounds"][r - 1]) for r in rounds]
                floor = metric["rounds"][-1]["floor"]
                print(f"| {metric['title']} {'↑' if metric['better'] == 'higher' else '↓'} | {' | '.join(cells)} "
                      f"| {floor['mean']:.3f} | {half_life(metric)} |")
            words = [w for w in chain["words"] if w["samples"] >= 10]
            for title, some in (("longest", words[:8]), ("shortest", words[::-1][:8])):
                print(f"{title}: " + ", ".join(f"{w['word']} {w['mean_rounds']:.1f} ({w['samples']})" for w in some))


if __name__ == "__main__":
    main()
