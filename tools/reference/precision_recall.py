"""Precision and recall of sets of features by torch-fidelity: python tools/reference/precision_recall.py

Writes tests/goldens/score/precision_recall.json, which the test compares with its own values for the same features:
standard normal draws of the streams (11, TEST, "generated" and "real"), the generated ones scaled and shifted.
"""

import json
import pathlib

import torch
from streams import Purpose, Random
from torch_fidelity.metric_prc import calculate_precision_recall_full

OUTPUT = pathlib.Path(__file__).parents[2] / "tests/goldens/score/precision_recall.json"
CASES = [{"generated": 60, "real": 80, "width": 8, "scale": 1.0, "shift": 0.0, "k": 3},
         {"generated": 60, "real": 80, "width": 8, "scale": 0.5, "shift": 0.3, "k": 3},
         {"generated": 40, "real": 30, "width": 3, "scale": 1.5, "shift": 0.0, "k": 1},
         {"generated": 1100, "real": 1500, "width": 4, "scale": 0.8, "shift": 0.5, "k": 5}]


def features(name, rows, width):
    return torch.from_numpy(Random(11, Purpose.TEST, name).normal(rows, width)).double()


if __name__ == "__main__":
    for case in CASES:
        generated = features("generated", case["generated"], case["width"]) * case["scale"] + case["shift"]
        real = features("real", case["real"], case["width"])
        case["precision"], case["recall"] = calculate_precision_recall_full(generated, real, case["k"])
    OUTPUT.write_text(json.dumps(CASES, indent=1) + "\n")
    print(OUTPUT.read_text())
