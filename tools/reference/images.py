"""Known answers for readback/image: Pillow's decoding and resizing, transformers' and diffusers' preprocessing.

    python tools/reference/images.py             writes tests/goldens/image/ (and coco-mini.json where the photos are)
    python tools/reference/images.py --measure   how far transformers' torchvision backend is from its PIL backend
"""

import argparse
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, ImageOps
from safetensors.torch import save_file
from transformers import (
    BlipImageProcessor,
    BlipImageProcessorPil,
    CLIPImageProcessor,
    CLIPImageProcessorPil,
    ViTImageProcessorPil,
)

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests/goldens/image"
PHOTOS = ROOT / "../shared/data/coco-mini/images"
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
WIDTH, HEIGHT = 19, 13


def digest(pixels):
    """Sum over bytes of (byte + 1) * ((i + 1) * golden ratio | 1), modulo 2^64; the same lives in the tests."""
    data = np.asarray(pixels, dtype=np.uint8).reshape(-1).astype(np.uint64) + np.uint64(1)
    factors = np.arange(1, data.size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    return f"{int((data * factors).sum(dtype=np.uint64)):016x}"


def noise(width, height, seed):
    """Pixels of a linear congruential generator, of which the tests have the same."""
    state, values = seed, bytearray()
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return Image.frombytes("RGB", (width, height), bytes(values))


def scene(width=WIDTH, height=HEIGHT):
    """Slopes, an edge and some noise: what chroma subsampling and orientation show up on."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / (width - 1), y * 255 / (height - 1), (x * 37 + y * 91) % 256], axis=-1)
    pixels[: height // 2, : width // 3] = [250, 20, 10]
    return Image.fromarray(pixels.astype(np.uint8))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color_type, rows, before=b"", after=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    raw = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw)) + after
            + chunk(b"IEND", b""))


def packed(rows, depth):
    """Rows of small numbers -> rows of bytes with `depth` bits each."""
    per_byte, out = 8 // depth, []
    for row in rows:
        padded = list(row) + [0] * (-len(row) % per_byte)
        groups = [padded[i:i + per_byte] for i in range(0, len(padded), per_byte)]
        out.append(bytes(sum(v << depth * (per_byte - 1 - k) for k, v in enumerate(group)) for group in groups))
    return out


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def exif(orientation, order="<", kind="H"):
    """A TIFF block of two entries of which the second is the orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + kind, orientation).ljust(4, b"\0")
    entries = struct.pack(order + "HHI4s", 0x0100, 3, 1, struct.pack(order + "H", 7).ljust(4, b"\0"))
    entries += struct.pack(order + "HHI4s", 0x0112, 3 if kind == "H" else 4, 1, value)
    return head + struct.pack(order + "IH", 8, 2) + entries + b"\0\0\0\0"


def xmp(orientation):
    return (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation)


def jpeg_files():
    image = scene()
    files = {
        "grey": saved(image.convert("L"), format="JPEG"),
        "420": saved(image, format="JPEG"),
        "422": saved(image, format="JPEG", subsampling=1, quality=90),
        "444": saved(image, format="JPEG", subsampling=0, quality=95),
        "rgb": saved(image, format="JPEG", keep_rgb=True),
        "optimized-restarts": saved(image, format="JPEG", optimize=True, restart_marker_rows=1),
        "progressive": saved(image, format="JPEG", progressive=True),
        "progressive-grey": saved(image.convert("L"), format="JPEG", progressive=True),
        "cmyk": saved(image.convert("CMYK"), format="JPEG", quality=90),
        "exif-long-motorola": saved(image, format="JPEG", exif=b"Exif\0\0" + exif(6, ">", "I")),
        "exif-broken": saved(image, format="JPEG", exif=b"Exif\0\0" + exif(6)[:20]),
        "xmp-7": saved(image, format="JPEG", xmp=xmp(7)),
        "exif-over-xmp": saved(image, format="JPEG", exif=b"Exif\0\0" + exif(3), xmp=xmp(7)),
    }
    ycck = bytearray(files["cmyk"])
    ycck[ycck.index(b"Adobe") + 11] = 2  # the same numbers, said to be YCCK
    files["ycck"] = bytes(ycck)
    for orientation in range(1, 9):
        order = "<>"[orientation % 2]
        files[f"exif-{orientation}"] = saved(image, format="JPEG", exif=b"Exif\0\0" + exif(orientation, order))
    return {f"{name}.jpg": data for name, data in files.items()}


