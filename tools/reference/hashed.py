"""Numbers that tests compute by the same rule (tests/models/hashed.h), so that large weights need not be stored."""

import math

import numpy as np
import torch


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def hashed(name, shape, low=-1.0, high=1.0):
    """Numbers between low and high that depend on the name and the position only."""
    x = (np.arange(math.prod(shape), dtype=np.uint64) + fnv1a(name)).astype(np.uint32) * np.uint32(0x9E3779B1)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return torch.from_numpy((low + (high - low) * (x / 2**32)).astype(np.float32).reshape(shape))


def fill_hashed(model):
    """Every parameter by its name: matrices keep the scale of what they map, norms are near one. The rule of
    tests/models/full_width.h."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            bound = (3 * shape[0] / parameter.numel()) ** 0.5
            is_norm = "norm" in name and name.endswith("weight")
            low, high = (-bound, bound) if len(shape) > 1 else (0.8, 1.2) if is_norm else (-0.1, 0.1)
            parameter.copy_(hashed(name, shape, low, high))
    return model.eval()
