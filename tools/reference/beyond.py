"""Golden runs of what goes beyond the paper: python tools/reference/beyond.py

Anchors to the starting models, pictures that are drawn in several steps and read (DRaFT-K, https://arxiv.org/abs/
2309.17400), and a leave-one-out policy gradient (https://arxiv.org/abs/2402.14740) whose reward is the reconstruction,
on the models, batches and corrected objective of unified.py. Six micro-steps, an AdamW update after every second.

Writes tests/goldens/train/beyond.{json,safetensors}; for each case
    CASE.map, CASE.N.caption_ids, .caption_labels, .text_ids, .timesteps     what micro-step N reads
    CASE.N.sampled_ids, .sampled_labels, .sampled_text, .sampled_timesteps, .given_rewards    policy: the captions given
    CASE.losses                     [6, 4] total, L_diff, L_lm and the part beyond the paper of each micro-step
    CASE.N.rewards                  policy: [B, N]
    CASE.U.gradient.MODEL.KEY       update U's gradient, as in unified.py
"""

import copy
import json

import diffusers
import torch
import torch.nn.functional as F
from models import saved_name
from safetensors.torch import save_file
from unified import (BLIP, BLIP_SIZE, DEFAULTS, LATENT, LENGTH, MEAN, OUTPUT, PIPELINE, PROMPT, SCHEDULE, STD, UNKNOWN,
                     Models, caption_loss, diffusion_loss, draw, keys, latents_of, make_batch, soft_text, summary)

STEPS = 6
MORE = {"objective": "unified", "soft_tokens": "probabilities", "prediction_type": "epsilon", "batch": 2, "draws": 1,
        "trained": "xattn_q", "anchor_kl": 0.0, "anchor_l2": 0.0, "draft_steps": 0, "draft_gradient_steps": 1,
        "draft_guidance": 1.0, "policy_weight": 0.0, "policy_samples": 3, "policy_draws": 2, "policy_scale": "none",
        "given_weight": 0.0}
CASES = {
    "anchor": {"anchor_kl": 0.7, "anchor_l2": 3.0},
    "anchor-alone": {"anchor_kl": 100.0, "anchor_l2": 0.1, "prediction_type": "v_prediction",
                     "lm_weight": 0.0, "diffusion_weight": 0.0},
    "draft-last": {"draft_steps": 4, "draft_gradient_steps": 1},
    "draft-all": {"draft_steps": 3, "draft_gradient_steps": 3, "prediction_type": "v_prediction", "lm_weight": 0.5},
    "draft-guided": {"draft_steps": 5, "draft_gradient_steps": 2, "draft_guidance": 3.0},
    "policy": {"policy_weight": 0.5},
    "policy-scaled": {"policy_weight": 0.2, "policy_scale": "batch", "given_weight": 0.4, "diffusion_weight": 0.0,
                      "policy_samples": 4, "policy_draws": 1, "prediction_type": "v_prediction"},
}


def generator_predicts(models, noisy, t, text):
    return models.unet(noisy, t, text).sample


def drawn(case, models, batch):
    """Latents by DDIM, of whose steps the last few are differentiable."""
    ddim = diffusers.DDIMScheduler.from_config({**SCHEDULE, "prediction_type": case["prediction_type"],
                                                "steps_offset": 1, "clip_sample": False})
    ddim.set_timesteps(case["draft_steps"])
    text = models.text(batch["text_ids"]).last_hidden_state
    nothing = models.text(batch["empty_ids"]).last_hidden_state.expand(len(text), -1, -1)
    x = batch["draft_noise"]
    for i, t in enumerate(ddim.timesteps):
        with torch.set_grad_enabled(i >= case["draft_steps"] - case["draft_gradient_steps"]):
            output = generator_predicts(models, x, t, text)
            if case["draft_guidance"] != 1:
                without = generator_predicts(models, x, t, nothing)
                output = without + case["draft_guidance"] * (output - without)
            x = ddim.step(output, t, x).prev_sample
    return x


