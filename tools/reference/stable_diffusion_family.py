"""Golden pictures of Stable Diffusion's relatives: python tools/reference/stable_diffusion_family.py

Writes tiny random pipelines to tests/goldens/generate/pipeline-lcm (a latent consistency model) and pipeline-xl
(Stable Diffusion XL), and what they, SD-Turbo's scheduler and LCM-LoRA's way of use draw to
family_runs.{json,safetensors}. Needs what stable_diffusion_pipeline.py and lora.py wrote.
"""

import json
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")

import diffusers
import torch
import transformers
from models import randomise
from safetensors.torch import save_file
from schedulers import SD
from stable_diffusion_pipeline import OUTPUT, PROMPTS, draw_with, tokenizer
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

# As stabilityai/sd-turbo and sdxl-turbo state them.
TURBO = {"num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "trailing", **SD}
SD_TURBO = {"_class_name": "EulerDiscreteScheduler", **TURBO}
SDXL_TURBO = {"_class_name": "EulerAncestralDiscreteScheduler", **TURBO}

LCM, XL, LORA = "generate/pipeline-lcm", "generate/pipeline-xl", "lora/generator"
RUNS = [
    *({"repository": "generate/pipeline", "scheduler_config": SD_TURBO, "num_inference_steps": steps,
       "guidance_scale": 0.0} for steps in (1, 2, 4)),
    {"repository": LCM, "num_inference_steps": 4, "guidance_scale": 8.5},
    {"repository": LCM, "num_inference_steps": 1, "guidance_scale": 1.0},
    {"repository": LCM, "num_inference_steps": 7, "guidance_scale": 3.0, "height": 24, "width": 8},
    {"repository": LORA, "scheduler": "lcm", "num_inference_steps": 4, "guidance_scale": 1.0},
    {"repository": LORA, "scheduler": "lcm", "num_inference_steps": 6, "guidance_scale": 1.5},
    {"repository": XL, "num_inference_steps": 5, "guidance_scale": 5.0},
    {"repository": XL, "num_inference_steps": 3, "guidance_scale": 5.0, "negative_prompt": "a cat"},
    {"repository": XL, "num_inference_steps": 3, "guidance_scale": 5.0, "force_zeros_for_empty_prompt": False},
    {"repository": XL, "num_inference_steps": 3, "guidance_scale": 1.0, "height": 24, "width": 8},
    {"repository": XL, "scheduler": "dpm++2m-sde-karras", "num_inference_steps": 4, "guidance_scale": 3.0},
    {"repository": XL, "scheduler": "unipc", "num_inference_steps": 4, "guidance_scale": 3.0},
    {"repository": XL, "scheduler": "ddpm", "num_inference_steps": 4, "guidance_scale": 3.0},
    *({"repository": XL, "scheduler_config": SDXL_TURBO, "num_inference_steps": steps, "guidance_scale": 0.0}
      for steps in (1, 4)),
]


def loaded(part, cls):
    return cls.from_pretrained(OUTPUT / "pipeline", subfolder=part, torch_dtype=torch.float32)


def quiet_unet(seed, **options):
    unet = diffusers.UNet2DConditionModel(sample_size=8, norm_num_groups=4, block_out_channels=(8, 16),
                                          layers_per_block=1, **options)
    randomise(unet, seed)
    with torch.no_grad():
        unet.conv_out.weight.mul_(0.1)
        unet.conv_out.bias.mul_(0.1)
    return unet


def latent_consistency():
    unet = quiet_unet(210, cross_attention_dim=16, attention_head_dim=2, time_cond_proj_dim=12,
                      down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                      up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    return diffusers.LatentConsistencyModelPipeline(
        vae=loaded("vae", diffusers.AutoencoderKL), text_encoder=loaded("text_encoder", transformers.CLIPTextModel),
        tokenizer=tokenizer(OUTPUT / "scratch"), unet=unet, scheduler=diffusers.LCMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def xl():
    words = tokenizer(OUTPUT / "scratch")
    others = tokenizer(OUTPUT / "scratch")
    others.pad_token = "!"
    text = CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=len(others), hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=16, hidden_act="gelu", projection_dim=12, bos_token_id=0, eos_token_id=2,
        pad_token_id=1))
    randomise(text, 220)
    unet = quiet_unet(221, cross_attention_dim=16 + 24, attention_head_dim=(1, 2), use_linear_projection=True,
                      transformer_layers_per_block=(1, 2), addition_embed_type="text_time", addition_time_embed_dim=4,
                      projection_class_embeddings_input_dim=12 + 6 * 4,
                      down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                      up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    return diffusers.StableDiffusionXLPipeline(
        vae=loaded("vae", diffusers.AutoencoderKL), text_encoder=loaded("text_encoder", transformers.CLIPTextModel),
        text_encoder_2=text, tokenizer=words, tokenizer_2=others, unet=unet, add_watermarker=False,
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **SD))


def run(options):
    options = dict(options)
    folder = OUTPUT.parent / options.pop("repository")
    extra = {}
    if config := options.pop("scheduler_config", None):
        extra["scheduler"] = getattr(diffusers, config["_class_name"]).from_config(config)
    if "force_zeros_for_empty_prompt" in options:
        extra["force_zeros_for_empty_prompt"] = options.pop("force_zeros_for_empty_prompt")
    base = OUTPUT / "pipeline" if folder.parent.name == "lora" else folder
    pipe = diffusers.DiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32, **extra)
    if base != folder:
        pipe.load_lora_weights(folder)
    return draw_with(pipe, {"scheduler": "", **options})


def main():
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    for name, make in (("pipeline-lcm", latent_consistency), ("pipeline-xl", xl)):
        shutil.rmtree(OUTPUT / name, ignore_errors=True)
        make().to(torch.float16).save_pretrained(OUTPUT / name)
        for path in (OUTPUT / name).glob("*/config.json"):  # no folder of whoever ran this
            config = json.loads(path.read_text())
            config.pop("_name_or_path", None)
            path.write_text(json.dumps(config, indent=2) + "\n")
    tensors = {}
    for index, options in enumerate(RUNS):
        values = run(options)
        for key in ("latents", "images"):
            tensors[f"{index}.{key}"] = values[key].contiguous()
        picture = values["images"].float()
        print(options, "latents", values["latents"].std().item(), "pixels", picture.mean().item(), picture.std().item())
    save_file(tensors, OUTPUT / "family_runs.safetensors")
    lines = ",\n".join(json.dumps(options) for options in RUNS)
    (OUTPUT / "family_runs.json").write_text(f'{{"prompts": {json.dumps(PROMPTS)},\n"runs": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
