"""Known answers of METEOR, its stemmer and its normalisation, by meteor-1.5.jar out of pycocoevalcap (Java is needed).

    python tools/reference/meteor.py [SHARED_DATA_FOLDER]

Writes tests/goldens/score/meteor/:
tables/          small tables in the jar's layouts, made up here
cases.json       captions with their statistics and scores under these tables
stems.txt        word, stem
words.json       texts, and the words that `-norm` makes of them
archive.zip      a stored and a deflated member
Given the folder with caption-metrics/ and flickr8k-judgements/, also karpathy.json and flickr8k.json: scores under the
full tables, with a hash of the texts that they belong to.
"""
import gzip
import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/score/meteor"
PACKAGE = pathlib.Path(importlib.util.find_spec("pycocoevalcap.meteor").submodule_search_locations[0])
JAVA = ["java", "-Xmx2G", "-Dfile.encoding=UTF-8"]
JAR = PACKAGE / "meteor-1.5.jar"

FUNCTION_WORDS = "the , . to of and a in that is on 's with as at be are it \" '".split()
PREFIXES = ["# Those of the jar's list that the cases need", "Mr", "v", "No #NUMERIC_ONLY#", "Art #NUMERIC_ONLY#", ""]
SYNSETS = {
    "dog": [2, 11], "hound": [11], "puppy": [11, 12], "car": [20], "auto": [20], "automobile": [20], "run": [31, 30],
    "race": [31, 33], "sprint": [33], "big": [40], "large": [40, 41], "box": [50], "crate": [50], "man": [60],
    "male": [60], "fireman": [61], "firefighter": [61], "city": [70], "town": [70], "metropolis": [70], "mouse": [80],
    "rodent": [80], "lie": [90], "rest": [90], "watch": [95], "look": [95], "bus": [97], "coach": [97], "ss": [98],
    "glasses": [99], "spectacles": [99], "ice_cream": [100], "caf\u00e9": [20], "ox": [81], "cattle": [81],
}
EXCEPTIONS = {"run": ["ran", "running"], "mouse": ["mice"], "man": ["men"], "ox": ["oxen"], "lie": ["lying", "lay"],
              "ice_cream": ["ice_creams"], "absent": ["absents"]}
PARAPHRASES = [
    ("in front of", "before"), ("before", "in front of"), ("next to", "beside"), ("beside", "by the side of"),
    ("next to", "by the side of"), ("a lot of", "many"), ("many", "lots of"), ("many", "a lot of"), ("is able to", "can"),
    ("can", "is able to"), ("a man", "someone"), ("someone", "a man"), ("on top of", "on"), ("on", "on top of"),
    ("the dog", "it"), ("it", "the dog"), ("it", "the"), ("a", "one"), ("one", "a"), ("one", "the only"), ("dog", "dogs"),
    ("big dog", "dog"), ("big", "dog"), ("runs fast", "is fast"), ("is", "'s"), ("us", "u.s."), ("look at", "watch"),
]

CASES = [
    ("a man rides a motorcycle down a dirt road", ["a man with a red helmet on a small moped", "someone riding a motorcycle"]),
    ("a dog", ["a dog"]),
    ("the dog runs", ["the dogs ran", "a dog is running", "the hound runs"]),
    ("", ["a dog", ""]),
    ("a dog", [""]),
    ("rocket", ["moon"]),
    ("the of a", ["the of a", "of the a"]),
    ("a a a a a a", ["a a a", "a b a b a"]),
    ("two mice in front of many boxes", ["a lot of crates before a mouse", "rodents beside a box"]),
    ("Mr. Fox's big-eared dog isn't in the U.S. today, at 5 p.m. ...", ["mr. fox 's big eared dog is not in the us today"]),
    ("the firemen look at a bus", ["firefighters watch the coaches", "a fireman by the side of a bus"]),
    ("caf\u00e9 \U0001f98a \u201cauto\u201d", ["\"caf\u00e9\" \U0001f98a", "na\u00efve \u0130stanbul"]),
    ("the dog is able to run fast on top of the big box", ["it can race on a large crate", "a big dog runs fast"]),
    ("one dog and one man and one dog and a man", ["a man and a dog and a man and a dog and the only man"]),
]
VOCABULARY = """a a a the the of in on in front of next to beside by the side of man men someone person dog dogs hound
puppies big large bigger small run runs ran running race races racing mice mouse rodent box boxes crate city cities town
is able to can many a lot of it one watch look at looking buses coach lying rests ox oxen glasses spectacles red quickly
quick happiness happy happily .""".split()