def png_files():
    image, random = scene(), np.random.RandomState(0)
    pixels = np.asarray(image)
    alpha = Image.fromarray(random.randint(0, 256, (HEIGHT, WIDTH), dtype=np.uint8))
    rgba = image.copy()
    rgba.putalpha(alpha)
    palette = image.quantize(17)
    deep = random.randint(0, 65536, (HEIGHT, WIDTH, 4)).astype(">u2")
    small = {depth: random.randint(0, 2**depth, (HEIGHT, WIDTH)) for depth in (1, 2, 4)}
    files = {
        "rgb": saved(image, format="PNG"),
        "rgba": saved(rgba, format="PNG"),
        "grey": saved(image.convert("L"), format="PNG"),
        "grey-alpha": saved(rgba.convert("LA"), format="PNG"),
        "bilevel": saved(image.convert("1"), format="PNG"),
        "palette": saved(palette, format="PNG"),
        "palette-transparent": saved(palette, format="PNG", transparency=bytes(range(0, 170, 10))),
        "rgb-transparent": saved(image, format="PNG", transparency=(250, 20, 10)),
        "palette-past-end": png(3, 1, 8, 3, [bytes([0, 1, 2])], chunk(b"PLTE", bytes([9, 8, 7, 200, 100, 50]))),
        "rgb-16": png(WIDTH, HEIGHT, 16, 2, [row[:, :3].tobytes() for row in deep]),
        "rgba-16": png(WIDTH, HEIGHT, 16, 6, [row.tobytes() for row in deep]),
        "grey-alpha-16": png(WIDTH, HEIGHT, 16, 4, [row[:, :2].tobytes() for row in deep]),
        "grey-16": png(6, 1, 16, 0, [struct.pack(">6H", 0, 1, 200, 255, 256, 65535)]),
        "gamma": png(WIDTH, HEIGHT, 8, 2, [row.tobytes() for row in pixels], chunk(b"gAMA", struct.pack(">I", 100000))),
        "exif-6": saved(image, format="PNG", exif=exif(6)),
        "exif-at-end": png(WIDTH, HEIGHT, 8, 2, [row.tobytes() for row in pixels], after=chunk(b"eXIf", exif(5))),
        "xmp-8": png(WIDTH, HEIGHT, 8, 2, [row.tobytes() for row in pixels],
                     chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8))),
        "no-end-chunk": saved(image, format="PNG")[:-12],
        "animated": saved(image, format="PNG", save_all=True, append_images=[ImageOps.invert(image)]),
        "interlaced": png_interlaced(pixels),
    }
    for depth, rows in small.items():
        files[f"grey-{depth}"] = png(WIDTH, HEIGHT, depth, 0, packed(rows, depth))
        colors = chunk(b"PLTE", random.randint(0, 256, 3 * 2**depth, dtype=np.uint8).tobytes())
        files[f"palette-{depth}"] = png(WIDTH, HEIGHT, depth, 3, packed(rows, depth), colors)
    return {f"{name}.png": data for name, data in files.items()}


