"""Inception-v3, DINO and MiniLM at full size with random weights, and whether readback agrees on them.

    python tools/reference/full_size_metrics.py write FOLDER --photos PHOTOS
    READBACK_FULL_SIZE_METRICS=FOLDER build/bin/test_score --gtest_filter='FullSize*'
    python tools/reference/full_size_metrics.py time FOLDER [--batch-size 32] [--threads 2]

`write` makes inception.pth (torch-fidelity's layout), dino-vits16, dino-vitb8 and minilm (repositories), two folders of
500 pictures cut out of PHOTOS, the second ones blurred and darkened, and reference.{json,safetensors}: features, FID,
KID and Inception Score by torch-fidelity, class tokens by transformers, vectors by sentence-transformers.
`time` prints torch-fidelity's pictures a second; `FullSize.Speed` prints readback's (READBACK_BATCH_SIZE,
OMP_NUM_THREADS).
"""

import argparse
import json
import pathlib
import shutil
import time

import numpy as np
import torch
import torch_fidelity
from PIL import Image, ImageEnhance, ImageFilter
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, ViTConfig, ViTImageProcessorPil, ViTModel

from image_metrics import GOLDENS, LAYERS, hashed_inception, original_positions
from models import randomise

PICTURES, SIDE = 500, 256
SUBSETS = dict(kid_subsets=50, kid_subset_size=200)
LAST = LAYERS[3:5]


def write_pictures(folder, photos):
    generator = np.random.default_rng(1)
    files = sorted(photos.glob("*.jpg"))
    for name in ("a", "b"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        for i in range(PICTURES):
            image = Image.open(files[generator.integers(len(files))]).convert("RGB")
            side = int(generator.integers(SIDE // 2, min(image.size)))
            x, y = (int(generator.integers(0, length - side + 1)) for length in image.size)
            image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(x, y, x + side, y + side))
            if name == "b":
                image = ImageEnhance.Brightness(image.filter(ImageFilter.GaussianBlur(1))).enhance(0.8)
            image.save(folder / name / f"{i:04}.png")


def load(folder, count):
    files = sorted(folder.iterdir())[:count]
    return torch.stack([torch.from_numpy(np.array(Image.open(f))).permute(2, 0, 1) for f in files])


def write_inception(folder):
    """Norms take the statistics of real pictures, so that features differ between pictures as a trained network's do."""
    model = hashed_inception(LAYERS)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(load(folder / "a", 32))
        model.eval()
        torch.save(model.state_dict(), folder / "inception.pth")
        return dict(zip(LAYERS, model(load(folder / "a", 8))))


def write_dino(folder, name, **shape):
    model = randomise(ViTModel(ViTConfig(**shape), add_pooling_layer=False), 5)
    model.save_pretrained(folder / name)
    options = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    ViTImageProcessorPil(**options).save_pretrained(folder / name)
    images = [Image.open(f) for f in sorted((folder / "a").iterdir())[:3]]
    tokens = {}

    def run(key, side):
        processor = ViTImageProcessorPil(size={"height": side, "width": side}, **options)
        pixels = processor(images, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            tokens[f"{name}.{key}"] = model(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0].clone()

    run("224", 224)
    run("384-exact-size", 384)
    embeddings = model.embeddings
    embeddings.interpolate_pos_encoding = lambda *a: original_positions(embeddings, *a)
    run("384", 384)
    return tokens


def write_minilm(folder):
    path = folder / "minilm"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(GOLDENS / "score" / "sentence", path, ignore=shutil.ignore_patterns("v6", "tokenizer.json"))
    words = (path / "vocab.txt").read_text().splitlines()
    (path / "vocab.txt").write_text("\n".join(words + [f"filler{i}" for i in range(30522 - len(words))]) + "\n")
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    randomise(BertModel(config), 6).save_pretrained(path)
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": False}))
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"embedding_dimension": 384, "pooling_mode": "mean"}))
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 512}))
    texts = json.loads((path / "texts.json").read_text())
    return {"minilm": SentenceTransformer(str(path), device="cpu").encode(texts, convert_to_tensor=True)}


def metrics(folder, batch_size):
    return torch_fidelity.calculate_metrics(
        input1=str(folder / "a"), input2=str(folder / "b"), fid=True, kid=True, isc=True, cuda=False, verbose=False,
        batch_size=batch_size, cache=False, feature_extractor_weights_path=str(folder / "inception.pth"), **SUBSETS)


def write(folder, photos):
    write_pictures(folder, photos)
    features = write_inception(folder)
    tensors = {f"inception.{k}": v for k, v in features.items()}
    tensors |= write_dino(folder, "dino-vits16", hidden_size=384, num_attention_heads=6, intermediate_size=1536)
    tensors |= write_dino(folder, "dino-vitb8", patch_size=8)
    tensors |= write_minilm(folder)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "reference.safetensors")
    values = metrics(folder, 32)
    (folder / "reference.json").write_text(json.dumps(values | SUBSETS, indent=1) + "\n")
    print(json.dumps(values, indent=1))


def measure(folder, batch_size):
    """Features of one folder, decoded as torch-fidelity does (its data loader has a process a core)."""
    from torch_fidelity.utils import create_feature_extractor, extract_featuresdict_from_input_id

    options = dict(cuda=False, verbose=False, feature_extractor_weights_path=str(folder / "inception.pth"))
    extractor = create_feature_extractor("inception-v3-compat", LAST, **options)
    start = time.perf_counter()
    extract_featuresdict_from_input_id(1, extractor, input1=str(folder / "a"), batch_size=batch_size, **options)
    seconds = time.perf_counter() - start
    pixels = load(folder / "a", batch_size)
    extractor(pixels)
    start = time.perf_counter()
    for _ in range(3):
        extractor(pixels)
    print(f"torch-fidelity: {PICTURES / seconds:.1f} pictures/s from files, "
          f"{3 * batch_size / (time.perf_counter() - start):.1f} pictures/s in memory, batches of {batch_size}, "
          f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["write", "time"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--photos", type=pathlib.Path, help="a folder of .jpg files of at least 256 pixels a side")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.action == "write":
        write(arguments.folder, arguments.photos)
    else:
        measure(arguments.folder, arguments.batch_size)
