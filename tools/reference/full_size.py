"""BLIP-base and Stable Diffusion 1.4 at full size with random weights, and whether readback agrees on them.

    python tools/reference/full_size.py write FOLDER [blip-base] [stable-diffusion-1-4]
    python tools/reference/full_size.py check FOLDER [blip-base] [stable-diffusion-1-4] [--readback PROGRAM]

`write` saves both repositories with transformers' and diffusers' own save_pretrained (1.0 and 4.3 GB, fp32), and beside
each, in NAME-reference/, what transformers and diffusers make of fixed inputs. The configurations are those of
Salesforce/blip-image-captioning-base and CompVis/stable-diffusion-v1-4; vocabularies of the right size are made up.
`check` runs readback on the same inputs and compares captions, log-probabilities, the nucleus, latents, pictures and
peak memory. It exits with status 1 when anything disagrees.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import string
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn as nn
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    TopPLogitsWarper,
)

PROMPT = "a picture of "
BEAMS = dict(num_beams=3, max_length=20, min_length=5)
TOP_P = 0.9
PROMPTS = ["a photo of a red boat on a lake", "two dogs under an umbrella, oil painting"]
STEPS, GUIDANCE, SIZE = 5, 7.5, 256
GIB = 2**30
PEAK = {"blip-base": 1.6, "512 px float32": 5.5, "512 px bfloat16": 3.2}  # GiB


def fill(model, seed, gains=(), bias=0.05):
    """Draws every parameter so that activations keep their scale; a gain applies where its text is in the name."""
    generator = torch.Generator().manual_seed(seed)
    norms = (nn.LayerNorm, nn.GroupNorm)
    norm_weights = {id(module.weight) for module in model.modules() if isinstance(module, norms)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = math.prod(factor for text, factor in gains if text in name)
            if id(parameter) in norm_weights:
                parameter.normal_(1, 0.1, generator=generator)
            elif parameter.dim() == 1:
                parameter.normal_(0, bias * gain, generator=generator)
            else:
                parameter.normal_(0, gain / parameter[0].numel() ** 0.5, generator=generator)
    return model.eval()


def bert_vocabulary(size):
    words = ["[PAD]"] + [f"[unused{i}]" for i in range(99)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = string.punctuation + string.digits + string.ascii_lowercase
    words += list(characters) + ["##" + c for c in characters]
    words += "the of and in to on with is at by for an picture photo image two three red blue green".split()
    syllables = [c + v for c in "bcdfghjklmnpqrstvwxyz" for v in "aeiou"]
    made_up = ("".join(parts) for count in (2, 3) for parts in itertools.product(syllables, repeat=count))
    known = set(words)
    for word in made_up:
        if len(words) == size - 2:
            break
        if word not in known:
            words.append(word)
    return words + ["[DEC]", "[ENC]"]


def clip_vocabulary(size):
    """Byte pairs as CLIP's: 256 bytes, the same ending a word, merges, begin and end. Merges go letter by letter."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = characters + [c + "</w>" for c in characters]
    letters = string.ascii_lowercase
    merges = []
    for length in itertools.count(2):
        for stem in itertools.product(letters, repeat=length - 1):
            for last in [*letters, *(c + "</w>" for c in letters)]:
                if len(tokens) == size - 2:
                    return tokens + ["<|startoftext|>", "<|endoftext|>"], merges
                merges.append(("".join(stem), last))
                tokens.append("".join(stem) + last)


def draw_images(folder):
    """Three pictures of different sizes: coloured waves with a few rectangles."""
    paths = []
    for i, (width, height) in enumerate([(500, 375), (320, 480), (384, 384)]):
        random = np.random.default_rng(i)
        y, x = np.mgrid[0:height, 0:width] / 100
        waves = [np.sin(x * a + y * b + c) for a, b, c in random.uniform(-3, 3, (3, 3))]
        pixels = np.stack(waves, -1) * 127 + 128
        for _ in range(6):
            left, top = random.integers(0, width - 60), random.integers(0, height - 60)
            bottom, right = top + random.integers(20, 60), left + random.integers(20, 60)
            pixels[top:bottom, left:right] = random.integers(0, 256, 3)
        paths.append(folder / f"image_{i}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def blip_model():
    text = dict(vocab_size=30524, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                max_position_embeddings=512, hidden_act="gelu", layer_norm_eps=1e-12, bos_token_id=30522,
                sep_token_id=102, pad_token_id=0, eos_token_id=2)
    vision = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=384,
                  patch_size=16, hidden_act="gelu", layer_norm_eps=1e-5)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    # Without these every caption is one word again and again: sublayers that leave room for the token's own path,
    # sharper attention, and wider embeddings, so that words differ in probability.
    sublayers = ["attention.output.dense", *(f"layer.{i}.output.dense" for i in range(12))]
    gains = [(name, 0.3) for name in sublayers]
    gains += [("crossattention.self.query", 4 / 3), ("crossattention.self.key", 4 / 3), ("attention.self.query", 3),
              ("attention.self.key", 3), ("word_embeddings", 3), ("position_embeddings", 3.5)]
    fill(model, 1, gains)
    with torch.no_grad():
        model.text_decoder.cls.predictions.bias[102] = 7.0  # captions end now and then
        model.text_decoder.cls.predictions.bias[:102] = -100.0  # [PAD], [UNK] and unused words do not occur
        model.text_decoder.cls.predictions.bias[30522:] = -100.0
    return model


