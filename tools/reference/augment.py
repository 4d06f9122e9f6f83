"""Known answers for readback/image/augment: BLIP's operations by OpenCV 4 and Pillow, torchvision's crop.

    python tools/reference/augment.py    writes tests/goldens/image/augmentation.json
"""

import json

import cv2
import numpy as np
import torch
from images import GOLDENS, digest, noise
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import resized_crop

SIZES = ((32, 32), (19, 13), (50, 81), (7, 5), (2, 2))
GREY = (128, 128, 128)


def squeezed(width, height, seed, low, high):
    """Noise between two levels, so that contrast has something to do."""
    pixels = np.asarray(noise(width, height, seed)).astype(int)
    return (low + pixels * (high - low) // 255).astype(np.uint8)


def warped(pixels, matrix):
    height, width = pixels.shape[:2]
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=GREY)


def brightness(pixels, factor):
    return (pixels.astype(np.float32) * np.float32(factor)).clip(0, 255).astype(np.uint8)


def sharpness(pixels, factor):
    if factor == 1:
        return pixels
    kernel = np.ones((3, 3), np.float32)
    kernel[1, 1] = 5
    smooth = cv2.filter2D(pixels, -1, kernel / 13).astype(np.float32)
    result = pixels.astype(np.float32)
    inside = np.s_[1:-1, 1:-1]
    result[inside] = smooth[inside] + np.float32(factor) * (result[inside] - smooth[inside])
    return result.clip(0, 255).astype(np.uint8)


def rotate(pixels, degrees):
    height, width = pixels.shape[:2]
    return warped(pixels, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1))


def applied(pixels, operation, level):
    enhancement, shear = level / 10 * 1.8 + 0.1, level / 10 * 0.3
    return {
        "Identity": lambda: pixels,
        "AutoContrast": lambda: np.asarray(ImageOps.autocontrast(Image.fromarray(pixels))),
        "Equalize": lambda: np.asarray(ImageOps.equalize(Image.fromarray(pixels))),
        "Brightness": lambda: brightness(pixels, enhancement),
        "Sharpness": lambda: sharpness(pixels, enhancement),
        "ShearX": lambda: warped(pixels, np.float32([[1, shear, 0], [0, 1, 0]])),
        "ShearY": lambda: warped(pixels, np.float32([[1, 0, 0], [shear, 1, 0]])),
        "TranslateX": lambda: warped(pixels, np.float32([[1, 0, -level], [0, 1, 0]])),
        "TranslateY": lambda: warped(pixels, np.float32([[1, 0, 0], [0, 1, -level]])),
        "Rotate": lambda: rotate(pixels, level / 10 * 30),
    }[operation]()


def operations():
    cases = []
    for seed, (width, height) in enumerate(SIZES):
        for low, high in ((0, 255), (40, 200), (7, 7)):
            pixels = squeezed(width, height, seed, low, high)
            for operation in ("Identity", "AutoContrast", "Equalize", "Brightness", "Sharpness", "ShearX", "ShearY",
                              "TranslateX", "TranslateY", "Rotate"):
                both = operation.startswith(("Shear", "Translate", "Rotate"))
                for level in (5, 2.3, 9) + ((-5, -7.7) if both else ()):
                    result = applied(pixels, operation, level)
                    cases.append([width, height, seed, low, high, operation, level, digest(result)])
    return cases


def crops():
    cases = []
    for seed, (width, height, box, to) in enumerate((
            (32, 32, (3, 5, 25, 22), (32, 32)), (61, 40, (0, 0, 61, 40), (24, 24)), (61, 40, (17, 2, 30, 33), (24, 20)),
            (40, 90, (4, 11, 33, 70), (16, 16)), (23, 17, (22, 16, 1, 1), (5, 5)))):
        left, top, wide, high = box
        result = resized_crop(noise(width, height, seed), top, left, high, wide, [to[1], to[0]],
                              InterpolationMode.BICUBIC)
        cases.append([width, height, seed, *box, *to, digest(result)])
    return cases


def crops_that_never_fit():
    cases = []
    for width, height in ((100, 10), (9, 80), (31, 7), (1, 50)):
        top, left, high, wide = RandomResizedCrop.get_params(torch.zeros(3, height, width), [0.5, 1], [3 / 4, 4 / 3])
        cases.append([width, height, left, top, wide, high])
    return cases


def lines(cases):
    return "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"


if __name__ == "__main__":
    assert cv2.__version__.startswith("4."), "OpenCV 5 interpolates more finely than what BLIP was trained with"
    parts = {"operations": operations(), "crops": crops(), "never_fit": crops_that_never_fit()}
    (GOLDENS / "augmentation.json").write_text(
        "{\n" + ",\n".join(f'"{name}": {lines(cases)}' for name, cases in parts.items()) + "\n}\n")