def even(case, models, start, batch):
    latents = latents_of(models, batch["pixels"], batch["posterior_noise"])
    t, noise = batch["timesteps"], batch["noise"]
    noisy = models.schedule.add_noise(latents, noise, t)
    text = models.text(batch["text_ids"]).last_hidden_state
    predicted = generator_predicts(models, noisy, t, text)
    loss_sd = total = diffusion_loss(case, models, predicted, latents, noise, t)
    loss_lm = extra = torch.zeros(())
    if case["lm_weight"]:
        alpha = models.schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
        if case["draft_steps"]:
            clean = drawn(case, models, batch)
        elif case["prediction_type"] == "epsilon":
            clean = (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        else:
            clean = alpha.sqrt() * noisy - (1 - alpha).sqrt() * predicted
        decoded = models.vae.decode(clean / models.vae.config.scaling_factor).sample
        pixels = F.interpolate(decoded / 2 + 0.5, (BLIP_SIZE, BLIP_SIZE), mode="bilinear", antialias=True)
        pixels = (pixels - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
        logits = models.blip(pixel_values=pixels, input_ids=batch["caption_ids"]).logits
        loss_lm = caption_loss(case, logits, batch["caption_labels"])
        total = total + case["lm_weight"] * loss_lm
    if case["anchor_kl"]:
        with torch.no_grad():
            before = generator_predicts(start, noisy, t, text)
        extra = F.mse_loss(predicted, before)
        total = total + case["anchor_kl"] * extra
    return total, loss_sd, loss_lm, extra


def rewards_of(case, models, latents, batch):
    """Of [B, N] captions: how well the generator denoises each image's latents when it reads them."""
    samples, draws = case["policy_samples"], case["policy_draws"]
    t, noise = batch["sampled_timesteps"], batch["policy_noise"]
    rows = []
    with torch.no_grad():
        text = models.text(batch["sampled_text"]).last_hidden_state
        for row in range(len(latents)):
            of_row = []
            for i in range(samples):
                errors = []
                for d in range(row * draws, (row + 1) * draws):
                    z, at, eps = latents[row][None], t[d][None], noise[d][None]
                    predicted = generator_predicts(models, models.schedule.add_noise(z, eps, at), at,
                                                   text[row * samples + i][None])
                    velocity = case["prediction_type"] == "v_prediction"
                    target = models.schedule.get_velocity(z, eps, at) if velocity else eps
                    errors.append(F.mse_loss(predicted, target))
                of_row.append(-torch.stack(errors).mean())
            rows.append(torch.stack(of_row))
    return torch.stack(rows) + case["given_weight"] * batch["given_rewards"]


def policy_loss(case, models, batch, rewards):
    samples = case["policy_samples"]
    others = (rewards.sum(1, keepdim=True) - rewards) / (samples - 1)
    advantages = rewards - others
    if case["policy_scale"] == "batch":
        advantages = advantages / advantages.square().mean().sqrt()
    total = 0
    for row in range(len(rewards)):
        for i in range(samples):
            ids, labels = (batch[key][row * samples + i] for key in ("sampled_ids", "sampled_labels"))
            logits = models.blip(pixel_values=batch["blip_pixels"][row][None], input_ids=ids[None]).logits[0]
            chosen = labels[1:] >= 0
            log_probability = torch.log_softmax(logits[:-1][chosen], -1).gather(1, labels[1:][chosen][:, None]).sum()
            total = total - advantages[row, i] * log_probability
    return total / rewards.numel()


def odd(case, models, start, batch, reindex):
    logits = models.blip(pixel_values=batch["blip_pixels"], input_ids=batch["caption_ids"]).logits
    loss_lm = total = caption_loss(case, logits, batch["caption_labels"])
    latents = latents_of(models, batch["pixels"], batch["posterior_noise"])
    loss_sd = extra = torch.zeros(())
    if case["diffusion_weight"]:
        text = soft_text(case, models, logits, batch["caption_labels"], reindex)
        t, noise = batch["timesteps"], batch["noise"]
        predicted = generator_predicts(models, models.schedule.add_noise(latents, noise, t), t, text)
        loss_sd = diffusion_loss(case, models, predicted, latents, noise, t)
        total = total + case["diffusion_weight"] * loss_sd
    if case["anchor_kl"]:
        with torch.no_grad():
            before = start.blip(pixel_values=batch["blip_pixels"], input_ids=batch["caption_ids"]).logits
        learned = batch["caption_labels"][:, 1:] >= 0
        p, q = (torch.log_softmax(x[:, :-1][learned], -1) for x in (before, logits))
        extra = (p.exp() * (p - q)).sum(-1).mean()
        total = total + case["anchor_kl"] * extra
    if case["policy_weight"]:
        batch["rewards"] = rewards_of(case, models, latents, batch)
        extra = policy_loss(case, models, batch, batch["rewards"])
        total = total + case["policy_weight"] * extra
    return total, loss_sd, loss_lm, extra


def more(case, models, step):
    """What micro-step `step` reads beyond unified.py's batch."""
    rows, samples = case["batch"], case["policy_samples"]
    generator = torch.Generator().manual_seed(2000 + step)
    lengths = [6, 9, 8, 5, 7, 10, 8, 6][: rows * samples]  # begin, prompt, caption, end; the last is cut before its end
    ids = torch.randint(4, 118, (len(lengths), max(lengths)), generator=generator)
    text = torch.randint(0, 194, (len(lengths), LENGTH), generator=generator)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length:] = 118, 0
        if row + 1 < len(lengths):
            ids[row, length - 1] = 3
        text[row, 0], text[row, length:] = 194, 195
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, : PROMPT + 1] = -100
    empty = torch.full((1, LENGTH), 195)
    empty[0, 0] = 194
    return {
        "sampled_ids": ids, "sampled_labels": labels, "sampled_text": text, "empty_ids": empty,
        "sampled_timesteps": torch.randint(0, 1000, (rows * case["policy_draws"],), generator=generator),
        "given_rewards": torch.rand(rows, samples, generator=generator),
        "policy_noise": draw("policy noise", step, rows * case["policy_draws"], 4, LATENT, LATENT),
        "draft_noise": draw("draft noise", step, rows, 4, LATENT, LATENT),
    }