def log_probabilities(model, pixel_values, token_ids):
    """[T - 1, V]: what the model thinks of each next token."""
    with torch.no_grad():
        logits = model(pixel_values=pixel_values, input_ids=torch.tensor([token_ids])).logits[0]
    return logits.log_softmax(-1)[:-1]


def sum_after_prompt(log_probs, token_ids, prompt_length):
    targets = torch.tensor(token_ids[1:])
    return log_probs.gather(1, targets[:, None])[prompt_length - 1 :, 0].sum().item()


def write_blip(repository, reference):
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(bert_vocabulary(30524))})
    processor = BlipProcessor(BlipImageProcessorPil(), tokenizer)
    processor.save_pretrained(repository)
    model = blip_model()
    model.save_pretrained(repository)
    captions, arrays = [], {}
    for i, path in enumerate(draw_images(reference)):
        inputs = processor(images=Image.open(path), text=PROMPT, return_tensors="pt")
        ids = model.generate(**inputs, **BEAMS)[0].tolist()
        while ids[-1] == model.config.text_config.pad_token_id:
            ids.pop()
        prompt = inputs["input_ids"][0, :-1].tolist()
        prompt[0] = model.config.text_config.bos_token_id
        log_probs = log_probabilities(model, inputs["pixel_values"], ids)
        # The distribution that nucleus sampling draws the first word from; the shortest caption has one word.
        first = log_probs[len(prompt) - 1 : len(prompt)].clone()
        first[0, model.config.text_config.sep_token_id] = -torch.inf
        arrays[f"nucleus.{i}"] = nucleus = TopPLogitsWarper(TOP_P)(None, first).softmax(-1)[0]
        text = tokenizer.decode(ids[len(prompt):], skip_special_tokens=True)
        captions.append(dict(image=path.name, token_ids=ids, text=text, prompt_length=len(prompt),
                             log_probability=sum_after_prompt(log_probs, ids, len(prompt))))
        print(captions[-1], f"nucleus of {(nucleus > 0).sum()} words, the likeliest {nucleus.max():.3f}", flush=True)
    (reference / "captions.json").write_text(json.dumps(captions, indent=1) + "\n")
    save_file(arrays, reference / "nucleus.safetensors")


def write_stable_diffusion(repository, reference):
    tokens, merges = clip_vocabulary(49408)
    tokenizer = CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, model_max_length=77)
    text_encoder = fill(CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=0, eos_token_id=2)), 2)
    unet = fill(UNet2DConditionModel(
        sample_size=64, in_channels=4, out_channels=4, center_input_sample=False, flip_sin_to_cos=True, freq_shift=0,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2, downsample_padding=1, mid_block_scale_factor=1, act_fn="silu", norm_num_groups=32,
        norm_eps=1e-5, cross_attention_dim=768, attention_head_dim=8), 3)
    vae = fill(AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        act_fn="silu", latent_channels=4, norm_num_groups=32, sample_size=512), 4, [("decoder.conv_out", 0.5)])
    scheduler = PNDMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                              beta_schedule="scaled_linear", skip_prk_steps=True, set_alpha_to_one=False,
                              steps_offset=1)
    pipeline = StableDiffusionPipeline(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
                                       scheduler=scheduler, safety_checker=None, feature_extractor=None,
                                       requires_safety_checker=False)
    pipeline.save_pretrained(repository)
    pipeline.set_progress_bar_config(disable=True)
    shape = (1, 4, SIZE // 8, SIZE // 8)
    for i, prompt in enumerate(PROMPTS):
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(10 + i))
        final = pipeline(prompt, height=SIZE, width=SIZE, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                         latents=latents.clone(), output_type="latent").images
        with torch.no_grad():
            decoded = vae.decode(final / vae.config.scaling_factor).sample
        pipeline.image_processor.postprocess(decoded)[0].save(reference / f"picture_{i}.png")
        save_file({"latents": latents}, reference / f"initial_{i}.safetensors")
        save_file({"latents": final.contiguous()}, reference / f"final_{i}.safetensors")
        print(f"{prompt!r}: final latents' deviation {final.std():.3f}, from the initial ones' "
              f"{(final - latents * final.std() / latents.std()).std():.3f}; picture {decoded.std():.3f}", flush=True)


