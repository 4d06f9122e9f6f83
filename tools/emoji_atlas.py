#!/usr/bin/env python3
"""Draws the sprite atlas of the small world from the Noto Color Emoji font.

    python3 tools/emoji_atlas.py            # needs Pillow and Debian's fonts-noto-color-emoji
    python3 tools/emoji_atlas.py --sheet contact-sheet.png

Writes assets/emoji-scenes/sprites/{atlas.png,atlas.json}. The font is needed only here, never at run time.
Objects were chosen to stay apart in shape and colour at 15 pixels on each background; names are CLDR short
names of one word ("heart" stands for "red heart").
"""
import argparse
import json
import pathlib

from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
STRIKE = 109  # the one size at which this bitmap font can be drawn
SIDE, COLUMNS = 64, 6

OBJECTS = {
    "bus": "1F68C", "butterfly": "1F98B", "cactus": "1F335", "crab": "1F980", "crown": "1F451", "doughnut": "1F369",
    "fire": "1F525", "fish": "1F41F", "fox": "1F98A", "frog": "1F438", "heart": "2764", "house": "1F3E0",
    "mushroom": "1F344", "panda": "1F43C", "penguin": "1F427", "pineapple": "1F34D", "rainbow": "1F308",
    "robot": "1F916", "rocket": "1F680", "strawberry": "1F353", "sunflower": "1F33B", "umbrella": "2602",
    "unicorn": "1F984", "watermelon": "1F349",
}  # fmt: skip

BACKGROUNDS = {
    "blue": (112, 180, 240), "gray": (200, 202, 204), "green": (132, 204, 132), "orange": (250, 160, 84),
    "pink": (252, 160, 198), "purple": (160, 128, 226), "white": (250, 250, 250), "yellow": (254, 236, 150),
}  # fmt: skip


def sprite(font, code):
    canvas = Image.new("RGBA", (2 * STRIKE, 2 * STRIKE))
    ImageDraw.Draw(canvas).text((STRIKE // 4, STRIKE // 4), chr(int(code, 16)) + "\uFE0F", font=font, embedded_color=True)
    glyph = canvas.crop(canvas.getbbox())
    side = max(glyph.size)
    square = Image.new("RGBA", (side, side))
    square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)  # Pillow premultiplies alpha here


def contact_sheet(sprites, path):
    sheet = Image.new("RGB", (len(BACKGROUNDS) * 100 + 90, len(sprites) * 62), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, picture) in enumerate(sprites.items()):
        draw.text((4, row * 62 + 24), name, fill="black")
        for column, color in enumerate(BACKGROUNDS.values()):
            tile = Image.new("RGB", (98, 60), color)
            small = picture.resize((15, 15), Image.Resampling.BOX).resize((60, 60), Image.Resampling.NEAREST)
            large = picture.resize((24, 24), Image.Resampling.BOX)
            tile.paste(small, (0, 0), small)
            tile.paste(large, (68, 18), large)
            sheet.paste(tile, (90 + column * 100, row * 62))
    sheet.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--font", default=FONT)
    parser.add_argument("--sheet", help="also write each sprite at 15 and 24 pixels on each background to this file")
    options = parser.parse_args()
    font = ImageFont.truetype(options.font, STRIKE)
    sprites = {name: sprite(font, code) for name, code in OBJECTS.items()}

    atlas = Image.new("RGBA", (COLUMNS * SIDE, -(-len(sprites) // COLUMNS) * SIDE))
    objects = []
    for index, (name, picture) in enumerate(sprites.items()):
        x, y = index % COLUMNS * SIDE, index // COLUMNS * SIDE
        atlas.paste(picture, (x, y))
        objects.append({"name": name, "codepoint": "U+" + OBJECTS[name], "x": x, "y": y})
    folder = pathlib.Path(__file__).resolve().parent.parent / "assets/emoji-scenes/sprites"
    folder.mkdir(parents=True, exist_ok=True)
    atlas.save(folder / "atlas.png", optimize=True)
    lines = ",\n    ".join(json.dumps(item) for item in objects)
    colors = ",\n    ".join(json.dumps({"name": name, "rgb": rgb}) for name, rgb in BACKGROUNDS.items())
    (folder / "atlas.json").write_text(
        f'{{\n  "side": {SIDE},\n  "objects": [\n    {lines}\n  ],\n  "backgrounds": [\n    {colors}\n  ]\n}}\n'
    )
    if options.sheet:
        contact_sheet(sprites, options.sheet)


if __name__ == "__main__":
    main()
