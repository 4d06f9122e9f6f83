"""Small files of the layouts that data sets come in, tests/goldens/data/layouts: archives as Python's tarfile writes
them in its three formats, which a test reads, and beginnings for fuzz/layouts_fuzz.cpp.

    python tools/reference/layouts.py
"""

import io
import pathlib
import tarfile

FOLDER = pathlib.Path(__file__).parents[2] / "tests/goldens/data/layouts"

TEXTS = {
    "nocaps.json": '{"images":[{"id":1,"file_name":"a.png","domain":"near-domain"}],'
    '"annotations":[{"image_id":1,"caption":"a fox"}]}',
    "karpathy.json": '{"images":[{"filename":"a.png","split":"test","cocoid":7,'
    '"sentences":[{"raw":"a fox","tokens":["a"]}]}]}',
    "lavis.json": '[{"image":"a.png","image_id":"coco_1","caption":["a fox","one fox"]}]',
    "flickr.token.txt": "a.png#0\ta fox\na.png#1\tone fox\n",
    "results.csv": "image_name| comment_number| comment\na.png| 0| a fox\na.png| 4   a slip\n",
    "lines.jsonl": '{"id":7,"image":"a.png","captions":["a fox",{"text":"b"}],"domain":"near"}\n\n'
    '{"file_name":"a.png","text":"x"}\n',
    "table.csv": 'image,caption,id\na.png,"two\nlines, ""q""",7\n',
    "texts.txt": "a fox\n\n a bus \r\n",
}


def archive(path, form, folders):
    members = [("d" * 60 + "/") * folders + "a.txt", b"a fox"], ["b.json", b'{"caption":"x"}'], ["b.png", b"no picture"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, contents in members:
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    # tarfile fills up to 10 KiB; two empty blocks are enough.
    bytes_ = buffer.getvalue().rstrip(b"\0")
    path.write_bytes(bytes_.ljust(-(-len(bytes_) // 512) * 512 + 1024, b"\0"))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in TEXTS.items():
        (FOLDER / name).write_bytes(text.encode())
    archive(FOLDER / "ustar.tar", tarfile.USTAR_FORMAT, 1)
    archive(FOLDER / "gnu.tar", tarfile.GNU_FORMAT, 2)
    archive(FOLDER / "pax.tar", tarfile.PAX_FORMAT, 2)


if __name__ == "__main__":
    main()
