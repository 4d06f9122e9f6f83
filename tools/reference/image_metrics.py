"""Known answers of the image metrics: Inception, DINO, FID, KID, Inception Score, PSNR, SSIM.

    python tools/reference/image_metrics.py         writes tests/goldens/score/images.safetensors and images.json,
                                                    tests/goldens/models/{inception,dino}/

Inception has one size only, 95 MB, so that its weights and its pictures are not stored but computed on both sides by
`hashed` (hashed.py) and `picture`, which tests/models/hashed.h repeats.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import math
import pathlib
import types

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from transformers import ViTConfig, ViTModel

from hashed import hashed
from models import draw, randomise

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
SIDE = 299
LAYERS = ["64", "192", "768", "2048", "logits_unbiased", "logits"]
PICTURES = [(61, 47), (299, 299), (120, 500), (640, 363)]  # width, height


def picture(width, height, seed):
    """Waves of several lengths with some noise: smooth enough that resizing matters little, rough enough that it does."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    ramp = (x * (3 + seed) + y * 5 + c * 60) % 256
    checks = ((x // 7 + y // 5 + c) % 2) * 90
    noise = (x * 31 + y * 17 + c * 7 + (x * y) % 23 * seed) % 41
    return ((ramp + checks + noise) % 256).astype(np.uint8)


def hashed_inception(layers):
    """torch-fidelity's network, which normally loads its weights while it is being made."""
    import torch_fidelity.feature_extractor_inceptionv3 as module

    original = module.FeatureExtractorInceptionV3.load_state_dict
    module.torch = types.SimpleNamespace(**{**vars(torch), "load": lambda *a, **k: {}})
    module.FeatureExtractorInceptionV3.load_state_dict = lambda self, state: None
    try:
        model = FeatureExtractorInceptionV3("inception", layers, feature_extractor_weights_path="none")
    finally:
        module.torch = torch
        module.FeatureExtractorInceptionV3.load_state_dict = original
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
        elif len(shape) > 1:
            bound = math.sqrt(6 / math.prod(shape[1:]))
            state[name] = hashed(name, shape, -bound, bound)
        elif name.endswith("bn.weight") or name.endswith("running_var"):
            state[name] = hashed(name, shape, 0.7, 1.3)
        else:
            state[name] = hashed(name, shape, -0.2, 0.2)
    model.load_state_dict(state)
    return model


def clean_fid_input(pixels):
    """clean-fid's "clean" mode: each channel resized by Pillow in floating point."""
    channels = [Image.fromarray(pixels[:, :, c].astype(np.float32), mode="F") for c in range(3)]
    resized = [np.asarray(c.resize((SIDE, SIDE), resample=Image.Resampling.BICUBIC)).clip(0, 255) for c in channels]
    return (torch.from_numpy(np.stack(resized)) - 128) / 128


def torch_fidelity_input(pixels):
    x = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float()
    return ((interpolate_bilinear_2d_like_tensorflow1x(x, size=(SIDE, SIDE), align_corners=False) - 128) / 128)[0]


def paper_input(pixels):
    image = Image.fromarray(pixels).resize((384, 384), Image.Resampling.BICUBIC)
    return torch_fidelity_input(np.array(image))


def write_inception():
    folder = GOLDENS / "models" / "inception"
    folder.mkdir(parents=True, exist_ok=True)
    model = hashed_inception(LAYERS)
    golden = {}
    with torch.no_grad():
        x = torch.from_numpy((hashed("pixels", (2, SIDE, SIDE, 3)).numpy() * 127 + 128).astype(np.uint8))
        for layer, features in zip(LAYERS, model(x.permute(0, 3, 1, 2).contiguous())):
            golden[layer] = features
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    tensors = {}
    with torch.no_grad():
        for i, (width, height) in enumerate(PICTURES):
            pixels = picture(width, height, i)
            features = model(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0))
            tensors[f"features.{i}"], tensors[f"logits_unbiased.{i}"] = features[3][0], features[4][0]
            for mode, prepare in [("torch-fidelity", torch_fidelity_input), ("clean-fid", clean_fid_input),
                                  ("paper", paper_input)]:
                tensors[f"{mode}.{i}"] = prepare(pixels)[:, ::13, ::13]
    return {k: v.clone().contiguous() for k, v in tensors.items()}


def original_positions(embeddings, hidden, height, width):
    """As facebookresearch/dino stretches them: 0.1 is added to the number of patches."""
    positions = embeddings.position_embeddings
    count, patch = positions.shape[1] - 1, embeddings.patch_size
    if hidden.shape[1] - 1 == count and height == width:
        return positions
    side = round(count**0.5)
    grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((height // patch + 0.1) / side, (width // patch + 0.1) / side)
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
    assert grid.shape[-2:] == (height // patch, width // patch)
    return torch.cat((positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, positions.shape[-1])), dim=1)


def write_dino():
    folder = GOLDENS / "models" / "dino"
    config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=24,
                       patch_size=4)
    model = randomise(ViTModel(config), 7)
    model.save_pretrained(folder)
    golden = {"input.native": draw(8, 2, 3, 24, 24), "input.other": draw(9, 2, 3, 35, 48)}
    with torch.no_grad():
        golden["output.native"] = model(golden["input.native"]).last_hidden_state
        golden["output.exact-size"] = model(golden["input.other"], interpolate_pos_encoding=True).last_hidden_state
        embeddings = model.embeddings
        embeddings.interpolate_pos_encoding = types.MethodType(original_positions, embeddings)
        golden["output.original"] = model(golden["input.other"], interpolate_pos_encoding=True).last_hidden_state
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "do_normalize": True, "do_resize": True, "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 2, "size": 24,
    }, indent=2) + "\n")