def run(name, case, golden):
    models = Models(case)
    start = copy.deepcopy(models)
    generator = torch.Generator().manual_seed(7)
    vocabulary = models.text.config.vocab_size
    reindex = torch.randint(4, 118, (vocabulary,), generator=generator)
    reindex[torch.rand(vocabulary, generator=generator) < 0.5] = UNKNOWN
    golden[f"{name}.map"] = reindex
    named, starts = {}, {}
    for prefix, model, before, folder in (("captioner", models.blip, start.blip, BLIP),
                                          ("unet", models.unet, start.unet, PIPELINE / "unet")):
        stored, originals = keys(folder), dict(before.named_parameters())
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                named[f"{prefix}.{saved_name(key, stored)}"] = parameter
                starts[f"{prefix}.{saved_name(key, stored)}"] = originals[key].detach().clone()
    optimizer = torch.optim.AdamW(named.values(), lr=1e-2)
    losses = []
    for step in range(STEPS):
        batch = {**make_batch(case, step), **more(case, models, step)}
        for key in ("caption_ids", "caption_labels", "text_ids", "timesteps"):
            golden[f"{name}.{step}.{key}"] = batch[key]
        parts = odd(case, models, start, batch, reindex) if step % 2 else even(case, models, start, batch)
        total = parts[0]
        if case["anchor_l2"]:
            distance = sum((named[key] - starts[key]).square().sum() for key in named) / 2
            total = total + case["anchor_l2"] * distance
        if case["policy_weight"] and step % 2:
            for key in ("sampled_ids", "sampled_labels", "sampled_text", "sampled_timesteps", "given_rewards", "rewards"):
                golden[f"{name}.{step}.{key}"] = batch[key]
        (total / 2).backward()
        losses.append(torch.stack([part.detach() for part in (total, *parts[1:])]))
        if step % 2:
            for key, parameter in named.items():
                golden[f"{name}.{step // 2}.gradient.{key}"] = summary(parameter.grad)
            torch.nn.utils.clip_grad_norm_(named.values(), case["clip_norm"])
            optimizer.step()
            optimizer.zero_grad()
    golden[f"{name}.losses"] = torch.stack(losses)
    for row in golden[f"{name}.losses"].tolist():
        print(name, [round(x, 5) for x in row])


if __name__ == "__main__":
    cases = {name: {**DEFAULTS, **MORE, **case} for name, case in CASES.items()}
    golden = {}
    for name, case in cases.items():
        run(name, case, golden)
    save_file({k: v.contiguous() for k, v in golden.items()}, OUTPUT / "beyond.safetensors")
    (OUTPUT / "beyond.json").write_text(json.dumps({"schedule": SCHEDULE, "cases": cases}, indent=1) + "\n")
