"""COCO annotations from the files that the paper's protocol is published in.

    python tools/paper_protocol.py coco_karpathy_test.json --prompts sd_coco.json --output karpathy-test.json
    python tools/paper_protocol.py nocaps_val_4500_captions.json --prompts sd_nocaps.json --output nocaps-val.json

The input is a split of BLIP's, a list of {"image": "val2014/NAME.jpg", "caption": "…" or ["…", …]}, or a file of COCO
annotations. In the output an image's id is its file name, so that what `readback caption` prints for files named alike
finds its references; NoCaps' domains stay with the images. `--prompts` takes the authors' stored [captions, file names] and puts each image's prompt before
its other captions: T2I2T draws a sample's first caption. Images without a prompt are left out then.
"""

import argparse
import json
import pathlib


def read(path):
    """{file name: captions}, in the file's order, and {file name: domain} where images have one."""
    content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    captions = {}
    if isinstance(content, list):
        for entry in content:
            texts = entry["caption"]
            captions.setdefault(entry["image"], []).extend([texts] if isinstance(texts, str) else texts)
        return captions, {}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    domains = {image["file_name"]: image["domain"] for image in content["images"] if "domain" in image}
    captions = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        captions[names[annotation["image_id"]]].append(annotation["caption"])
    return captions, domains


def first(prompt, captions, name):
    if prompt not in captions:
        raise SystemExit(f"{name}: expected the stored prompt among its captions, found another: {prompt!r}")
    rest = list(captions)
    rest.remove(prompt)
    return [prompt, *rest]


def with_prompts(captions, path):
    texts, files = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    prompts = {pathlib.PurePosixPath(file).name: text for file, text in zip(files, texts, strict=True)}
    chosen = {name: pathlib.PurePosixPath(name).name for name in captions}
    missing = prompts.keys() - set(chosen.values())
    if missing:
        raise SystemExit(f"{path}: {len(missing)} prompts of images that are not there, such as {min(missing)}")
    return {name: first(prompts[base], captions[name], name) for name, base in chosen.items() if base in prompts}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions")
    parser.add_argument("--prompts")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    captions, domains = read(arguments.captions)
    if arguments.prompts:
        captions = with_prompts(captions, arguments.prompts)
    annotations = [(name, text) for name, texts in captions.items() for text in texts]
    content = {
        "images": [
            {"id": name, "file_name": name} | ({"domain": domains[name]} if name in domains else {}) for name in captions
        ],
        "annotations": [{"id": i, "image_id": name, "caption": text} for i, (name, text) in enumerate(annotations)],
    }
    pathlib.Path(arguments.output).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    print(f"{arguments.output}: {len(captions):,} images, {len(annotations):,} captions")


if __name__ == "__main__":
    main()
