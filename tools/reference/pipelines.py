"""Known answers for readback/text's load_tokenizer: tokenizers that are put together of the parts of tokenizer.json.

    python tools/reference/pipelines.py [--data DIR]          writes tests/goldens/text/pipelines/
    python tools/reference/pipelines.py full DIR [FOLDER…]    writes repositories of real size into DIR, with answers.json

--data  the folder of captions that text.py reads too: trains the vocabularies and writes corpus.json. Without it the
        vocabularies and corpus.json stay as they are. Needs the packages sentencepiece and protobuf.
full    trains larger vocabularies, T5's with the whole nmt_nfkc table of characters, copies what each FOLDER's
        tokenizer.json (of a real model) says beside them, and writes what transformers makes of the stress texts and of
        all captions. READBACK_TOKENIZERS=DIR test_text compares.

A case is a tokenizer.json with some keys replaced. Its reference is transformers' TokenizersBackend, which reads that file
as it is; where there is none, GPT2Tokenizer.
"""

import argparse
import base64
import copy
import io
import json
import random
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from text import CODE_POINTS, GOLDENS, INVALID, ROOT, STRESS, compact, corpus, corpus_answers, digest, shorten, text_of, write
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer, T5Tokenizer, TokenizersBackend
from transformers.tokenization_utils_base import generate_merges

PIPELINES = GOLDENS / "pipelines"
MARK = "\u2581"
END = "<|endoftext|>"
EXTRA_IDS = 20  # T5 has 100

# Beside text.py's.
STRESS = STRESS + [
    [["<image>a <image> b</s><s>  x <unk>y", 1]],
    [["<fake_token_around_image><image><fake_token_around_image>User: what is it?<end_of_utterance>\nAssistant:", 1]],
    [["a  b   c    d\n\n  e\n \n\tf \r\n g  ", 1]],
    [["  two before", 1]], [["two behind  ", 1]], [[" ", 1]], [["\n", 1]], [["\u3000wide\u3000", 1]],
    [["<extra_id_0> one <extra_id_1>two<extra_id_19> <extra_id_99>", 1]],
    [["\u2581marks\u2581\u2581 \u2581 a\u2581b", 1]],
    [["<0x41><0xE4> <0x0a>", 1]],
    [["A\u030a e\u0301\u0301 \u212b\u0323 \ufb01\u0301 \u00bd\u0301 \u00bd\u0323 o\u0308x \u200b\u200bx \uff11\uff12\uff13 \uff28\uff49", 1]],
    [["1 22 333 4444 55555 \u0663\u0664 \u00b2\u00b3 \u216b1", 1]],
    [["CAN'T We'Ll '\u017f 'T x'S", 1]],
    [["<my-cat> <my-cat>s  big-dog  new token\tnewtokens NEWTOKEN", 1]],
    [["\U00011de1\U00016ff5 5\U00011de1", 1]],
    [["ab 1", 2500]], [["  ", 5000]], [["\r\n", 3000]], [["\u0301a", 3000]], [["<s>", 3000]],
]


def captions(data):
    annotations = json.loads((data / "coco-mini/captions.json").read_text(encoding="utf-8"))["annotations"]
    return [annotation["caption"] for annotation in annotations]


def added(id, content, **options):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {**token, **options}


def tail(*tokens, **options):
    """Added tokens that stand behind the vocabulary; their ids are those they will get."""
    return [added(1_000_000 + i, token, **options) for i, token in enumerate(tokens)]


def template(before, after):
    """Post-processing with special tokens, pairs of a token and its id."""
    special = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    single = [*(special(t) for t, _ in before), sequence, *(special(t) for t, _ in after)]
    ids = {token: {"id": token, "ids": [id], "tokens": [token]} for token, id in [*before, *after]}
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ids}