STEMS = """generate communicate arsenal happy relation organize conform vile beauty day say enjoy yellow youth cry tie
hop hope plan plane control fail fall agree feed sky ski news inning outing proceed succeed early only gentle ugly
logic geology analogy sensible electric adjust depend activate formal decisive use bus gas kiss wolf caf\u00e9
na\u00efve o'clock dog's dogs' 's 'tis y yy byy ll e ied ies""".split()
SUFFIXES = """ s es ' 's 's' ed ing ly y ies ied ness ful fully fulness less lessly ous ously ousness al ally ality ation
ational ative ator ization izer ize ism ible ability able ably ance ant ence ent ently ement ment ion tional ive iveness
ivity icate icity ical ology ogi li iti e l edly ingly eed eedly bli enci anci""".split()

TEXTS = [
    "a dog .", "a dog.", "dogs, cats,birds", "1,000 dogs , 2,a b,3", "a,b,c", "`` quoted '' \u201cwords\u201d \u2018here\u2019",
    "isn't o'clock dogs' 'tis 1990's rock'n'roll man 's n't ' s", "black-and-white x-y-z -lrb- U.S.-based 3-4 - -- --- \u2013",
    "Mr. Fox v. Mr. Hen No. 5 no. 5 No. five Art. 3", "u.s. U.S. p.m. e.g. i.e. 3.5 .5 5. a.b", "a. b. C. d. 7.",
    "wait.. what... really.... .", "$5.00 50% <b> a&b a/b a_b a=b #1 @me", "caf\u00e9 \u0160koda \u017deleznice \u041c\u043e\u0441\u043a\u0432\u0430 \u4e2d\u6587 \U0001f98a\U0001f98a",
    "a\u00a0b\u2003c\u3000d\te", "", "   ", "...", "'", "''", "-", ".", "\u00c9COLE \u0130STANBUL stra\u00dfe",
]


def ask(program, lines):
    """The lines that a class of the jar answers to lines of standard input."""
    run = subprocess.run(JAVA + ["-cp", str(JAR)] + program, input="".join(line + "\n" for line in lines).encode(),
                         stdout=subprocess.PIPE, check=True)
    return run.stdout.decode().split("\n")[:-1]


def meteor(cases, options=()):
    """Statistics and score of each case, and the corpus score, as pycocoevalcap asks for them."""
    program = ["Meteor", "-", "-", "-stdio", "-l", "en", "-norm", *options]
    statistics = ask(program, [" ||| ".join(["SCORE", *references, hypothesis]) for hypothesis, references in cases])
    scores = [float(line) for line in ask(program, [" ||| ".join(["EVAL", *statistics])])]
    assert len(scores) == len(cases) + 1
    return [[int(float(x)) for x in line.split()] for line in statistics], scores[:-1], scores[-1]