def run(program, *arguments):
    """Standard output of readback and the peak of its resident memory in GiB."""
    command = [str(program), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\nexited with status {process.returncode}")
    return output, usage.ru_maxrss * 1024 / GIB


class Report:
    failed = False

    def line(self, what, value, limit):
        self.failed |= not value <= limit
        print(f"{'ok  ' if value <= limit else 'FAIL'} {what}: {value:.3g} (at most {limit:g})", flush=True)


def check_blip(program, repository, reference, report):
    expected = json.loads((reference / "captions.json").read_text())
    images = [reference / caption["image"] for caption in expected]
    common = ["caption", "--captioner", repository, "--prompt", PROMPT, "--max-length", 20, "--min-length", 5,
              "--dtype", "float32", "--format", "jsonl"]
    output, peak = run(program, *common, "--num-beams", 3, *images)
    for line, caption in zip(output.splitlines(), expected, strict=True):
        ours = json.loads(line)["captions"][0]
        report.line(f"{caption['image']} beam 3, different tokens",
                    float(ours["token_ids"] != caption["token_ids"]), 0)
        report.line(f"{caption['image']} beam 3, log-probability",
                    abs(ours["log_probability"] - caption["log_probability"]), 1e-3)
    report.line("BLIP-base float32, peak memory in GiB", peak, PEAK["blip-base"])

    output, peak = run(program, *common, "--do-sample", "--top-p", TOP_P, "--num-captions", 10, "--seed", 0, *images)
    report.line("BLIP-base float32 nucleus × 10, peak memory in GiB", peak, PEAK["blip-base"])
    nucleus = load_file(reference / "nucleus.safetensors")
    model = BlipForConditionalGeneration.from_pretrained(repository).eval()
    processor = BlipImageProcessorPil.from_pretrained(repository)
    for i, (line, caption) in enumerate(zip(output.splitlines(), expected, strict=True)):
        start = caption["prompt_length"]
        pixels = processor(images=Image.open(images[i]), return_tensors="pt")["pixel_values"]
        outside, difference = 0, 0.0
        for ours in json.loads(line)["captions"]:
            ids = ours["token_ids"]
            log_probs = log_probabilities(model, pixels, ids)
            outside += (nucleus[f"nucleus.{i}"][ids[start]] == 0).item()
            difference = max(difference, abs(ours["log_probability"] - sum_after_prompt(log_probs, ids, start)))
        report.line(f"{caption['image']} nucleus, first words outside", outside, 0)
        report.line(f"{caption['image']} nucleus, log-probability", difference, 1e-3)


def check_stable_diffusion(program, repository, reference, report):
    with tempfile.TemporaryDirectory() as folder:
        common = ["generate", "--generator", repository, "--scheduler", "pndm", "--guidance-scale", GUIDANCE,
                  "--format", "jsonl"]
        for i, prompt in enumerate(PROMPTS):
            start = [*common, "--prompt", prompt, "--latents", reference / f"initial_{i}.safetensors", "--height", SIZE,
                     "--width", SIZE, "--num-inference-steps", STEPS, "--dtype", "float32"]
            output, _ = run(program, *start, "--output-type", "latent", "--output", f"{folder}/{i}-latent")
            ours = load_file(json.loads(output)["file"])["latents"].reshape(1, 4, SIZE // 8, SIZE // 8)
            expected = load_file(reference / f"final_{i}.safetensors")["latents"]
            report.line(f"{prompt!r}: latents, relative", ((ours - expected).norm() / expected.norm()).item(), 1e-3)
            output, _ = run(program, *start, "--output-type", "image", "--output", f"{folder}/{i}-image")
            pixels, wanted = (np.asarray(Image.open(p).convert("RGB"), dtype=float)
                              for p in (json.loads(output)["file"], reference / f"picture_{i}.png"))
            report.line(f"{prompt!r}: picture, mean difference of 255", np.abs(pixels - wanted).mean(), 1)
        for dtype in ("float32", "bfloat16"):
            _, peak = run(program, *common, "--prompt", PROMPTS[0], "--height", 512, "--width", 512,
                          "--num-inference-steps", 2, "--dtype", dtype, "--output", f"{folder}/{dtype}")
            report.line(f"Stable Diffusion 512 px {dtype}, peak memory in GiB", peak, PEAK[f"512 px {dtype}"])


MODELS = {
    "blip-base": (write_blip, check_blip),
    "stable-diffusion-1-4": (write_stable_diffusion, check_stable_diffusion),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["write", "check"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*", choices=[[], *MODELS], default=[])
    parser.add_argument("--readback", type=pathlib.Path, default="build/release/bin/readback")
    arguments = parser.parse_args()
    report = Report()
    for name in arguments.models or MODELS:
        write, check = MODELS[name]
        repository, reference = arguments.folder / name, arguments.folder / f"{name}-reference"
        if arguments.action == "write":
            reference.mkdir(parents=True, exist_ok=True)
            write(repository, reference)
        else:
            check(arguments.readback, repository, reference, report)
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