def unified(model, **parts):
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    return {"version": "1.0", **empty, "added_tokens": [], **parts, "model": model}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PLAIN_BYTES = {**BYTE_LEVEL, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def pre(*parts):
    return sequence("pretokenizers", *parts)


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def metaspace(**options):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True, **options}


def train_bytes(texts, merges):
    """As OPT's: <s> <pad> </s> <unk> before the alphabet."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<s>", "<pad>", "</s>", "<unk>", END]
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=261 + merges, special_tokens=special,
                                                           initial_alphabet=alphabet, show_progress=False))
    trained = json.loads(backend.to_str())["model"]
    return unified(trained, added_tokens=[added(4, END)], pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL,
                   post_processor=BYTE_LEVEL)


def train_pieces(texts, **options):
    """A trained sentencepiece model, as its message."""
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=stream, num_threads=1,
                                             minloglevel=2, **options)
    return sentencepiece_model_pb2.ModelProto.FromString(stream.getvalue()), stream.getvalue()


def rules():
    """A small table of characters, as nmt_nfkc has them."""
    lines = []

    def rule(source, target):
        if source != target:
            lines.append("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in (source, target)))

    for c in [*range(0xFB00, 0xFB07), 0xBC, 0xBD, 0xBE, 0x2460, 0x216B, 0x212B, 0x2126, 0xB2, 0xB3, *range(0xFF01, 0xFF5F),
              0x3000, 0xA0, 0x2026, 0x1F1E]:
        rule(chr(c), unicodedata.normalize("NFKC", chr(c)))
    for base in "AEIOUaeiouncyÅ":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u030a\u0327":
            composed = unicodedata.normalize("NFKC", base + mark)
            if len(composed) == 1:
                rule(base + mark, composed)
    rule("|", "\u00a6")  # a character of one byte, which clusters with marks of four
    for c in "\t\n\r\u2028\u200b\ufeff":
        rule(c, " ")
    for c in "\x01\x7f\u00ad":
        rule(c, "")
    return "\n".join(lines) + "\n"


def train_unigram(texts, size, extra_ids, **options):
    """T5's: <pad> </s> <unk>, pieces, then the extra ids from the last to the first."""
    message, raw = train_pieces(texts, model_type="unigram", vocab_size=size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                character_coverage=1.0, **options)
    pieces = [[piece.piece, piece.score] for piece in message.pieces]
    extra = [f"<extra_id_{i}>" for i in reversed(range(extra_ids))]
    table = base64.b64encode(message.normalizer_spec.precompiled_charsmap).decode()
    tokens = [added(i, pieces[i][0]) for i in range(3)]
    tokens += [added(len(pieces) + i, token) for i, token in enumerate(extra)]
    model = {"type": "Unigram", "unk_id": 2, "vocab": pieces + [[token, 0.0] for token in extra], "byte_fallback": False}
    result = unified(model, added_tokens=tokens, normalizer={"type": "Precompiled", "precompiled_charsmap": table},
                     pre_tokenizer=pre({"type": "WhitespaceSplit"}, metaspace()), decoder=metaspace(),
                     post_processor=template([], [("</s>", 1)]))
    check_sentencepiece(result, raw, texts)
    return result


