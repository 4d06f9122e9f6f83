"""Known answers of BLEU, ROUGE-L and CIDEr, by pycocoevalcap.

    python tools/reference/metrics.py [CAPTION_METRICS_FOLDER]

Writes tests/goldens/score/captions.json and, given the folder with karpathy_test_gt.json and
karpathy_test_predictions.json, karpathy.safetensors: every value of every image, in the order in which images come first
in karpathy_test_gt.json, after pycocoevalcap's own tokenizer (which needs Java). CIDEr in float64; BLEU and ROUGE-L, which
lie in 0 … 1, as int32 multiples of 1 / (2^31 - 1), so rounded to 2.4e-10. Means and corpus values are in its metadata.
"""
import json
import math
import pathlib
import sys
from collections import Counter

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from safetensors.numpy import save_file

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/score"

CASES = [  # (candidate, references): tokenized already
    ("a red fox on a blue background", ["a fox on a blue background", "a red fox", "there is a fox"]),
    ("a dog sits left of a cat", ["a dog left of a cat", "a dog is to the left of a cat on grass"]),
    ("a dog a dog a dog a dog", ["a dog runs", "the dog and the other dog"]),
    ("", ["an empty answer", "nothing"]),
    ("rocket", ["rocket", "a rocket above the moon"]),
    ("the the the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("one two three four five", ["one two three", "one two three four five six seven"]),
    ("a man riding a wave on top of a surfboard", ["a man riding a wave on top of a surfboard"]),
    ("a plate with a slice of pizza and a fork", ["pizza on a plate", "a slice of pizza on a white plate with a fork",
                                                  "some food", "a fork and a plate with pizza", "dinner is served"]),
    ("two birds above one tree", ["one tree below two birds", "birds", "two birds are above a tree in the morning"]),
    ("entirely different words here", ["no overlap at all", "none"]),
    ("caf\u00e9 na\u00efve \U0001f98a", ["caf\u00e9 \U0001f98a", "na\u00efve caf\u00e9"]),
]


def ngrams(text):
    words = text.split()
    return [Counter(tuple(words[i:i + n]) for i in range(len(words) - n + 1)) for n in range(1, 5)]


def plain_cider(candidates, references):
    """CIDEr without clipping and length penalty, straight from the definition: what its authors' code calls CIDEr."""
    frequency = Counter(g for refs in references for g in set(g for r in refs for c in ngrams(r) for g in c))
    log_documents = math.log(len(references))

    def vector(counts):
        return {g: n * (log_documents - math.log(max(1, frequency[g]))) for g, n in counts.items()}

    def cosine(a, b):
        product = sum(v * b.get(g, 0.0) for g, v in a.items())
        norms = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
        return product / norms if norms else product

    scores = []
    for candidate, refs in zip(candidates, references):
        values = [cosine(vector(c), vector(r)) for ref in refs for c, r in zip(ngrams(candidate), ngrams(ref))]
        scores.append(10 * sum(values) / 4 / len(refs))
    return scores


def caption_scores(cases):
    candidates = {i: [c] for i, (c, _) in enumerate(cases)}
    references = {i: r for i, (_, r) in enumerate(cases)}
    corpus, sentences = Bleu(4).compute_score(references, candidates, verbose=0)
    cider_mean, cider = Cider().compute_score(references, candidates)
    rouge_mean, rouge = Rouge().compute_score(references, candidates)
    return {"rouge_mean": float(rouge_mean), "rouge": [float(v) for v in rouge], "corpus_bleu": corpus, "sentence_bleu": [list(row) for row in zip(*sentences)],
            "cider_mean": float(cider_mean), "cider": [float(v) for v in cider],
            "plain_cider": plain_cider([c for c, _ in cases], [r for _, r in cases])}


def karpathy(folder):
    references = {}
    for annotation in json.loads((folder / "karpathy_test_gt.json").read_text())["annotations"]:
        references.setdefault(annotation["image_id"], []).append({"caption": annotation["caption"]})
    predictions = {p["image_id"]: p["caption"] for p in json.loads((folder / "karpathy_test_predictions.json").read_text())}
    candidates = {image: [{"caption": predictions[image]}] for image in references}
    references, candidates = PTBTokenizer().tokenize(references), PTBTokenizer().tokenize(candidates)
    scores = caption_scores([(candidates[image][0], references[image]) for image in references])
    fixed = {name: np.rint(np.array(scores[name]) * (2**31 - 1)).astype(np.int32) for name in ("sentence_bleu", "rouge")}
    exact = {name: np.array(scores[name]) for name in ("cider", "plain_cider")}
    means = {name: json.dumps(scores[name]) for name in ("corpus_bleu", "rouge_mean", "cider_mean")}
    save_file({**fixed, **exact}, OUTPUT / "karpathy.safetensors", metadata=means)


def write(name, content):
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / name).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("captions.json", {"cases": [{"candidate": c, "references": r} for c, r in CASES], **caption_scores(CASES)})
    if len(sys.argv) > 1:
        karpathy(pathlib.Path(sys.argv[1]))
