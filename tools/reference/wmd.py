"""Known answers of the Word Mover's Distance, by gensim (which asks POT), as the paper's code calls it.

    python tools/reference/wmd.py            writes tests/goldens/score/wmd/
    python tools/reference/wmd.py table N D OUT   a table of N random words of D numbers, for measuring the reader

gensim keeps vectors, and their lengths, in fp32; `exact` holds what POT says of the same vectors in fp64.
"""

import json
import pathlib
import random
import sys

import numpy as np
import ot
from gensim.models import KeyedVectors
from scipy.spatial.distance import cdist

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "score" / "wmd"
WIDTH = 12
# NLTK's English stop words, as stopwords.words("english") gave them from 2017 to 2023 (179 of them).
STOP_WORDS = """a about above after again against ain all am an and any are aren aren't as at be because been before
being below between both but by can couldn couldn't d did didn didn't do does doesn doesn't doing don don't down during
each few for from further had hadn hadn't has hasn hasn't have haven haven't having he her here hers herself him himself
his how i if in into is isn isn't it it's its itself just ll m ma me mightn mightn't more most mustn mustn't my myself
needn needn't no nor not now o of off on once only or other our ours ourselves out over own re s same shan shan't she
she's should should've shouldn shouldn't so some such t than that that'll the their theirs them themselves then there
these they this those through to too under until up ve very was wasn wasn't we were weren weren't what when where which
while who whom why will with won won't wouldn wouldn't y you you'd you'll you're you've your yours yourself
yourselves""".split()
PAIRS = [
    ("a man riding a wave on top of a surfboard", "A surfer rides a large wave in the ocean"),
    ("a man riding a wave on top of a surfboard", "a man riding a wave on top of a surfboard"),
    ("two dogs and two cats", "two cats playing with dogs dogs dogs"),
    ("dog", "cat"),
    ("dog", "dog dog dog"),
    ("The DOG is in the park.", "a cat sits in the park"),
    ("a plate of food with a fork and a knife and a glass of water", "pizza on a wooden table"),
    ("it is what it is", "a dog"),
    ("quetzalcoatl", "dog"),
    ("", "dog"),
    ("a zero dog", "a zero cat"),
    ("caf\u00e9 NA\u00cfVE dog", "caf\u00e9 cat"),
    ("man\u00a0dog\u3000cat", "wave\tpark"),
]


def words_of(text):
    return [word for word in text.lower().split() if word not in STOP_WORDS]


def exact(vectors, a, b, normalize):
    """What gensim computes, in fp64 throughout."""
    a, b = ([word for word in words if word in vectors] for words in (a, b))
    if not a or not b:
        return None
    rows, columns = sorted(set(a)), sorted(set(b))
    def places(words):
        table = np.array([vectors.get_vector(word) for word in words]).astype(np.float64)
        lengths = np.linalg.norm(table, axis=1, keepdims=True)
        return table / np.where(lengths > 0, lengths, 1) if normalize else table
    shares = [np.array([words.count(word) / len(words) for word in bag]) for words, bag in ((a, rows), (b, columns))]
    return float(ot.emd2(*shares, cdist(places(rows), places(columns)), numItermax=10_000_000))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    pairs = list(PAIRS)
    draw = random.Random(0)
    vocabulary = sorted({word for pair in PAIRS for text in pair for word in words_of(text)} - {"quetzalcoatl", "park."})
    vocabulary += [f"word{i}" for i in range(60)]
    for length in (3, 8, 20, 60, 200):  # long texts repeat words: shares that are no nice fractions
        pairs.append(tuple(" ".join(draw.choices(vocabulary, k=length + draw.randrange(5))) for _ in range(2)))
    numbers = np.random.default_rng(0)
    lines = [f"{word} " + " ".join(f"{0 if word == 'zero' else value:.4f}" for value in numbers.normal(size=WIDTH) * 0.4)
             for word in vocabulary + ["the"]]
    (FOLDER / "vectors.txt").write_text("\n".join(lines) + "\n")
    vectors = KeyedVectors.load_word2vec_format(FOLDER / "vectors.txt", binary=False, no_header=True)
    cases = []
    for left, right in pairs:
        a, b = words_of(left), words_of(right)
        case = {"left": left, "right": right, "exact": exact(vectors, a, b, True), "plain": exact(vectors, a, b, False)}
        if "zero" not in a:  # gensim divides by its length
            value = float(vectors.wmdistance(a, b))
            case["gensim"] = None if np.isinf(value) else value
        cases.append(case)
    golden = {"stop_words": STOP_WORDS, "cases": cases}
    (FOLDER / "cases.json").write_text(json.dumps(golden, indent=1) + "\n")


def table(count, width, out):
    numbers = np.random.default_rng(0)
    with open(out, "w") as file:
        for i in range(count):
            file.write(f"word{i} " + " ".join(f"{value:.5g}" for value in numbers.normal(size=width) * 0.4) + "\n")


if __name__ == "__main__":
    table(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]) if sys.argv[1:2] == ["table"] else main()
