"""Adapters that `readback finetune` writes for BLIP-2, IDEFICS and SmolVLM, in transformers with PEFT.

    python tools/reference/tuned_adapters.py [--readback build/release/bin/readback]

Tunes each tiny repository of tests/goldens/multimodal for twelve steps, loads what was written by
PeftModel.from_pretrained, and has both caption the pictures of tests/goldens/caption/images: greedy captions must be
equal token for token, and their log-probabilities within 1e-4. Says how much the adapter had changed. (BLIP's and Stable
Diffusion's adapters: tuned.py.) Exits with status 1 when anything disagrees.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import torch
from peft import PeftModel
from small_world import run
from tuned_captioners import GOLDENS, PICTURES, Reader

CASES = [("blip2-opt", "lora:all"), ("blip2-opt", "lora:bridge"), ("blip2-flan-t5", "lora:all"),
         ("blip2-flan-t5", "lora:xattn_qkv"), ("idefics", "lora:all"), ("idefics", "lora:bridge"),
         ("idefics-instruct", "lora:xattn_q"), ("smolvlm", "lora:all"), ("smolvlm-whole", "lora:bridge")]
FILES = sorted((GOLDENS / "caption/images").glob("*.png"))
TOKENS = 10


def tune(program, repository, selection, folder):
    run(program, "finetune", "--losses", "lm", "--captioner", GOLDENS / "multimodal" / repository, "--generator",
        GOLDENS / "generate/pipeline", "--train-captioner", selection, "--minimum-coverage", 0, "--dataset", "emoji-scenes",
        "--samples", 20, "--batch-size", 2, "--steps", 12, "--captioner-learning-rate", 3e-2,
        "--device", "cpu", "--dtype", "float32", "--threads", 1, "--output", folder)


def by_readback(program, captioner):
    lines = run(program, "caption", "--captioner", captioner, "--device", "cpu", "--dtype", "float32", "--threads", 1,
                "--num-beams", 1, "--max-new-tokens", TOKENS, "--min-new-tokens", 0, "--format", "jsonl", *FILES)
    return [(line["captions"][0]["token_ids"], line["captions"][0]["log_probability"]) for line in lines]


@torch.no_grad()
def by_transformers(reader, model):
    captions = []
    ends = {reader.end, 2} if reader.family == "idefics" else {reader.end}
    for picture in PICTURES:
        given = reader.prompt(picture)
        given.pop("token_type_ids", None)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        result = model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=TOKENS, eos_token_id=sorted(ends),
                                pad_token_id=0, return_dict_in_generate=True, output_logits=True)
        ids = result.sequences[0].tolist()
        known = len(ids) - len(result.logits)
        scores = torch.stack([one[0] for one in result.logits]).log_softmax(-1)
        captions.append((ids, scores.gather(1, torch.tensor(ids[known:])[:, None]).sum().item()))
    return captions


def agrees(program, repository, selection, folder):
    tune(program, repository, selection, folder)
    reader = Reader(repository)
    before = by_transformers(reader, reader.model)
    tuned = PeftModel.from_pretrained(reader.model, str(folder / "captioner")).eval()
    expected, actual = by_transformers(reader, tuned), by_readback(program, folder / "captioner")
    different = sum(a[0] != b[0] for a, b in zip(actual, expected, strict=True))
    apart = max(abs(a[1] - b[1]) for a, b in zip(actual, expected))
    modules = json.loads((folder / "captioner/adapter_config.json").read_text())["target_modules"]
    print(f"{repository}, {selection}, {len(modules)} kinds of layers: {different} of {len(FILES)} captions differ, "
          f"log-probabilities by at most {apart:.1e}; tuning changed {sum(a[0] != b[0] for a, b in zip(expected, before))} "
          f"captions, log-probabilities by up to {max(abs(a[1] - b[1]) for a, b in zip(expected, before)):.2f}")
    return different == 0 and apart < 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readback", default="build/release/bin/readback")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        results = [agrees(options.readback, *case, pathlib.Path(name) / "-".join(case).replace(":", "-")) for case in CASES]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
