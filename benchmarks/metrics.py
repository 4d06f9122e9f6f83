"""Metrics of readback against pycocoevalcap and torch-fidelity: same files, same machine, in turns, in one run.

    python benchmarks/metrics.py --predictions results.json --references annotations.json
    python benchmarks/metrics.py --generated DIR --real DIR --inception inception.pth

Captions: PTB tokens, BLEU, METEOR, ROUGE-L and CIDEr together. Pictures: Inception's features of both folders and FID.
The reference is timed inside a process that has loaded it; readback is timed as a whole process, with its start, its
loading and its bootstrap intervals. The values of both are compared too.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Captions:
    name = "captions: PTB, BLEU, METEOR, ROUGE-L, CIDEr"

    def __init__(self, options):
        self.command = ["captions", "--predictions", options.predictions, "--references", options.references,
                        "--metrics", "bleu,meteor,rouge,cider"]
        references = json.loads(pathlib.Path(options.references).read_text())["annotations"]
        self.references, self.candidates = {}, {}
        for entry in references:
            self.references.setdefault(str(entry["image_id"]), []).append({"caption": entry["caption"]})
        for entry in json.loads(pathlib.Path(options.predictions).read_text()):
            self.candidates[str(entry["image_id"])] = [{"caption": entry["caption"]}]

    def reference(self):
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        start = time.perf_counter()
        tokenizer = PTBTokenizer()
        references, candidates = tokenizer.tokenize(self.references), tokenizer.tokenize(self.candidates)
        bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
        values = {f"BLEU-{i + 1}": value for i, value in enumerate(bleu)}
        for name, scorer in (("METEOR", Meteor()), ("ROUGE-L", Rouge()), ("CIDEr", Cider())):
            values[name] = float(scorer.compute_score(references, candidates)[0])
        return time.perf_counter() - start, values


class Pictures:
    name = "pictures: Inception features and FID"

    def __init__(self, options):
        self.options = options
        self.command = ["images", "--generated", options.generated, "--real", options.real, "--metrics", "fid",
                        "--inception", options.inception, "--batch-size", "32"]

    def reference(self):
        import torch
        import torch_fidelity

        torch.set_num_threads(os.cpu_count())
        start = time.perf_counter()
        result = torch_fidelity.calculate_metrics(
            input1=self.options.generated, input2=self.options.real, fid=True, cuda=False, cache=False, verbose=False,
            batch_size=32, feature_extractor_weights_path=self.options.inception)
        return time.perf_counter() - start, {"FID": result["frechet_inception_distance"]}


def readback(program, command):
    start = time.perf_counter()
    result = subprocess.run([program, "score", *command, "--format", "json"], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode != 0:
        sys.exit(f"readback failed: {result.stderr}")
    return seconds, {name: entry["value"] for name, entry in json.loads(result.stdout)["metrics"].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/bin/readback")
    parser.add_argument("--rounds", type=int, default=3)
    for flag in ("predictions", "references", "generated", "real", "inception"):
        parser.add_argument(f"--{flag}")
    options = parser.parse_args()
    cases = [Captions(options)] if options.predictions else []
    cases += [Pictures(options)] if options.generated else []
    if not cases:
        parser.error("give --predictions and --references, or --generated, --real and --inception")

    print(f"{os.cpu_count()} threads\n\n| case | reference | readback | ratio | largest difference |\n|---|---|---|---|---|")
    for case in cases:
        times, difference = [], 0.0
        for _ in range(options.rounds):
            theirs, expected = case.reference()
            ours, values = readback(options.program, case.command)
            times.append((theirs, ours))
            difference = max(abs(values[name] - value) / max(abs(value), 1e-12) for name, value in expected.items())
        theirs, ours = (statistics.median(column) for column in zip(*times))
        ratio = statistics.median(a / b for a, b in times)
        print(f"| {case.name} | {theirs:.2f} s | {ours:.2f} s | {ratio:.1f} × | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