def png_interlaced(pixels):
    """Adam7, which Pillow reads but does not write."""
    height, width, _ = pixels.shape
    raw = b""
    for x, y, step_x, step_y in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                                 (0, 1, 1, 2)]:
        raw += b"".join(b"\0" + row.tobytes() for row in pixels[y::step_y, x::step_x])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def webp_files():
    image = scene()
    rgba = image.copy()
    rgba.putalpha(Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] * 13).astype(np.uint8)))
    files = {
        "lossy": saved(image, format="WEBP", quality=70),
        "lossless": saved(image, format="WEBP", lossless=True),
        "lossy-alpha": saved(rgba, format="WEBP", quality=70),
        "lossless-alpha": saved(rgba, format="WEBP", lossless=True, exact=True),
        "animated": saved(rgba, format="WEBP", save_all=True, append_images=[ImageOps.invert(image)], lossless=True),
        "exif-6": saved(image, format="WEBP", exif=exif(6)),
        "xmp-4": saved(image, format="WEBP", xmp=xmp(4)),
    }
    return {f"{name}.webp": data for name, data in files.items()}


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        try:
            image = ImageOps.exif_transpose(image)
        except (SyntaxError, TypeError, struct.error):  # Pillow refuses the whole picture for a broken EXIF block; readback looks past it
            pass
        return image.convert("RGB")


def write_files():
    table = {}
    for name, data in (jpeg_files() | png_files() | webp_files()).items():
        image = decoded(data)
        (GOLDENS / "files").mkdir(parents=True, exist_ok=True)
        (GOLDENS / "files" / name).write_bytes(data)
        table[name] = {"width": image.width, "height": image.height, "pixels": image.tobytes().hex()}
    (GOLDENS / "files.json").write_text("{\n" + ",\n".join(
        f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(table.items())) + "\n}\n")


def write_encoding():
    image = noise(21, 18, 5)
    data = saved(image, format="JPEG")
    (GOLDENS / "encoding.json").write_text(json.dumps({
        "width": 21, "height": 18, "seed": 5, "jpeg": data.hex(), "decoded": decoded(data).tobytes().hex()}) + "\n")


