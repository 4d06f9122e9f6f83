"""Tokens of Stanford CoreNLP 3.4.1, as pycocoevalcap's PTBTokenizer asks for them (needs Java).

    python tools/reference/ptb.py [SHARED_DATA_FOLDER]

Writes tests/goldens/text/ptb.json: the cases of tools/reference/ptb_cases.txt, one by one; texts in their context; and,
given the folder of test data, for each of its sets of captions the hash of the tokens of every thousand captions. Without
the folder the hashes that are there are kept.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import pycocoevalcap.tokenizer.ptbtokenizer as reference

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "tests/goldens/text/ptb.json"
JAR = pathlib.Path(reference.__file__).parent / reference.STANFORD_CORENLP_3_4_1_JAR
FENCE = "zqzqzq"  # a line between cases, so that none is context of another

CONTROLS = ["a\rb", "a\r\nb", "a\x0bb\x0cc", "a\u0085b", "a\u2028b\u2029c", "a\x00b \x01 c\x7fd", "a\x1bb \x9f c",
            "end.\rThe dog", "U.S.\r\nThe dog", "plan B.\u2028The dog", "a\x91b\x92 \x93c\x94 \x96 \x97 \x80 5", "\ufffd a\ufffdb",
            "\ud7ff\ue000\uffff", "x" * 3000, "-" * 50 + "." * 50 + "!" * 50, "a-" * 500, "a." * 500, "'" * 99, "@" * 99 + "a",
            "<a b='" * 50, "www." * 100, "1," * 100 + "5", "(" * 30 + ")" * 30]
BYTES = [b"caf\xe9 dog", b"a \xff\xfe b", b"http://a\xe2\x82b.c/d", b"http://a\xf0\x9f\x98b", b"\xc3\x28 x", b"\xed\xa0\x80 y",
         b"http://\xed\xa0\x80x", b"http://\xf4\x90\x80\x80x", b"http://\xc0\xafx", b"a@\xe2\x82", b"z \xe2\x82"]
CONTEXTS = [["plan B.", "The dog"], ["plan B.", "A dog"], ["plan B.", "a dog"], ["plan B.", "Dogs run"], ["plan B.", "", "The dog"],
            ["plan B."], ["it is no.", "5 dogs"], ["so :)"], ["so :)", "x"], ["the U.S.", "The dog"], ["Inc.", ""], ["etc.", "a"],
            ["etc."], ["a.txt"], ["a.txt", "b"], ["1.mp3"], ["1.mp3", "b"], ["class of '05"], ["class of '05", "b"], ["B.", "The"],
            ["plan B.", "Mr. Dog"], ["plan B.", "<b> dog"], ["", ""], [".", "..", "...x"]]


def run(lines):
    """Token lines of the jar, as printed."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"\n".join(lines))
        file.flush()
        command = ["java", "-cp", JAR, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", file.name]
        output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    return output.decode().split("\n")


def clean(line):
    return " ".join(w for w in line.rstrip().split(" ") if w not in reference.PUNCTUATIONS)


def one_by_one(cases):
    """Tokens of each case; those that the jar breaks into lines are joined."""
    lines = [FENCE.encode()]
    for case in cases:
        lines += [case, FENCE.encode()]
    result, current = [], None
    for line in run(lines):
        if line == FENCE:
            if current is not None:
                result.append(" ".join(filter(None, map(clean, current))))
            current = []
        elif current is not None:
            current.append(line)
    assert len(result) == len(cases), (len(result), len(cases))
    return result


def together(captions):
    lines = run([c.replace("\n", " ").encode() for c in captions])[:len(captions)]
    lines += [""] * (len(captions) - len(lines))
    return [clean(line) for line in lines]


def corpora(folder):
    def read(path):
        return json.loads((folder / path).read_text(encoding="utf-8"))

    flickr = (folder / "flickr8k-judgements/Flickr8k.token.txt").read_text(encoding="utf-8").split("\n")
    yield "coco-mini", [a["caption"] for a in read("coco-mini/captions.json")["annotations"]]
    yield "karpathy-references", [a["caption"] for a in read("caption-metrics/karpathy_test_gt.json")["annotations"]]
    yield "karpathy-predictions", [a["caption"] for a in read("caption-metrics/karpathy_test_predictions.json")]
    yield "flickr8k", [line.split("\t", 1)[1] for line in flickr if line]
    yield "paper-coco", [c for e in read("paper-protocol/coco_karpathy_test.json") for c in e["caption"]]
    for name in ("sd_coco", "sd_nocaps"):
        yield name, read(f"paper-protocol/{name}.json")[0]


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def digests(captions):
    tokens = together(captions)
    return {"captions": len(captions), "digests": [fnv1a("\n".join(tokens[i:i + 1000])) for i in range(0, len(tokens), 1000)]}


if __name__ == "__main__":
    cases = (HERE / "ptb_cases.txt").read_text(encoding="utf-8").split("\n")[:-1] + CONTROLS
    golden = {
        "cases": list(zip(cases, one_by_one([c.encode("utf-8") for c in cases]))),
        "bytes": list(zip([b.hex() for b in BYTES], one_by_one(BYTES))),
        "contexts": [{"captions": c, "tokens": together(c)} for c in CONTEXTS],
    }
    if len(sys.argv) > 1:
        golden["corpora"] = {name: digests(captions) for name, captions in corpora(pathlib.Path(sys.argv[1]))}
    else:
        golden["corpora"] = json.loads(OUTPUT.read_text(encoding="utf-8"))["corpora"]
    rows = {"cases": 1, "bytes": 1, "contexts": 1}
    with open(OUTPUT, "w", encoding="utf-8") as file:  # one case a line, for reading differences
        file.write("{")
        for key in rows:
            lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in golden[key])
            file.write(f'"{key}":[\n{lines}],\n')
        file.write(f'"corpora":{json.dumps(golden["corpora"])}}}\n')
