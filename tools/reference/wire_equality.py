"""Are captions and pictures that come over HTTP those of the native backends?

    python tools/reference/wire_equality.py [--readback build/release/bin/readback] [--scenes 32]

Starts wire_server.py with the small world's weights. Captions by beam search must be equal token for token; pictures of
every route, from the noise of the seed that readback reports, within a mean absolute difference of 1/255 of what readback
draws from that noise. Exits with status 1 when anything disagrees.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from small_world import ASSETS, GUIDANCE, STEPS, export_scenes, run

HERE = pathlib.Path(__file__).resolve().parent
CAPTIONS = ["--prompt", "a picture of ", "--num-beams", 3, "--max-new-tokens", 16, "--min-new-tokens", 1]


def captions_agree(program, url, scenes):
    flags = [*CAPTIONS, "--format", "jsonl", *scenes]
    ours = run(program, "caption", "--captioner", ASSETS / "captioner", "--dtype", "float32", *flags)
    theirs = run(program, "caption", "--captioner", f"openai:{url}/v1#emoji-scenes", *flags)
    pairs = [[line["captions"][0] for line in lines] for lines in (ours, theirs)]
    different = sum(a["token_ids"] != b["token_ids"] or a["text"] != b["text"] for a, b in zip(*pairs, strict=True))
    print(f"captions: {different} of {len(scenes)} differ")
    return different == 0


def pictures_agree(program, spec, prompts, folder):
    flags = ["--prompts", folder / "prompts.txt", "--num-inference-steps", STEPS, "--guidance-scale", GUIDANCE,
             "--format", "jsonl"]
    theirs = run(program, "generate", "--generator", spec, *flags, "--output", folder / "theirs")
    noise = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(line["seed"])) for line in theirs]
    save_file({"latents": torch.cat(noise)}, folder / "latents.safetensors")
    ours = run(program, "generate", "--generator", ASSETS / "generator", "--dtype", "float32", *flags, "--latents",
               folder / "latents.safetensors", "--output", folder / "ours")
    assert len(ours) == len(theirs) == len(prompts)
    pictures = [[np.asarray(Image.open(line["file"]), dtype=np.float64) for line in lines] for lines in (ours, theirs)]
    worst = max(np.abs(a - b).mean() for a, b in zip(*pictures))
    print(f"{spec.split(':')[0]}: largest mean absolute difference of a picture {worst:.4f} of 255")
    return worst < 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readback", default="build/release/bin/readback")
    parser.add_argument("--scenes", type=int, default=32)
    flags = parser.parse_args()
    server = subprocess.Popen([sys.executable, HERE / "wire_server.py", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            os.environ["READBACK_CACHE"] = str(folder / "cache")
            scenes, prompts = export_scenes(flags.readback, flags.scenes, folder / "scenes")
            (folder / "prompts.txt").write_text("\n".join(prompts) + "\n")
            agree = [captions_agree(flags.readback, url, scenes)]
            for spec in (f"openai:{url}/v1", f"sdapi:{url}", f"sdcpp:{url}"):
                agree.append(pictures_agree(flags.readback, spec, prompts, folder))
    finally:
        server.terminate()
        server.wait()
    sys.exit(0 if all(agree) else 1)


if __name__ == "__main__":
    main()