def write_resizing():
    random = np.random.RandomState(1)
    sizes = [(1, 1, 1, 1), (1, 1, 5, 7), (7, 5, 1, 1), (2, 3, 64, 1), (64, 1, 2, 3), (33, 47, 33, 20), (33, 47, 50, 47),
             (33, 47, 33, 47), (16, 16, 32, 32), (160, 120, 24, 24), (500, 3, 2, 3), (3, 500, 3, 2), (17, 31, 16, 32)]
    sizes += [tuple(int(v) for v in random.randint(1, 90, 4)) for _ in range(47)]
    lines = []
    for seed, (width, height, new_width, new_height) in enumerate(sizes):
        image = noise(width, height, seed)
        for name, resample in FILTERS.items():
            lines.append(json.dumps([width, height, seed, new_width, new_height, name,
                                     digest(image.resize((new_width, new_height), resample))]))
    (GOLDENS / "resizing.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def write_preprocessing():
    legacy = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 12, "crop_size": 10, "do_center_crop": True,
              "do_normalize": True, "do_resize": True, "resample": 3, "image_mean": [0.5, 0.4, 0.3],
              "image_std": [0.2, 0.25, 0.5]}
    cases = [
        ("blip", BlipImageProcessorPil(size={"height": 24, "width": 20}).to_dict(), (31, 47)),
        ("blip-lanczos", BlipImageProcessorPil(size={"height": 20, "width": 24}, resample=1).to_dict(), (47, 31)),
        ("blip-plain", BlipImageProcessorPil(do_resize=False, do_rescale=False, do_normalize=False).to_dict(), (9, 7)),
        ("blip-rescale-off", BlipImageProcessorPil(do_resize=False, do_rescale=False).to_dict(), (9, 7)),
        ("clip-wide", CLIPImageProcessorPil(size={"shortest_edge": 14}, crop_size=14).to_dict(), (61, 22)),
        ("clip-tall", CLIPImageProcessorPil(size={"shortest_edge": 15}, crop_size=14).to_dict(), (22, 47)),
        ("clip-bilinear-enlarged", CLIPImageProcessorPil(size={"shortest_edge": 21}, crop_size=17, resample=2).to_dict(),
         (13, 10)),
        ("clip-padded", CLIPImageProcessorPil(do_resize=False, crop_size={"height": 14, "width": 9}).to_dict(), (12, 9)),
        ("clip-padded-cropped", CLIPImageProcessorPil(do_resize=False, crop_size={"height": 12, "width": 7}).to_dict(),
         (12, 5)),
        ("clip-legacy", legacy, (19, 23)),
        ("clip-defaults", {"image_processor_type": "CLIPImageProcessorFast", "crop_size": 6}, (40, 30)),
        ("vit", ViTImageProcessorPil(size={"height": 24, "width": 20}).to_dict(), (31, 47)),
        ("vit-legacy", {"feature_extractor_type": "ViTFeatureExtractor", "size": 24, "resample": 3}, (40, 31)),
    ]
    tensors, table = {}, {}
    for seed, (name, config, (width, height)) in enumerate(cases):
        kinds = {"blip": BlipImageProcessorPil, "clip": CLIPImageProcessorPil, "vit": ViTImageProcessorPil}
        kind = kinds[name.split("-")[0]]
        processor = kind(**{k: v for k, v in config.items() if not k.endswith("_type")})
        pixels = processor(noise(width, height, seed), return_tensors="pt")["pixel_values"][0]
        tensors[name] = pixels.to(torch.float32).contiguous()
        config = {k: v for k, v in config.items() if not k.startswith("_")}
        table[name] = {"width": width, "height": height, "seed": seed, "config": config}
    vae, latent = VaeImageProcessor(), torch.linspace(-1.6, 1.6, 3 * 11 * 8).reshape(1, 3, 11, 8)
    tensors["vae-in"] = vae.preprocess(noise(16, 8, 99))[0].contiguous()
    tensors["vae-out-source"] = latent
    for dtype in ("float32", "bfloat16"):
        image = vae.postprocess(latent.to(getattr(torch, dtype)), output_type="pil")[0]
        tensors[f"vae-out-{dtype}"] = torch.from_numpy(np.array(image))
    save_file(tensors, GOLDENS / "preprocessing.safetensors")
    (GOLDENS / "preprocessing.json").write_text(json.dumps(table, indent=1) + "\n")


def write_photos():
    table = {}
    for path in sorted(PHOTOS.glob("*")):
        image = decoded(path.read_bytes())
        resized = {name: digest(image.resize((384, 384), resample)) for name, resample in FILTERS.items()}
        table[path.name] = {"width": image.width, "height": image.height, "pixels": digest(image), "resized": resized}
    (GOLDENS / "coco-mini.json").write_text("{\n" + ",\n".join(
        f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table.items()) + "\n}\n")


def measure():
    for ours, theirs in ((BlipImageProcessorPil(), BlipImageProcessor()), (CLIPImageProcessorPil(), CLIPImageProcessor())):
        scale = 255 * torch.tensor(ours.image_std).reshape(1, 3, 1, 1)
        largest, total, different, count = 0.0, 0.0, 0, 0
        for path in sorted(PHOTOS.glob("*")):
            image = decoded(path.read_bytes())
            a, b = (p(image, return_tensors="pt")["pixel_values"] for p in (ours, theirs))
            levels = ((a - b) * scale).abs()
            largest = max(largest, levels.max().item())
            total += levels.sum().item()
            different += (levels > 0.5).sum().item()
            count += levels.numel()
        print(f"{type(theirs).__name__}: largest {largest:.3f} levels, mean {total / count:.5f}, "
              f"{100 * different / count:.3f} % of values differ")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    torch.set_num_threads(1)
    if parser.parse_args().measure:
        measure()
    else:
        GOLDENS.mkdir(parents=True, exist_ok=True)
        write_files()
        write_encoding()
        write_resizing()
        write_preprocessing()
        if PHOTOS.is_dir():
            write_photos()