def fid(a, b):
    return fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)[
        "frechet_inception_distance"]


def kid(a, b, subsets, size):
    result = kid_features_to_metric(a, b, kid_subsets=subsets, kid_subset_size=size, verbose=False)
    return [result["kernel_inception_distance_mean"], result["kernel_inception_distance_std"]]


def isc(logits, **options):
    result = isc_features_to_metric(logits, **options)
    return [result["inception_score_mean"], result["inception_score_std"]]


def write_sets(tensors):
    """Features in fp64 on both sides, so that only the formulas differ."""
    a, b = draw(1, 60, 16).double(), draw(2, 50, 16).double() * 1.3 + 0.4
    few = draw(3, 9, 16).double() - 0.2
    logits = draw(4, 37, 12).double() * 2
    tensors |= {"a": a, "b": b, "few": few, "logits": logits}
    permutations = {str(n): np.random.RandomState(2020).permutation(n).tolist() for n in (1, 2, 3, 10, 300)}
    return {
        "fid": fid(a, b), "fid-few": fid(few, a), "fid-few-few": fid(few, few * 1.1 + 0.3), "fid-same": fid(a, a),
        "kid-all-at-once": kid(a, b, 100, 20), "kid-by-subset": kid(a, b, 3, 20),
        "isc": isc(logits, splits=5), "isc-in-order": isc(logits, splits=4, shuffle=False),
        "permutations": permutations,
    }


def write_pixels():
    rows = []
    for width, height, seed in [(37, 29, 1), (6, 11, 2), (64, 20, 3)]:
        a = picture(width, height, seed)
        for name, b in [("other", picture(width, height, seed + 1)), ("brighter", np.minimum(a.astype(int) + 9, 255)),
                        ("flat", np.full_like(a, 117))]:
            x = torch.from_numpy(a).permute(2, 0, 1).unsqueeze(0).double()
            y = torch.from_numpy(np.ascontiguousarray(b)).permute(2, 0, 1).unsqueeze(0).double()
            rows.append({"width": width, "height": height, "seed": seed, "other": name,
                         "psnr": peak_signal_noise_ratio(x, y, data_range=255.0).item(),
                         "ssim": structural_similarity_index_measure(x, y, data_range=255.0).item()})
    return rows


if __name__ == "__main__":
    tensors = write_inception()
    write_dino()
    values = write_sets(tensors) | {"pixels": write_pixels(), "pictures": PICTURES}
    save_file(tensors, GOLDENS / "score" / "images.safetensors")
    (GOLDENS / "score" / "images.json").write_text(json.dumps(values) + "\n")