def train_fallback(texts, size):
    """LLaMA's: <unk> <s> </s>, the bytes, pieces in the order of their merges."""
    message, raw = train_pieces(texts, model_type="bpe", vocab_size=size, byte_fallback=True, unk_id=0, bos_id=1, eos_id=2,
                                normalization_rule_name="identity", remove_extra_whitespaces=False,
                                character_coverage=1.0, split_digits=True)
    vocabulary = {piece.piece: id for id, piece in enumerate(message.pieces)}
    scores = {piece.piece: piece.score for piece in message.pieces if piece.type == 1}
    merges = [" ".join(pair) for pair in generate_merges(vocabulary, scores)]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "vocab": vocabulary, "merges": merges}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    steps = [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    result = unified(model, added_tokens=[added(i, token) for i, token in enumerate(["<unk>", "<s>", "</s>"])],
                     normalizer=sequence("normalizers", {"type": "Prepend", "prepend": MARK}, space),
                     decoder=sequence("decoders", *steps), post_processor=template([("<s>", 1)], []))
    check_sentencepiece(result, raw, texts)
    return result


def check_sentencepiece(tokenizer_json, raw, texts):
    """The conversion is right: sentencepiece itself finds the same ids, but for ties (its scores have 32 bits)."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=raw)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json))
    same = [tokenizer.encode(text, add_special_tokens=False).ids == processor.encode(text) for text in texts]
    assert sum(same) >= 0.995 * len(same), f"{len(same) - sum(same)} of {len(same)} texts differ"


def bytes_cases():
    both = lambda content: {"__type": "AddedToken", **{k: v for k, v in added(0, content, normalized=True).items() if k != "id"}}
    opt = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "add_bos_token": True, "pad_token": both("<pad>"),
           "unk_token": both("</s>"), "bos_token": both("</s>"), "eos_token": both("</s>"), "errors": "replace"}
    named = {"fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
             "end_of_utterance_token": "<end_of_utterance>"}
    smolvlm = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "<end_of_utterance>",
               "pad_token": "</s>", "unk_token": END, "add_prefix_space": False, "model_max_length": 8192,
               "extra_special_tokens": named, "padding_side": "left", "truncation_side": "left",
               "clean_up_tokenization_spaces": False}
    gpt2_class = {"tokenizer_class": "GPT2Tokenizer"}
    odd = [added(4, END), *tail("<my-cat>", single_word=True),
           *tail("big-dog", lstrip=True, special=False), *tail("new token", rstrip=True, normalized=True, special=False),
           *tail("</s>", "newtoken", normalized=True, special=False)]
    return [
        ("GPT-2", {}, {**gpt2_class, "model_max_length": 1024}),
        ("GPT-2, plain files", None, gpt2_class),
        ("GPT-2, plain files, space and end", None, {**gpt2_class, "add_prefix_space": True, "add_eos_token": True}),
        ("GPT-2, space before", {"pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}}, {}),
        ("OPT, plain files", None, opt),
        ("OPT of BLIP-2", {"added_tokens": [added(1, "<pad>", normalized=True), added(2, "</s>", normalized=True),
                                           *tail("<image>")],
                           "post_processor": template([("</s>", 2)], [])}, opt),
        ("SmolLM", {"pre_tokenizer": pre(DIGITS, BYTE_LEVEL), "post_processor": None}, {}),
        ("SmolVLM", {"pre_tokenizer": pre(DIGITS, BYTE_LEVEL), "post_processor": None, "added_tokens": [
            *(added(i, t) for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", END])),
            *tail("<fake_token_around_image>", "<image>", "<end_of_utterance>")]}, smolvlm),
        ("Llama 3", {"pre_tokenizer": pre(split({"Regex": LLAMA3}), PLAIN_BYTES),
                     "model": {"ignore_merges": True},
                     "post_processor": sequence("processors", BYTE_LEVEL, template([("<s>", 0)], []))}, {}),
        ("Qwen 2", {"normalizer": {"type": "NFC"}, "pre_tokenizer": pre(split({"Regex": QWEN2}), PLAIN_BYTES)}, {}),
        ("merged with previous", {"pre_tokenizer": pre(split({"String": " "}, "MergedWithPrevious"), PLAIN_BYTES)}, {}),
        ("merged with next", {"pre_tokenizer": pre(split({"Regex": r"\s"}, "MergedWithNext"), PLAIN_BYTES)}, {}),
        ("contiguous", {"pre_tokenizer": pre(split({"Regex": r"\s"}, "Contiguous"), PLAIN_BYTES)}, {}),
        ("removed", {"pre_tokenizer": pre(split({"Regex": r"[\p{L}\-]+"}, "Removed", True), PLAIN_BYTES)}, {}),
        ("digits together", {"pre_tokenizer": pre({"type": "Digits", "individual_digits": False}, BYTE_LEVEL)}, {}),
        ("lower case, decomposed", {"normalizer": sequence("normalizers", {"type": "NFD"}, {"type": "Lowercase"},
                                                           {"type": "Strip", "strip_left": True, "strip_right": False})}, {}),
        ("Roberta", {"post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                                       "trim_offsets": True, "add_prefix_space": False}}, {}),
        ("added tokens", {"added_tokens": odd}, {"clean_up_tokenization_spaces": True}),
        ("added tokens by both", {"added_tokens": odd}, {"added_tokens_decoder": {
            "4": {k: v for k, v in added(4, END, lstrip=True).items() if k != "id"}}, "image_token": "<image>"}),
        ("clean-up forced", {}, {"clean_up_tokenization_spaces": True,
                                 "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}),
        ("special tokens split", {}, {"split_special_tokens": True}),
    ]


def unigram_cases(base):
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": MARK}
    model = base["model"]
    pieces = model["vocab"] + [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    t5 = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
          "extra_ids": EXTRA_IDS, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(EXTRA_IDS)]}
    return [
        ("T5", {}, {**t5, "model_max_length": 512}),
        ("T5, cleaned up", {}, {**t5, "clean_up_tokenization_spaces": True}),
        ("T5, newer", {"normalizer": sequence("normalizers", base["normalizer"], strip, spaces),
                       "pre_tokenizer": metaspace()}, t5),
        ("older mark", {"pre_tokenizer": pre({"type": "WhitespaceSplit"}, {
            "type": "Metaspace", "replacement": MARK, "add_prefix_space": True, "str_rep": MARK}),
            "decoder": {"type": "Metaspace", "replacement": MARK, "add_prefix_space": True, "str_rep": MARK}}, t5),
        ("mark at the start", {"pre_tokenizer": metaspace(prepend_scheme="first"),
                               "decoder": metaspace(prepend_scheme="first")}, {}),
        ("mark at the start, words", {"pre_tokenizer": pre({"type": "WhitespaceSplit"},
                                                           metaspace(prepend_scheme="first"))}, {}),
        ("no mark", {"pre_tokenizer": metaspace(prepend_scheme="never", split=False),
                     "decoder": metaspace(prepend_scheme="never")}, {}),
        ("bytes", {"model": {"vocab": pieces, "byte_fallback": True}}, {}),
        ("no normalizer, no decoder", {"normalizer": None, "decoder": None}, t5),
        ("a piece twice", {"model": {"vocab": model["vocab"] + [["a", -1.0], [MARK + "dog", -2.5]]}}, {}),
    ]


def fallback_cases(base):
    decoder = base["decoder"]["decoders"]
    first = {"normalizer": None, "pre_tokenizer": metaspace(prepend_scheme="first", split=False)}
    llama = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
             "add_bos_token": True, "add_eos_token": True, "padding_side": "left",
             "model_max_length": 1000000000000000019884624838656}
    unknown = [f"<0x{byte:02X}>" for byte in range(256)]
    others = [token for token in base["model"]["vocab"] if token not in unknown]
    without_bytes = {"vocab": {token: id for id, token in enumerate(others)}, "byte_fallback": True}
    idefics = [added(i, t, normalized=True) for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    return [
        ("LLaMA", {}, llama),
        ("LLaMA, mark at the start", first, llama),
        ("LLaMA, mark before words", {**first, "pre_tokenizer": metaspace()}, {}),
        ("LLaMA, no mark", {**first, "pre_tokenizer": metaspace(prepend_scheme="never"),
                            "decoder": sequence("decoders", *decoder[:3])}, {}),
        ("IDEFICS", {"added_tokens": idefics + tail("<fake_token_around_image>", "<image>")},
         {**llama, "additional_special_tokens": ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]}),
        ("unknown ones together", {"model": {"byte_fallback": False}}, {}),
        ("unknown ones apart", {"model": {"byte_fallback": False, "fuse_unk": False}}, {}),
        ("unknown ones left out", {"model": {"byte_fallback": False, "unk_token": None}}, {}),
        ("bytes that are not there", {"model": without_bytes}, {}),
        ("stripped", {"decoder": sequence("decoders", decoder[0], decoder[2],
                                          {"type": "Strip", "content": " ", "start": 2, "stop": 0})}, {}),
        ("no decoder", {"decoder": None}, {}),
    ]


def patched(base, patch):
    result = copy.deepcopy(base)
    for key, value in patch.items():
        result[key] = {**result[key], **value} if key == "model" else value
    return result


def write_folder(folder, base, patch, config):
    if patch is None:
        (folder / "vocab.json").write_text(json.dumps(base["model"]["vocab"]))
        merges = [m if isinstance(m, str) else " ".join(m) for m in base["model"]["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    else:
        (folder / "tokenizer.json").write_text(json.dumps(patched(base, patch)))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))


def load(folder):
    return (TokenizersBackend if (folder / "tokenizer.json").exists() else GPT2Tokenizer).from_pretrained(folder)


def check_classes(tokenizer, folder, config, texts):
    """The class that the configuration names finds the same, where it does not replace parts of tokenizer.json."""
    classes = {"T5Tokenizer": T5Tokenizer, "GPT2Tokenizer": GPT2Tokenizer}
    named = classes.get(config.get("tokenizer_class"))
    if named is None:
        return
    other = named.from_pretrained(folder)
    if other.backend_tokenizer.pre_tokenizer.__getstate__() != tokenizer.backend_tokenizer.pre_tokenizer.__getstate__():
        return
    if str(other.backend_tokenizer.normalizer) != str(tokenizer.backend_tokenizer.normalizer):
        return
    assert other(texts)["input_ids"] == tokenizer(texts)["input_ids"], named


def answers(tokenizer, texts, lists, as_digests):
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    framed = [tokenizer(text)["input_ids"] for text in texts]
    whole, alone = framed[0], ids[0]
    assert not alone
    special = next(i for i in range(len(whole) + 1) if all(f == whole[:i] + a + whole[i:] for f, a in zip(framed, ids)))
    decoded = tokenizer.batch_decode(ids, skip_special_tokens=True)
    listed = tokenizer.batch_decode(lists, skip_special_tokens=True)
    if as_digests:
        encoded = [digest([i, list(d.encode())]) for i, d in zip(ids, decoded)]
        listed = digest([list(text.encode()) for text in listed])
    else:
        encoded, listed = [[compact(i), shorten(d)] for i, d in zip(ids, decoded)], [shorten(text) for text in listed]
    return {
        "size": len(tokenizer),
        "special": {role: tokenizer.convert_tokens_to_ids(token) for role, token in tokenizer.special_tokens_map.items()
                    if isinstance(token, str)},
        "before": whole[:special],
        "after": whole[special:],
        "encoded": encoded,
        "decoded": listed,
    }


def write_cases():
    texts = [text_of(pieces) for pieces in STRESS] + [bytes.decode("utf-8", "replace") for bytes in INVALID]
    result = {"texts": STRESS, "invalid": [bytes.hex() for bytes in INVALID], "cases": []}
    corpora = {}
    random.seed(0)
    for kind, cases in [("bytes", lambda _: bytes_cases()), ("unigram", unigram_cases), ("fallback", fallback_cases)]:
        base = json.loads((PIPELINES / f"{kind}.json").read_text(encoding="utf-8"))
        lists = None
        for name, patch, config in cases(base):
            with tempfile.TemporaryDirectory() as name_of_folder:
                folder = Path(name_of_folder)
                write_folder(folder, base, patch, config)
                tokenizer = load(folder)
                if patch is not None:
                    check_classes(tokenizer, folder, config, texts)
            if lists is None:
                size = len(tokenizer)
                lists = [[random.randrange(size) for _ in range(random.randrange(12))] for _ in range(30)]
                lists += [ids for ids in (tokenizer(t)["input_ids"] for t in texts) if 2 < len(ids) < 60]
                result[f"{kind}_ids"] = lists
                answer = answers(tokenizer, texts, lists, False)
            else:
                answer = answers(tokenizer, texts, lists, True)
            result["cases"].append({"name": name, "kind": kind, "patch": patch, "config": config, **answer})
            corpora[f"{kind}: {name}"] = tokenizer
    write(PIPELINES / "cases.json", result)
    return corpora


CORPUS_CASES = ["bytes: OPT of BLIP-2", "bytes: SmolVLM", "bytes: Llama 3", "unigram: T5", "unigram: T5, newer",
                "fallback: LLaMA", "fallback: LLaMA, mark at the start"]


def table_answers(tokenizer_json):
    """What the table of characters makes of every code point, alone and in a cluster with others."""
    normalizer = Tokenizer.from_str(json.dumps(tokenizer_json)).normalizer
    points = [chr(c) for c in CODE_POINTS]
    groups = {"alone": points, "after": ["\u00bd" + c for c in points], "before": [c + "\u0301" for c in points],
              "after one byte": ["|" + c for c in points]}
    return {name: digest([[ord(x) for x in normalizer.normalize_str(text)] for text in group])
            for name, group in groups.items()}


def dump(path, tokenizer_json):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tokenizer_json, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def write_full(out, folders, data):
    sentences = [text for texts in corpus(data).values() for text in texts if 10 < len(text) < 400][:60000]
    repositories = {
        "gpt2": (train_bytes(sentences, 20000), {}),
        "t5": (train_unigram(sentences, 8000, 100, normalization_rule_name="nmt_nfkc"), {"extra_ids": 100}),
        "llama": (train_fallback(sentences, 8000), {}),
    }
    for name, (content, config) in repositories.items():
        dump(out / name / "tokenizer.json", content)
        (out / name / "tokenizer_config.json").write_text(json.dumps(config))
    for folder in folders:
        (out / folder.name).mkdir(exist_ok=True)
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
            if (folder / file).exists():
                shutil.copy(folder / file, out / folder.name)
    texts = [text_of(pieces) for pieces in STRESS]
    result = {"texts": STRESS, "table": table_answers(repositories["t5"][0])}
    tokenizers = {path.parent.name: load(path.parent) for path in sorted(out.glob("*/tokenizer.json"))}
    for name, tokenizer in tokenizers.items():
        result[name] = answers(tokenizer, texts, [], True)
    result["corpus"] = corpus_answers(tokenizers, data)
    write(out / "answers.json", result)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("full", nargs="*", help="full DIR [FOLDER…]")
    options = parser.parse_args()
    if options.full:
        if options.full[0] != "full" or len(options.full) < 2:
            sys.exit(__doc__)
        return write_full(Path(options.full[1]), [Path(folder) for folder in options.full[2:]], options.data)
    if options.data.is_dir():
        texts = captions(options.data)
        dump(PIPELINES / "bytes.json", train_bytes(texts, 400))
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as table:
            table.write(rules())
            table.flush()
            dump(PIPELINES / "unigram.json",
                 train_unigram(texts, 400, EXTRA_IDS, normalization_rule_tsv=table.name))
        dump(PIPELINES / "fallback.json", train_fallback(texts, 700))
    tokenizers = write_cases()
    if options.data.is_dir():
        chosen = {name: tokenizers[name] for name in CORPUS_CASES}
        table = json.loads((PIPELINES / "unigram.json").read_text(encoding="utf-8"))
        write(PIPELINES / "corpus.json", {"table": table_answers(table), "files": corpus_answers(chosen, options.data)})


if __name__ == "__main__":
    main()
