"""Pascal-50S' judged pairs as JSON Lines, which `readback score agreement --layout pascal-50s` reads.

    python tools/pascal_50s.py pair_pascal.mat consensus_pascal.mat --output pascal-50s.jsonl

The two files are the authors' (pyCIDErConsensus). `pair_pascal.mat` has 4,000 pairs of captions (`new_input`: the
picture's file name and the two captions; `category`: 1 HC, 2 HI, 3 HM, 4 MM). `consensus_pascal.mat` has 48 triplets a
pair (`triplets`: a reference, the two captions, and which of them, 1 or -1, a person found nearer to it). Needs scipy.
"""

import argparse
import collections
import json
import pathlib

CATEGORIES = {1: "HC", 2: "HI", 3: "HM", 4: "MM"}
TRIPLETS = 48


def text(cell):
    """The text in a cell, however deep scipy puts it."""
    while not isinstance(cell, str):
        cell = cell[0]
    return cell.strip()


def number(cell):
    while hasattr(cell, "__len__"):
        cell = cell[0]
    return int(cell)


def pairs(pairs_file, triplets_file):
    import scipy.io

    content = scipy.io.loadmat(pairs_file)
    triplets = scipy.io.loadmat(triplets_file)["triplets"].ravel()
    judged, categories = content["new_input"].ravel(), content["category"].ravel()
    if len(triplets) != TRIPLETS * len(judged) or len(categories) != len(judged):
        raise SystemExit(f"expected {TRIPLETS} triplets and a category a pair, found {len(judged)} pairs, "
                         f"{len(categories)} categories and {len(triplets)} triplets")
    for i, (pair, category) in enumerate(zip(judged, categories)):
        image, first, second = (text(cell) for cell in pair)
        votes, references = collections.Counter(), []
        for triplet in triplets[TRIPLETS * i : TRIPLETS * (i + 1)]:
            reference, left, right, choice = triplet
            votes[text(left) if number(choice) == 1 else text(right)] += 1
            references.append(text(reference))
        if set(votes) - {first, second}:
            raise SystemExit(f"pair {i + 1}: the triplets are of other captions than the pair")
        yield {"image": image, "captions": [first, second], "votes": [votes[first], votes[second]],
               "category": CATEGORIES[number(category)], "references": references}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("triplets")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    lines = [json.dumps(pair, ensure_ascii=False) for pair in pairs(arguments.pairs, arguments.triplets)]
    pathlib.Path(arguments.output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{arguments.output}: {len(lines):,} pairs")


if __name__ == "__main__":
    main()
