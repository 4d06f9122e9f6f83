"""What Stable Diffusion XL learns from pictures: python tools/reference/tuned_generators.py

Ten AdamW steps of the diffusion loss on the tiny repository tests/goldens/generate/pipeline-xl, written with diffusers and
PEFT: both text encoders' states, the second's projection and the sizes as StableDiffusionXLPipeline gives them to its
UNet, three rows a step, of which one has an empty text. Latents and noise come from readback's streams (streams.py).

Writes tests/goldens/train/
    generators.json         by case: repository, what is trained, and each step's texts
    generators.safetensors  CASE.losses [10], CASE.STEP.timesteps, CASE.STEP.gradient.unet.KEY (the norm, then up to eight
                            values) of the steps 0 and 9; of adapters CASE.start.KEY by readback's names
"""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import diffusers
import torch
import torch.nn.functional as F
from peft import LoraConfig
from safetensors.torch import save_file
from unified import GOLDENS, OUTPUT, draw, summary

STEPS, ROWS, RATE, CLIP = 10, 3, 1e-3, 1.0
TEXTS = ["a red fox", "", "a cat!", "a red cat that says far more than sixteen tokens can ever hold", "fox", "at a cat", "",
         "red"]
CASES = {
    "xl": {"repository": "pipeline-xl", "trained": "all", "prediction_type": "epsilon"},
    "xl-velocity": {"repository": "pipeline-xl", "trained": "xattn_qkv", "prediction_type": "v_prediction"},
    "xl-lora": {"repository": "pipeline-xl", "trained": "lora:all", "prediction_type": "epsilon"},
}


def texts_of(step):
    return [TEXTS[(step * ROWS + row) % len(TEXTS)] for row in range(ROWS)]


def conditions(pipe, texts, side):
    """As StableDiffusionXLPipeline.__call__ has them; an empty text is what guidance compares with."""
    states, pooled = [], []
    for text in texts:
        given, without, vector, vector_without = pipe.encode_prompt(text or "a", do_classifier_free_guidance=True)
        states.append(given if text else without)
        pooled.append(vector if text else vector_without)
    sizes = pipe._get_add_time_ids((side, side), (0, 0), (side, side), torch.float32,
                                   pipe.text_encoder_2.config.projection_dim)
    return torch.cat(states), {"text_embeds": torch.cat(pooled), "time_ids": sizes.repeat(len(texts), 1)}


def trained_of(unet, selection, name, golden):
    """By readback's names."""
    unet.requires_grad_(False)
    if selection.startswith("lora:"):
        linear = [n for n, m in unet.named_modules() if isinstance(m, torch.nn.Linear)]
        unet.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=linear))
        generator = torch.Generator().manual_seed(5)
        named = {n.replace(".default.", "."): p for n, p in unet.named_parameters() if "lora_" in n}
        with torch.no_grad():
            for key, parameter in named.items():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 / parameter[0].numel() ** 0.5)
                golden[f"{name}.start.unet.{key}"] = parameter.detach().clone()
        return named
    parts = {"all": ("",), "xattn_qkv": ("attn2.to_q.", "attn2.to_k.", "attn2.to_v.")}[selection]
    return {n: p for n, p in unet.named_parameters() if any(part in n for part in parts)}


def run(name, case, golden):
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(GOLDENS / "generate" / case["repository"],
                                                               torch_dtype=torch.float32)
    schedule = diffusers.DDPMScheduler.from_config(pipe.scheduler.config, prediction_type=case["prediction_type"])
    side = pipe.unet.config.sample_size
    named = trained_of(pipe.unet, case["trained"], name, golden)
    for parameter in named.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(named.values(), lr=RATE)
    losses = []
    for step in range(STEPS):
        latents, noise = (draw(what, step, ROWS, 4, side, side) for what in ("latents", "noise"))
        t = torch.randint(0, 1000, (ROWS,), generator=torch.Generator().manual_seed(2000 + step))
        golden[f"{name}.{step}.timesteps"] = t
        with torch.no_grad():
            states, added = conditions(pipe, texts_of(step), side * pipe.vae_scale_factor)
        predicted = pipe.unet(schedule.add_noise(latents, noise, t), t, states, added_cond_kwargs=added).sample
        velocity = case["prediction_type"] == "v_prediction"
        loss = F.mse_loss(predicted, schedule.get_velocity(latents, noise, t) if velocity else noise)
        loss.backward()
        losses.append(loss.detach())
        for key, parameter in named.items():
            if step in (0, STEPS - 1):
                golden[f"{name}.{step}.gradient.unet.{key}"] = summary(parameter.grad)
        torch.nn.utils.clip_grad_norm_(list(named.values()), CLIP)
        optimizer.step()
        optimizer.zero_grad()
    golden[f"{name}.losses"] = torch.stack(losses)
    print(name, len(named), "parameters", [round(x.item(), 4) for x in losses])


def main():
    torch.set_num_threads(1)
    diffusers.utils.logging.disable_progress_bar()
    golden = {}
    for name, case in CASES.items():
        run(name, case, golden)
    save_file({k: v.contiguous() for k, v in golden.items()}, OUTPUT / "generators.safetensors")
    description = {"clip_norm": CLIP, "learning_rate": RATE, "texts": [texts_of(step) for step in range(STEPS)],
                   "cases": CASES}
    (OUTPUT / "generators.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
