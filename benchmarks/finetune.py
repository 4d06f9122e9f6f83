"""Unified fine-tuning at full size against the same steps written with transformers and diffusers.

    python tools/reference/full_size.py write FOLDER      # BLIP-base and Stable Diffusion 1.4, random weights, 5.3 GB
    python benchmarks/finetune.py FOLDER [--dtypes float32 bfloat16] [--rows cached fresh checkpointing]
        [--updates 5 9] [--rounds 3] [--resolution 256]

An update is one even and one odd micro-step of batch 1 (T → I → T, I → T → I) with the cross-attention queries trained,
as the paper does it. Each side is a process of its own and both see the same pictures and captions. Processes take turns
for --rounds, since machines drift. Seconds are the median of the updates between the two of --updates in all rounds, so
that loading does not count; memory is the largest peak resident set. readback keeps what frozen models make of a sample
("cached"); "fresh" is without that, so that every micro-step computes everything; "checkpointing" is
cached, with --gradient-checkpointing.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PICTURES = 4
ROWS = {  # flags of readback
    "cached": ["--cache-gigabytes", "2"],
    "fresh": ["--cache-gigabytes", "0"],
    "checkpointing": ["--cache-gigabytes", "2", "--gradient-checkpointing"],
}


def write_pictures(folder):
    import numpy as np
    from PIL import Image

    for i in range(PICTURES):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((480, 360), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("two dogs run over a green field beside an old stone house\n")


def reference(models, pictures, dtype, updates, resolution):
    """Prints the seconds of all updates; run as a process of its own."""
    import torch
    import torch.nn.functional as F
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from PIL import Image
    from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil, CLIPTextModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = getattr(torch, dtype)
    blip_path, sd_path = models / "blip-base", models / "stable-diffusion-1-4"
    blip = BlipForConditionalGeneration.from_pretrained(blip_path, dtype=dtype).requires_grad_(False)
    text_model = CLIPTextModel.from_pretrained(sd_path, subfolder="text_encoder", dtype=dtype).requires_grad_(False)
    unet = UNet2DConditionModel.from_pretrained(sd_path, subfolder="unet", torch_dtype=dtype).requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(sd_path, subfolder="vae", torch_dtype=dtype).requires_grad_(False)
    schedule = DDPMScheduler.from_pretrained(sd_path, subfolder="scheduler")
    blip_tokenizer, clip_tokenizer = AutoTokenizer.from_pretrained(blip_path), AutoTokenizer.from_pretrained(sd_path / "tokenizer")
    processor = BlipImageProcessorPil.from_pretrained(blip_path)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (processor.image_mean, processor.image_std))
    words = {text: index for text, index in blip_tokenizer.get_vocab().items()}
    reindex = torch.tensor([words.get(token[:-4] if token.endswith("</w>") else "##" + token, blip_tokenizer.unk_token_id)
                            for token, _ in sorted(clip_tokenizer.get_vocab().items(), key=lambda item: item[1])])
    embedding = text_model.get_input_embeddings().weight
    prompt = len(blip_tokenizer("a picture of ", add_special_tokens=False)["input_ids"])
    trained = [p for n, p in blip.named_parameters() if "crossattention.self.query" in n]
    trained += [p for n, p in unet.named_parameters() if "attn2.to_q" in n]
    for parameter in trained:
        parameter.requires_grad_(True)
    masters = [p.detach().float().clone() for p in trained] if dtype != torch.float32 else trained
    optimizer = torch.optim.AdamW(masters, lr=1e-4)

    def batch(index):
        picture = Image.open(pictures / f"{index % PICTURES}.png").convert("RGB")
        caption = (pictures / f"{index % PICTURES}.txt").read_text().strip()
        small = picture.resize((resolution, resolution), Image.Resampling.BILINEAR)
        pixels = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(1, resolution, resolution, 3)
        pixels = (pixels.permute(0, 3, 1, 2) / 127.5 - 1).to(dtype)
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        ids = blip_tokenizer("a picture of " + caption, return_tensors="pt")["input_ids"]
        ids[0, 0] = blip.config.text_config.bos_token_id
        labels = ids.clone()
        labels[:, : prompt + 1] = -100
        return picture, caption, latents, ids, labels

    def diffusion(latents, text):
        t, noise = torch.randint(0, 1000, (1,)), torch.randn_like(latents)
        noisy = schedule.add_noise(latents, noise, t)
        predicted = unet(noisy, t, text).sample
        return F.mse_loss(predicted.float(), noise.float()), noisy, predicted, t

    def language(pixels, ids, labels):
        logits = blip(pixel_values=pixels, input_ids=ids).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()), logits

    def even(index):
        _, caption, latents, ids, labels = batch(index)
        tokens = clip_tokenizer(caption, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        with torch.no_grad():
            text = text_model(tokens["input_ids"]).last_hidden_state
        loss, noisy, predicted, t = diffusion(latents, text)
        alpha = schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
        clean = ((noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()).to(dtype)
        decoded = vae.decode(clean / vae.config.scaling_factor).sample / 2 + 0.5
        read = F.interpolate(decoded.float(), (384, 384), mode="bilinear", antialias=True)
        (loss + language(((read - mean) / std).to(dtype), ids, labels)[0]).backward()

    def odd(index):
        picture, _, latents, ids, labels = batch(index)
        pixels = processor(picture, return_tensors="pt")["pixel_values"].to(dtype)
        loss, logits = language(pixels, ids, labels)
        soft = torch.softmax(logits[:, prompt:-2].float(), -1)[..., reindex].to(dtype) @ embedding
        begin, end = (embedding[clip_tokenizer.convert_tokens_to_ids(x)] for x in ("<|startoftext|>", "<|endoftext|>"))
        rows = torch.cat([begin[None], soft[0], end.expand(76 - soft.size(1), -1)])[None]
        (loss + diffusion(latents, text_model_of_embeddings(rows))[0]).backward()

    def text_model_of_embeddings(rows):
        hook = text_model.get_input_embeddings().register_forward_hook(lambda *_: rows)
        try:
            return text_model(torch.zeros(1, 77, dtype=torch.long)).last_hidden_state
        finally:
            hook.remove()

    start = time.perf_counter()
    marks = []
    for update in range(updates):
        even(2 * update)
        odd(2 * update + 1)
        for master, parameter in zip(masters, trained):
            master.grad = parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        for master, parameter in zip(masters, trained):
            if master is not parameter:
                parameter.data.copy_(master.data)
            parameter.grad = None
        marks.append(time.perf_counter() - start)
    print(json.dumps(marks))


def seconds_of_updates(marks, updates):
    """From the times at which updates ended."""
    return [b - a for a, b in itertools.pairwise(marks[updates[0] - 1 : updates[1]])]


def measure_reference(arguments, dtype, pictures, updates):
    command = [sys.executable, __file__, str(arguments.models), "--reference", str(pictures), "--dtypes", dtype,
               "--resolution", str(arguments.resolution), "--updates", *map(str, updates)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    marks = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss / 2**20, seconds_of_updates(marks, updates)


def measure_readback(arguments, dtype, pictures, updates, flags):
    with tempfile.TemporaryDirectory() as folder:
        command = [str(arguments.readback), "finetune", "--captioner", str(arguments.models / "blip-base"),
                   "--generator", str(arguments.models / "stable-diffusion-1-4"), "--dataset", str(pictures),
                   "--resolution", str(arguments.resolution), "--batch-size", "1", "--accumulation", "2",
                   "--minimum-coverage", "0", "--dtype", dtype, "--steps", str(updates[1]), "--log-every", "1",
                   "--output", folder, *flags]
        log = pathlib.Path(folder) / "training/losses.jsonl"
        errors = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        marks, ended = [], 0
        while not ended:  # an update is over when its line is in the log
            time.sleep(0.02)
            lines = log.read_bytes().count(b"\n") if log.exists() else 0
            marks += [time.perf_counter()] * (lines - len(marks))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if status != 0:
            errors.seek(0)
            sys.exit(f"{command[0]} failed: {errors.read()}")
    return usage.ru_maxrss / 2**20, seconds_of_updates(marks, updates)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--updates", nargs=2, type=int, default=[5, 9])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--readback", type=pathlib.Path, default=ROOT / "build/release/bin/readback")
    parser.add_argument("--reference", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reference:
        return reference(arguments.models, arguments.reference, arguments.dtypes[0], arguments.updates[1],
                         arguments.resolution)
    print("| type | | seconds an update | peak GiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        pictures = pathlib.Path(folder)
        write_pictures(pictures)
        for dtype in arguments.dtypes:
            rounds = {name: [] for name in ["reference", *arguments.rows]}  # (peak, seconds of updates) each
            for _ in range(arguments.rounds):
                rounds["reference"].append(measure_reference(arguments, dtype, pictures, arguments.updates))
                for row in arguments.rows:
                    rounds[row].append(measure_readback(arguments, dtype, pictures, arguments.updates, ROWS[row]))
                print(f"{dtype}: " + ", ".join(f"{name} {statistics.median(measured[-1][1]):.2f} s"
                                               for name, measured in rounds.items()), file=sys.stderr, flush=True)
            summary = {name: (max(peak for peak, _ in measured), statistics.median(s for _, all in measured for s in all))
                       for name, measured in rounds.items()}
            base, base_seconds = summary.pop("reference")
            print(f"| {dtype} | transformers and diffusers | {base_seconds:.2f} | {base:.2f} |")
            for row, (peak, seconds) in summary.items():
                print(f"| {dtype} | readback, {row} | {seconds:.2f}, {base_seconds / seconds:.2f} × as fast | {peak:.2f}, "
                      f"{peak / base:.2f} × |", flush=True)


if __name__ == "__main__":
    main()