def dump(name, value):
    with open(OUTPUT / name, "w") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def write_tables():
    folder = OUTPUT / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "function.words": "\n".join(FUNCTION_WORDS) + "\n",
        "english.prefixes": "\n".join(PREFIXES) + "\n",
        "english.synsets": "".join(f"{word}\n{' '.join(map(str, ids))}\n" for word, ids in SYNSETS.items()),
        "english.exceptions": "".join(f"{base}\n{' '.join(forms)}\n" for base, forms in EXCEPTIONS.items()),
        "paraphrases.txt": "".join(f"0.5\n{phrase}\n{meaning}\n" for phrase, meaning in PARAPHRASES),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def cases(folder):
    generator = random.Random(5)
    chosen = list(CASES)
    for _ in range(150):
        sentence = lambda: " ".join(generator.choice(VOCABULARY) for _ in range(generator.randint(1, 22)))
        chosen.append((sentence(), [sentence() for _ in range(generator.randint(1, 3))]))
    with tempfile.NamedTemporaryFile(suffix=".gz") as packed:
        packed.write(gzip.compress((folder / "paraphrases.txt").read_bytes()))
        packed.flush()
        options = ["-s", str(folder / "function.words"), "-d", str(folder), "-a", packed.name]
        statistics, scores, corpus = meteor(chosen, options)
    dump("cases.json", dict(corpus=corpus, cases=[
        dict(hypothesis=hypothesis, references=references, statistics=counts, score=score)
        for (hypothesis, references), counts, score in zip(chosen, statistics, scores)]))


def stems():
    generator = random.Random(6)
    words = [stem + suffix for stem in STEMS for suffix in SUFFIXES[:12]]
    words += [generator.choice(STEMS)[: generator.randint(1, 9)] + generator.choice(SUFFIXES) + generator.choice(SUFFIXES)
              for _ in range(800)]
    words += ["".join(generator.choice("aeiouyyssedinglytwx'b") for _ in range(generator.randint(1, 9))) for _ in range(400)]
    words = sorted(set(words))
    (OUTPUT / "stems.txt").write_text("".join(f"{w} {s}\n" for w, s in zip(words, ask(["Stemmer", "english"], words), strict=True)))


def normalized():
    generator = random.Random(7)
    alphabet = "aabs..,,''--`\u2018\u2019\u201c\u2013\u2026\"(!;&/  19\u00e9\u0160\u0416\u4e2d\u00a0\t"
    texts = TEXTS + ["".join(generator.choice(alphabet) for _ in range(generator.randint(2, 24))) for _ in range(400)]
    lines = ask(["edu.cmu.meteor.util.Normalizer", "en", "true"], texts)
    # The jar lower-cases afterwards and splits at blanks; none of these texts has a letter that Java and Python lower
    # differently.
    dump("words.json", [[text, [word for word in line.lower().split(" ") if word]] for text, line in zip(texts, lines, strict=True)])


def archive():
    with zipfile.ZipFile(OUTPUT / "archive.zip", "w") as file:
        for name, method in ("stored.txt", zipfile.ZIP_STORED), ("folder/deflated.txt", zipfile.ZIP_DEFLATED):
            member = zipfile.ZipInfo(name)
            member.compress_type = method
            file.writestr(member, "a red fox\n" * 100)


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def plain(text):
    """Words between blanks, ASCII letters in lower case."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in " ".join(text.split()))


def full(name, chosen):
    _, scores, corpus = meteor(chosen)
    texts = "\n".join("\n".join([hypothesis, *references]) for hypothesis, references in chosen)
    dump(name, dict(texts_fnv1a=fnv1a(texts), corpus=corpus, scores=[round(score, 8) for score in scores]))
    print(name, len(scores), "captions, corpus", corpus)


def karpathy(folder):
    references = {}
    for entry in json.loads((folder / "karpathy_test_gt.json").read_text())["annotations"]:
        references.setdefault(entry["image_id"], []).append(plain(entry["caption"]))
    predictions = json.loads((folder / "karpathy_test_predictions.json").read_text())
    full("karpathy.json", [(plain(entry["caption"]), references[entry["image_id"]]) for entry in predictions])


def flickr8k(folder):
    captions = {}
    for line in (folder / "Flickr8k.token.txt").read_text().splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], []).append(plain(caption))
    full("flickr8k.json", [(texts[0], texts[1:]) for texts in captions.values() if len(texts) > 1])


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    cases(write_tables())
    stems()
    normalized()
    archive()
    if len(sys.argv) > 1:
        shared = pathlib.Path(sys.argv[1])
        karpathy(shared / "caption-metrics")
        flickr8k(shared / "flickr8k-judgements")


if __name__ == "__main__":
    main()
