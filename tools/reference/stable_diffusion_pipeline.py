"""Golden pictures of diffusers' StableDiffusionPipeline: python tools/reference/stable_diffusion_pipeline.py

Writes a tiny random pipeline to tests/goldens/generate/pipeline and what it draws to pipeline_runs.{json,safetensors}.
How badly it removes noise from pictures, given texts, goes to denoising_errors.json.
Initial noise and the noise of ancestral steps come from readback's streams (streams.py), so that seeds are compared too.
"""

import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import diffusers
import numpy as np
import PIL.Image
import torch
import transformers
from models import randomise
from safetensors.torch import save_file
from schedulers import CLASSES, SD, SETS
from streams import Purpose, Random
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/generate"
# As of a repository from diffusers' first year: the pipeline itself corrects steps_offset and clip_sample.
SCHEDULER = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.2.0", "num_train_timesteps": 1000,
             "skip_prk_steps": True, **{key: value for key, value in SD.items() if key != "steps_offset"}}


def tokenizer(folder):
    """Bytes, bytes at the end of a word, a few merges, and the two special tokens; 16 tokens at most."""
    alphabet = [chr(c) for c in range(33, 127)]
    merges = [("f", "o"), ("fo", "x</w>"), ("r", "e"), ("re", "d</w>"), ("a", "t</w>"), ("c", "at</w>")]
    tokens = alphabet + [c + "</w>" for c in alphabet] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    loaded = CLIPTokenizer.from_pretrained(folder, model_max_length=16)
    shutil.rmtree(folder)
    return loaded


def pipeline():
    words = tokenizer(OUTPUT / "scratch")
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), hidden_size=16, intermediate_size=32,
                                        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16,
                                        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
                                        pad_token_id=words.pad_token_id))
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, norm_num_groups=4, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=16,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, scaling_factor=0.8)
    for seed, model in enumerate((text, unet, vae)):
        randomise(model, 200 + seed)
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(0.3)  # pictures are neither grey nor saturated
        # With a stronger random network diffusers in fp32 is 1e-4 from itself in fp64 where DDIM clips.
        unet.conv_out.weight.mul_(0.1)
        unet.conv_out.bias.mul_(0.1)
    return diffusers.StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=words, unet=unet,
                                             scheduler=diffusers.PNDMScheduler.from_config(SCHEDULER),
                                             safety_checker=None, feature_extractor=None,
                                             requires_safety_checker=False)


PROMPTS = ["a red fox", "a cat!", "a red fox", "a red cat that says far more than sixteen tokens can ever hold"]
RUNS = [
    *({"scheduler": name, "num_inference_steps": 6, "guidance_scale": 7.5} for name in ["", *CLASSES]),
    *({"scheduler": name, "num_inference_steps": 4, "guidance_scale": 1.0} for name in CLASSES),
    {"scheduler": "ddim", "num_inference_steps": 5, "guidance_scale": 3.0, "negative_prompt": "a cat"},
    {"scheduler": "euler-a", "num_inference_steps": 5, "guidance_scale": 0.0},
    {"scheduler": "", "num_inference_steps": 3, "guidance_scale": 2.0, "height": 24, "width": 8},
]


def run(folder, options):
    return draw_with(diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32), options)


def draw_with(pipe, options):
    """Four pictures: initial noise and the scheduler's noise of sample i, candidate i, from seed 7."""
    pipe.set_progress_bar_config(disable=True)
    if name := options["scheduler"]:
        if CLASSES[name] is not type(pipe.scheduler):
            pipe.scheduler = CLASSES[name].from_config(pipe.scheduler.config, **SETS.get(name, {}))
    size = (4, options.get("height", 16) // 2, options.get("width", 16) // 2)
    first, streams = ([Random(7, purpose, f"sample {i}", i) for i in range(4)]
                      for purpose in (Purpose.INITIAL_NOISE, Purpose.SCHEDULER_NOISE))
    draw = lambda randoms: torch.from_numpy(np.stack([random.normal(*size) for random in randoms]))
    latents = draw(first)
    sys.modules[type(pipe.scheduler).__module__].randn_tensor = lambda *a, **k: draw(streams)
    call = {key: value for key, value in options.items() if key != "scheduler"}
    if "negative_prompt" in call:
        call["negative_prompt"] = [call["negative_prompt"]] * len(PROMPTS)
    final = pipe(PROMPTS, latents=latents, output_type="latent", **call).images
    with torch.no_grad():
        decoded = pipe.vae.decode(final / pipe.vae.config.scaling_factor).sample
    images = pipe.image_processor.postprocess(decoded, output_type="pil")
    return {"initial": latents, "latents": final, "images": torch.tensor(np.stack([np.array(i) for i in images]))}


@torch.no_grad()
def denoising_errors(folder, images):
    """[pictures, PROMPTS]: the mean squared error of what the UNet predicts at the middles of eighths of all timesteps."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    latents = pipe.vae.encode(pipe.image_processor.preprocess(images)).latent_dist.mean * pipe.vae.config.scaling_factor
    steps = pipe.scheduler.config.num_train_timesteps
    timesteps = torch.tensor([(2 * k + 1) * steps // 16 for k in range(8)])
    noise = torch.from_numpy(np.stack([Random(0, Purpose.DENOISING_ERROR, "", k).normal(*latents.shape[1:])
                                       for k in range(8)]))
    errors = []
    for latent in latents:
        noisy = pipe.scheduler.add_noise(latent.expand_as(noise), noise, timesteps)
        errors.append([])
        for prompt in PROMPTS:
            states = pipe.encode_prompt(prompt, "cpu", 1, False)[0].repeat(8, 1, 1)
            predicted = pipe.unet(noisy, timesteps, states).sample
            errors[-1].append(torch.nn.functional.mse_loss(predicted, noise).item())
    return errors


def main():
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    folder = OUTPUT / "pipeline"
    shutil.rmtree(folder, ignore_errors=True)
    pipeline().to(torch.float16).save_pretrained(folder)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
    tensors = {}
    for index, options in enumerate(RUNS):
        for key, value in run(folder, options).items():
            if key != "initial" or index == 0:
                tensors[f"{index}.{key}"] = value.contiguous()
        picture = tensors[f"{index}.images"].float()
        print(options, "latents", tensors[f"{index}.latents"].std().item(), "pixels", picture.mean().item(),
              picture.std().item())
    drawn = [PIL.Image.fromarray(image) for image in tensors["0.images"].numpy()]
    errors = denoising_errors(folder, drawn)
    (OUTPUT / "denoising_errors.json").write_text(json.dumps(errors) + "\n")
    save_file(tensors, OUTPUT / "pipeline_runs.safetensors")
    (OUTPUT / "pipeline_runs.json").write_text(json.dumps({"prompts": PROMPTS, "runs": RUNS}, indent=1) + "\n")


if __name__ == "__main__":
    main()
