"""Golden runs of latent consistency distillation: python tools/reference/consistency.py

Luo et al., https://arxiv.org/abs/2310.04378, algorithm 1, on the tiny pipeline of tests/goldens/generate/pipeline: the
teacher's guided step is that of diffusers' DDIMScheduler, which also gives x_0; the boundary scalings are LCMScheduler's,
the guidance's embedding is LatentConsistencyModelPipeline's. Six micro-steps, an AdamW update after every second, then
the target follows the student with decay min(ema_decay, (1 + updates) / (10 + updates)). The student starts as the
teacher, with a guidance embedding of its own. A guidance scale is 1 + w of the paper.

Writes tests/goldens/train/consistency.{json,safetensors}; for each case
    CASE.guidance_projection        the student's first time_embedding.cond_proj.weight
    CASE.N.ddim_steps, .guidance, .text_ids     what micro-step N reads; latents and noise are draw(WHAT, N, ...)
    CASE.losses                     [6]
    CASE.U.gradient.KEY             of the first and the last update U, as in unified.py
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import json

import diffusers
import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel
from unified import LATENT, LENGTH, OUTPUT, PIPELINE, SCHEDULE, draw, keys, summary
from models import saved_name

STEPS, BATCH, WIDTH = 6, 3, 12  # of the guidance's embedding
CASES = {
    "epsilon-huber": {"prediction_type": "epsilon", "ddim_steps": 50, "huber_c": 0.001, "ema_decay": 0.95},
    "velocity-squared": {"prediction_type": "v_prediction", "ddim_steps": 10, "huber_c": 0.0, "ema_decay": 0.05},
    "sample-huber": {"prediction_type": "sample", "ddim_steps": 3, "huber_c": 0.5, "ema_decay": 0.0},
}
ADAMW = {"learning_rate": 1e-2, "clip_norm": 1.0}


class Distillation:
    def __init__(self, case):
        self.case = case
        self.text = CLIPTextModel.from_pretrained(PIPELINE / "text_encoder", dtype=torch.float32).eval()
        self.teacher = diffusers.UNet2DConditionModel.from_pretrained(PIPELINE / "unet", torch_dtype=torch.float32).eval()
        config = {**self.teacher.config, "time_cond_proj_dim": WIDTH}
        self.student = diffusers.UNet2DConditionModel.from_config(config).eval()
        self.student.load_state_dict(self.teacher.state_dict(), strict=False)
        projection = self.student.time_embedding.cond_proj.weight
        with torch.no_grad():
            projection.copy_(draw("guidance projection", 0, *projection.shape))
        self.target = copy.deepcopy(self.student)
        for model in (self.text, self.teacher, self.target):
            model.requires_grad_(False)
        shared = {**SCHEDULE, "prediction_type": case["prediction_type"], "clip_sample": False}
        self.ddim = diffusers.DDIMScheduler.from_config({**shared, "set_alpha_to_one": False})
        self.ddim.set_timesteps(case["ddim_steps"])
        self.lcm = diffusers.LCMScheduler.from_config(shared)

    def ddim_steps(self, outputs, timesteps, samples):
        """Rows of DDIMScheduler.step: the next samples, and x_0."""
        rows = [self.ddim.step(o[None], t, x[None]) for o, t, x in zip(outputs, timesteps.tolist(), samples)]
        return (torch.cat([row.prev_sample for row in rows]), torch.cat([row.pred_original_sample for row in rows]))

    def answer(self, unet, noisy, timesteps, text, guidance):
        embedding = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, guidance - 1, WIDTH)
        output = unet(noisy, timesteps, text, timestep_cond=embedding).sample
        scalings = [self.lcm.get_scalings_for_boundary_condition_discrete(t) for t in timesteps.tolist()]
        skip, out = torch.tensor(scalings, dtype=torch.float32).T[..., None, None, None]
        return skip * noisy + out * self.ddim_steps(output, timesteps, noisy)[1]

    def loss(self, batch):
        stride = 1000 // self.case["ddim_steps"]
        start = batch["ddim_steps"] * stride + stride - 1
        noisy = self.ddim.add_noise(batch["latents"], batch["noise"], start)
        text = self.text(batch["text_ids"]).last_hidden_state
        answer = self.answer(self.student, noisy, start, text, batch["guidance"])
        with torch.no_grad():
            empty = torch.full((1, LENGTH), self.text.config.eos_token_id)
            empty[0, 0] = self.text.config.bos_token_id
            empty = self.text(empty).last_hidden_state.expand_as(text)
            conditional = self.teacher(noisy, start, text).sample
            unconditional = self.teacher(noisy, start, empty).sample
            w = (batch["guidance"] - 1)[:, None, None, None]
            following, _ = self.ddim_steps(conditional + w * (conditional - unconditional), start, noisy)
            end = (start - stride).clamp(min=0)
            target = self.answer(self.target, following, end, text, batch["guidance"])
        if self.case["huber_c"]:
            c = self.case["huber_c"]
            return ((answer - target).square().add(c * c).sqrt() - c).mean()
        return torch.nn.functional.mse_loss(answer, target)


def make_batch(case, step):
    generator = torch.Generator().manual_seed(6000 + step)
    text = torch.randint(0, 194, (BATCH, LENGTH), generator=generator)
    for row, length in enumerate([9, 7, 16]):
        text[row, 0], text[row, length - 1:] = 194, 195
    # The last step to the picture is there at once: its end is timestep 0, where the target is what it reads.
    ddim_steps = torch.randint(0, case["ddim_steps"], (BATCH,), generator=generator)
    ddim_steps[0] = step % 2 * (case["ddim_steps"] - 1)
    return {"ddim_steps": ddim_steps, "guidance": 1 + 8 * torch.rand(BATCH, generator=generator), "text_ids": text}


def run(name, case, golden):
    distillation = Distillation(case)
    stored = keys(PIPELINE / "unet") | {"time_embedding.cond_proj.weight"}
    named = {saved_name(key, stored): p for key, p in distillation.student.named_parameters()}
    golden[f"{name}.guidance_projection"] = named["time_embedding.cond_proj.weight"].detach().clone()
    optimizer, losses = torch.optim.AdamW(named.values(), lr=ADAMW["learning_rate"]), []
    for step in range(STEPS):
        batch = make_batch(case, step)
        golden.update({f"{name}.{step}.{key}": value for key, value in batch.items()})
        batch["latents"] = draw("latents", step, BATCH, 4, LATENT, LATENT)
        batch["noise"] = draw("noise", step, BATCH, 4, LATENT, LATENT)
        loss = distillation.loss(batch)
        (loss / 2).backward()
        losses.append(loss.detach())
        if step % 2 == 0:
            continue
        if step in (1, STEPS - 1):
            for key, parameter in named.items():
                golden[f"{name}.{step // 2}.gradient.{key}"] = summary(parameter.grad)
        torch.nn.utils.clip_grad_norm_(named.values(), ADAMW["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        updates = step // 2 + 1
        decay = min(case["ema_decay"], (1 + updates) / (10 + updates))
        with torch.no_grad():
            for target, student in zip(distillation.target.parameters(), distillation.student.parameters()):
                target.lerp_(student, 1 - decay)
    golden[f"{name}.losses"] = torch.stack(losses)
    print(name, len(named), "parameters", [round(x, 5) for x in golden[f"{name}.losses"].tolist()])


if __name__ == "__main__":
    golden = {}
    for name, case in CASES.items():
        run(name, case, golden)
    save_file({k: v.contiguous() for k, v in golden.items()}, OUTPUT / "consistency.safetensors")
    description = {"schedule": SCHEDULE, "adamw": ADAMW, "cases": CASES}
    (OUTPUT / "consistency.json").write_text(json.dumps(description, indent=1) + "\n")
