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
from transformers.image_transforms import convert_to_rgb

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


def bmp(width, height, bits, rows, compression=0, palette=b"", header=40, masks=b"", colors=0, top_down=False):
    """`rows`: from the bottom up, or a stream of runs."""
    data = b"".join(row + b"\0" * (-len(row) % 4) for row in rows) if isinstance(rows, list) else rows
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IIiHHIIIIII", header, width, -height if top_down else height, 1, bits, compression,
                           len(data), 2835, 2835, colors, 0)
        if header > 40:
            info += masks.ljust(header - 40, b"\0")
            masks = b""
    offset = 14 + len(info) + len(masks) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(data), 0, 0, offset) + info + masks + palette + data


def bmp_files():
    image, random = scene(), np.random.RandomState(2)
    rgba = image.copy()
    rgba.putalpha(Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] * 13).astype(np.uint8)))
    palette = {bits: random.randint(0, 256, 4 * 2**bits, dtype=np.uint8).tobytes() for bits in (1, 4, 8)}
    small = {bits: packed(random.randint(0, 2**bits, (HEIGHT, WIDTH)), bits) for bits in (1, 4, 8)}
    words = [row.tobytes() for row in random.randint(0, 65536, (HEIGHT, WIDTH)).astype("<u2")]
    longs = [row.tobytes() for row in random.randint(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)]
    triples = [row.tobytes() for row in random.randint(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)]
    runs = (b"\x05\x02\x00\x00" b"\x00\x03\x01\x02\x03\x00\x02\x07\x00\x00" b"\x00\x02\x01\x01\x03\x04\x00\x00"
            b"\x09\x05\x00\x00\x00\x01")
    halves = (b"\x05\x2a\x00\x00" b"\x00\x05\x12\x34\x50\x00\x00\x00" b"\x00\x02\x01\x01\x04\x9b\x00\x00\x05\xcd\x00\x01")
    files = {
        "rgb": saved(image, format="BMP"),
        "rgba": saved(rgba, format="BMP"),
        "grey": saved(image.convert("L"), format="BMP"),
        "bilevel": saved(image.convert("1"), format="BMP"),
        "palette": saved(image.quantize(17), format="BMP"),
        "top-down": bmp(WIDTH, HEIGHT, 24, triples, top_down=True),
        "os2": bmp(WIDTH, HEIGHT, 24, triples, header=12),
        "os2-palette": bmp(WIDTH, HEIGHT, 4, small[4], palette=palette[4][:48], header=12),
        "few-colors": bmp(WIDTH, HEIGHT, 8, small[8], palette=palette[8][:40], colors=10),
        "rgb-32": bmp(WIDTH, HEIGHT, 32, longs),
        "rgb-16": bmp(WIDTH, HEIGHT, 16, words),
        "fields-565": bmp(WIDTH, HEIGHT, 16, words, 3, masks=struct.pack("<3I", 0xF800, 0x7E0, 0x1F)),
        "fields-555": bmp(WIDTH, HEIGHT, 16, words, 3, masks=struct.pack("<3I", 0x7C00, 0x3E0, 0x1F)),
        "fields-xbgr": bmp(WIDTH, HEIGHT, 32, longs, 3, masks=struct.pack("<3I", 0xFF000000, 0xFF0000, 0xFF00)),
        "fields-rgba": bmp(WIDTH, HEIGHT, 32, longs, 3, header=108,
                           masks=struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        "fields-none": bmp(WIDTH, HEIGHT, 32, longs, 3, header=124),
        "rle-8": bmp(5, 4, 8, runs, 1, palette=palette[8]),
        "rle-4": bmp(5, 4, 4, halves, 2, palette=palette[4]),
    }
    for bits, rows in small.items():
        files[f"palette-{bits}"] = bmp(WIDTH, HEIGHT, bits, rows, palette=palette[bits])
    return {f"{name}.bmp": data for name, data in files.items()}


def gif_files():
    image = scene()
    palette = image.quantize(17)
    small = Image.fromarray(np.random.RandomState(3).randint(0, 17, (5, 7), dtype=np.uint8), "P")
    small.putpalette(palette.getpalette())
    files = {
        "palette": saved(palette, format="GIF"),
        "grey": saved(image.convert("L"), format="GIF"),
        "flat": saved(palette, format="GIF", interlace=0),
        "interlaced": saved(palette, format="GIF", interlace=1),
        "transparent": saved(palette, format="GIF", transparency=3),
        "grey-transparent": saved(image.convert("L"), format="GIF", transparency=7),
        "animated": saved(palette, format="GIF", save_all=True, append_images=[ImageOps.invert(image)], duration=40),
    }
    for name, options in {"part": {}, "part-transparent": {"transparency": 2}}.items():
        data = bytearray(saved(small, format="GIF", **options))
        frame = data.index(b",\0\0\0\0\x07\0\x05\0")
        data[6:10] = struct.pack("<HH", 11, 9)  # a larger screen, of which the picture is a part
        data[frame + 1:frame + 5] = struct.pack("<HH", 3, 2)
        files[name] = bytes(data)
    wide = bytearray(files["part"])
    wide[6:10] = struct.pack("<HH", 4, 4)  # a smaller screen, which the picture leaves
    files["past-screen"] = bytes(wide)
    return {f"{name}.gif": data for name, data in files.items()}


def tiff(width, height, rows, bits=8, samples=1, photometric=1, tags=(), order="<", planes=None):
    """An uncompressed file of one strip (or one a plane). `tags`: (tag, type, values) of shorts (3) or longs (4)."""
    strips = [b"".join(rows)] if planes is None else [b"".join(plane) for plane in planes]
    offsets, at = [], 8
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]),
               273: (4, offsets), 277: (3, [samples]), 278: (4, [height]), 279: (4, [len(s) for s in strips]),
               284: (3, [1 if planes is None else 2])}
    entries |= {tag: (kind, list(values)) for tag, kind, values in tags}
    if 322 in entries:  # tiles instead of strips
        entries = {tag: entry for tag, entry in entries.items() if tag not in (273, 278, 279)}
    start = at + at % 2
    more, directory = b"", struct.pack(order + "H", len(entries))
    for tag, (kind, values) in sorted(entries.items()):
        value = struct.pack(order + ("H" if kind == 3 else "I") * len(values), *values)
        if len(value) > 4:
            place = start + 2 + 12 * len(entries) + 4 + len(more)
            more += value + b"\0" * (len(value) % 2)
            value = struct.pack(order + "I", place)
        directory += struct.pack(order + "HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + b"".join(strips) + b"\0" * (at % 2) + directory + b"\0\0\0\0" + more


def tiff_files():
    image, random = scene(), np.random.RandomState(4)
    rgba = image.copy()
    rgba.putalpha(Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] * 13).astype(np.uint8)))
    bilevel, grey, palette = image.convert("1"), image.convert("L"), image.quantize(17)
    rows = [row.tobytes() for row in np.asarray(image)]
    four = random.randint(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    wide = random.randint(0, 65536, (HEIGHT, WIDTH, 4))
    deep = random.randint(0, 600, (HEIGHT, WIDTH))
    extra = lambda kind: [(338, 3, [kind])]
    files = {
        "raw": saved(image, format="TIFF"),
        "rgba": saved(rgba, format="TIFF"),
        "grey": saved(grey, format="TIFF"),
        "grey-alpha": saved(rgba.convert("LA"), format="TIFF"),
        "bilevel": saved(bilevel, format="TIFF"),
        "palette": saved(palette, format="TIFF"),
        "cmyk": saved(image.convert("CMYK"), format="TIFF"),
        "ycbcr": saved(image.convert("YCbCr"), format="TIFF"),
        "lzw": saved(image, format="TIFF", compression="tiff_lzw"),
        "lzw-predictor": saved(image, format="TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
        "deflate": saved(rgba, format="TIFF", compression="tiff_adobe_deflate"),
        "packbits": saved(image, format="TIFF", compression="packbits"),
        "jpeg": saved(image, format="TIFF", compression="jpeg"),
        "jpeg-grey": saved(grey, format="TIFF", compression="jpeg"),
        "jpeg-ycbcr": saved(image.convert("YCbCr"), format="TIFF", compression="jpeg"),
        "ycbcr-lzw": saved(image.convert("YCbCr"), format="TIFF", compression="tiff_lzw"),
        "fax-3": saved(bilevel, format="TIFF", compression="group3"),
        "fax-4": saved(bilevel, format="TIFF", compression="group4"),
        "zstd": saved(image, format="TIFF", compression="zstd"),
        "strips": saved(image, format="TIFF", compression="tiff_lzw", tiffinfo={278: 4}),
        "pages": saved(image, format="TIFF", save_all=True, append_images=[ImageOps.invert(image)]),
        "orientation-6": saved(image, format="TIFF", tiffinfo={274: 6}),
        "orientation-4-lzw": saved(image, format="TIFF", compression="tiff_lzw", tiffinfo={274: 4}),
        "orientation-5-ycbcr": saved(image.convert("YCbCr"), format="TIFF", compression="tiff_lzw", tiffinfo={274: 5}),
        "big-endian": tiff(WIDTH, HEIGHT, rows, 8, 3, 2, order=">"),
        "white-is-zero": tiff(WIDTH, HEIGHT, [row.tobytes() for row in np.asarray(grey)], photometric=0),
        "planes": tiff(WIDTH, HEIGHT, None, 8, 3, 2, planes=[[r.tobytes() for r in np.asarray(image)[:, :, c]] for c in range(3)]),
        "premultiplied": tiff(WIDTH, HEIGHT, [r.tobytes() for r in four], 8, 4, 2, extra(1)),
        "unspecified": tiff(WIDTH, HEIGHT, [r.tobytes() for r in four], 8, 4, 2, extra(0)),
        "unsaid": tiff(WIDTH, HEIGHT, [r.tobytes() for r in four], 8, 4, 2),
        "rgb-16": tiff(WIDTH, HEIGHT, [r[:, :3].astype("<u2").tobytes() for r in wide], 16, 3, 2),
        "rgba-16-big-endian": tiff(WIDTH, HEIGHT, [r.astype(">u2").tobytes() for r in wide], 16, 4, 2, extra(2), ">"),
        "grey-16": tiff(WIDTH, HEIGHT, [r.astype("<u2").tobytes() for r in deep], 16),
        "grey-16-big-endian": tiff(WIDTH, HEIGHT, [r.astype(">u2").tobytes() for r in deep], 16, order=">"),
        "signed-16": tiff(WIDTH, HEIGHT, [(r - 200).astype("<i2").tobytes() for r in deep], 16, tags=[(339, 3, [2])]),
        "signed-32": tiff(WIDTH, HEIGHT, [(r - 200).astype("<i4").tobytes() for r in deep], 32, tags=[(339, 3, [2])]),
        "float": tiff(WIDTH, HEIGHT, [(r * 0.7 - 99).astype("<f4").tobytes() for r in deep], 32, tags=[(339, 3, [3])]),
    }
    for bits in (2, 4):
        small = packed(random.randint(0, 2**bits, (HEIGHT, WIDTH)), bits)
        colors = [(320, 3, [int(v) for v in random.randint(0, 65536, 3 * 2**bits)])]
        files[f"grey-{bits}"] = tiff(WIDTH, HEIGHT, small, bits)
        files[f"grey-{bits}-inverted"] = tiff(WIDTH, HEIGHT, small, bits, photometric=0)
        files[f"palette-{bits}"] = tiff(WIDTH, HEIGHT, small, bits, photometric=3, tags=colors)
    tiles = np.zeros((2, 2, 16, 16, 3), np.uint8)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            tiles[y // 16, x // 16, y % 16, x % 16] = np.asarray(image)[y, x]
    places = [8 + 768 * i for i in range(2)]
    tiled = tiff(WIDTH, HEIGHT, [tiles[0, 0].tobytes(), tiles[0, 1].tobytes()], 8, 3, 2,
                 [(322, 4, [16]), (323, 4, [16]), (324, 4, places), (325, 4, [768, 768])])
    files["tiles"] = tiled
    return {f"{name}.tiff": data for name, data in files.items()}


def transparent_files():
    """PNG files whose transparency is said by a colour or a palette in other ways than Pillow writes."""
    random = np.random.RandomState(5)
    small = {depth: random.randint(0, 2**depth, (HEIGHT, WIDTH)) for depth in (1, 2, 4, 8)}
    deep = random.randint(0, 3, (HEIGHT, WIDTH, 3)).astype(">u2")
    short = lambda *values: chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))
    files = {f"grey-{depth}-transparent": png(WIDTH, HEIGHT, depth, 0, packed(rows, depth), short(1))
             for depth, rows in small.items()}
    files["grey-16-transparent"] = png(WIDTH, HEIGHT, 16, 0, [row[:, 0].tobytes() for row in deep], short(2))
    files["rgb-16-transparent"] = png(WIDTH, HEIGHT, 16, 2, [(row * 256).astype(">u2").tobytes() for row in deep],
                                      short(1, 2, 0))
    return {f"{name}.png": data for name, data in files.items()}


def opened(data):
    """As it should be looked at; Pillow refuses the whole picture for a broken EXIF block, readback looks past it."""
    image = Image.open(io.BytesIO(data))
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, TypeError, struct.error):
        return image


def decoded(data):
    return opened(data).convert("RGB")


def on_white(data):
    """What transformers' processors make of a file that Pillow has opened."""
    return Image.fromarray(convert_to_rgb(opened(data), return_numpy=True))


def write_files():
    table = {}
    files = jpeg_files() | png_files() | transparent_files() | webp_files() | bmp_files() | gif_files() | tiff_files()
    for name, data in files.items():
        image, laid = decoded(data), on_white(data)
        (GOLDENS / "files").mkdir(parents=True, exist_ok=True)
        (GOLDENS / "files" / name).write_bytes(data)
        table[name] = {"width": image.width, "height": image.height, "pixels": image.tobytes().hex()}
        if laid.tobytes() != image.tobytes():
            table[name]["on_white"] = laid.tobytes().hex()
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
