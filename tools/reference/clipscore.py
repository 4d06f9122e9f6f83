"""Known answers of CLIPScore and RefCLIPScore, by transformers and the formulas of github.com/jmhessel/clipscore.

    python tools/reference/clipscore.py      writes tests/goldens/score/clipscore/

The golden repository is a tiny random CLIP; its pictures are those of image_metrics.picture.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import shutil

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from image_metrics import picture
from models import randomise

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
FOLDER = GOLDENS / "score" / "clipscore"
LONG = "a plate with a slice of pizza and a fork next to a glass of water on a wooden table in the sun"
CASES = [  # size of the picture, caption, references
    (48, 40, "A dog in a park.", ["a dog runs in a park", "two dogs"]),
    (40, 48, "a cat", ["a cat on a mat", "there is a cat", "A CAT"]),
    (32, 32, LONG, [LONG + " with two dogs", "pizza"]),
    (64, 33, "", ["nothing"]),
    (57, 41, "a man riding a wave on a surfboard", ["a man riding a wave on a surfboard"]),
    (33, 90, "  two   people  ", ["people sit on a bench", "a red bus"]),
    (50, 50, "caf\u00e9 \U0001f98a 12.5%", ["a drink", "a fox"]),
]


def write_model():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(GOLDENS / "text" / "clip" / name, FOLDER)
    vocabulary = json.loads((FOLDER / "vocab.json").read_text())
    begin, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    config = CLIPConfig(
        text_config=dict(vocab_size=len(vocabulary), hidden_size=12, intermediate_size=24, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=16, projection_dim=8, bos_token_id=begin,
                         eos_token_id=end, pad_token_id=end),
        vision_config=dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                           image_size=32, patch_size=8, projection_dim=8),
        projection_dim=8)
    model = randomise(CLIPModel(config), 11, 3)
    model.save_pretrained(FOLDER)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(FOLDER)
    (FOLDER / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 16, "tokenizer_class": "CLIPTokenizer"}) + "\n")
    return model


def unit(rows):
    rows = rows.double().numpy()
    return rows / np.sqrt(np.sum(rows**2, axis=1, keepdims=True))


def main():
    model = write_model()
    tokenizer, processor = CLIPTokenizer.from_pretrained(FOLDER), CLIPImageProcessorPil.from_pretrained(FOLDER)
    truncated = {"captions": 0, "references": 0}

    def texts(captions, kind):
        captions = ["A photo depicts " + caption for caption in captions]
        truncated[kind] += sum(max(0, len(tokenizer(caption).input_ids) - 16) for caption in captions)
        batch = tokenizer(captions, truncation=True, max_length=16, padding=True, return_tensors="pt")
        return unit(model.text_projection(model.text_model(**batch).pooler_output))

    rows = []
    with torch.no_grad():
        for seed, (width, height, caption, references) in enumerate(CASES):
            image = Image.fromarray(picture(width, height, seed))
            pixels = processor(image, return_tensors="pt").pixel_values
            image_row = unit(model.visual_projection(model.vision_model(pixels).pooler_output))
            text_row = texts([caption], "captions")
            score = 2.5 * max(float(image_row[0] @ text_row[0]), 0)
            nearest = max(float(np.max(text_row @ texts(references, "references").T)), 0)
            reference_score = 2 * score * nearest / (score + nearest) if score * nearest > 0 else 0
            rows.append(dict(width=width, height=height, caption=caption, references=references,
                             clipscore=score, refclipscore=reference_score))
    (FOLDER / "cases.json").write_text(json.dumps({"truncated": truncated, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
