"""Golden runs of the unified objective: python tools/reference/unified.py

The objective as the paper's public code computes it (https://github.com/hangligit/DalleFlamingo, train.py), and as it
should be, written with transformers and diffusers on the tiny models of tests/goldens (models/blip, generate/pipeline).
Ten micro-steps, T -> I -> T and I -> T -> I in turn, an AdamW update after every second. Noise comes from
readback's streams (streams.py), so that only ids, timesteps and results are stored.

Writes tests/goldens/train/unified.{json,safetensors}; for each case
    CASE.map, CASE.N.caption_ids, .caption_labels, .text_ids, .timesteps     what micro-step N reads
    CASE.losses                     [10, 3] total, L_diff and L_lm of each micro-step
    CASE.U.gradient.MODEL.KEY       update U's gradient: its norm, then up to eight of its values, evenly spaced
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib

import diffusers
import torch
import torch.nn.functional as F
from models import saved_name
from safetensors import safe_open
from safetensors.torch import save_file
from streams import Purpose, Random
from transformers import BlipForConditionalGeneration, CLIPTextModel

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens"
BLIP, PIPELINE, OUTPUT = GOLDENS / "models/blip", GOLDENS / "generate/pipeline", GOLDENS / "train"
SIZE, LATENT, BLIP_SIZE = 40, 20, 32  # pixels, latents, the captioner's pixels
PROMPT, UNKNOWN, LENGTH = 3, 1, 16  # tokens of the prompt, the captioner's [UNK], tokens of the text encoder
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
DEFAULTS = {"temperature": 1.0, "lm_weight": 1.0, "diffusion_weight": 1.0, "snr_gamma": 0.0, "read_snr_gamma": 0.0,
            "read_timesteps": [0, 999], "label_smoothing": 0.0, "clip_sample": False, "clip_norm": 0.1}
CASES = {
    "paper-probabilities": {"objective": "paper", "soft_tokens": "probabilities", "prediction_type": "epsilon",
                            "batch": 1, "draws": 2, "trained": "xattn_q", "label_smoothing": 0.1},
    "paper-logits": {"objective": "paper", "soft_tokens": "logits", "prediction_type": "v_prediction", "batch": 1,
                     "draws": 1, "trained": "xattn_qkv", "label_smoothing": 0.1, "temperature": 0.7,
                     "diffusion_weight": 0.5, "clip_sample": True},
    "unified-probabilities": {"objective": "unified", "soft_tokens": "probabilities", "prediction_type": "epsilon",
                              "batch": 2, "draws": 1, "trained": "all"},
    "unified-logits": {"objective": "unified", "soft_tokens": "logits", "prediction_type": "v_prediction", "batch": 2,
                       "draws": 2, "trained": "xattn_kv", "temperature": 1.5, "lm_weight": 0.3, "snr_gamma": 5.0,
                       "read_timesteps": [0, 700], "read_snr_gamma": 4.0},
}


def trains(selection, layer, query, key, value):
    wanted = {"xattn_q": [query], "xattn_kv": [key, value], "xattn_qkv": [query, key, value]}
    return lambda name: selection == "all" or (layer in name and any(part in name for part in wanted[selection]))


class Models:
    def __init__(self, case):
        self.blip = BlipForConditionalGeneration.from_pretrained(BLIP, dtype=torch.float32).eval()
        self.text = CLIPTextModel.from_pretrained(PIPELINE / "text_encoder", dtype=torch.float32).eval()
        self.unet = diffusers.UNet2DConditionModel.from_pretrained(PIPELINE / "unet", torch_dtype=torch.float32).eval()
        self.vae = diffusers.AutoencoderKL.from_pretrained(PIPELINE / "vae", torch_dtype=torch.float32).eval()
        self.schedule = diffusers.DDPMScheduler.from_config(
            {**SCHEDULE, "prediction_type": case["prediction_type"], "clip_sample": case["clip_sample"]})
        self.begin, self.end = self.text.config.bos_token_id, self.text.config.eos_token_id
        for model in (self.blip, self.text, self.unet, self.vae):
            model.requires_grad_(False)
        for model, chosen in ((self.blip, trains(case["trained"], "crossattention", "query", "key", "value")),
                              (self.unet, trains(case["trained"], "attn2", "to_q", "to_k", "to_v"))):
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(chosen(name))

    def encode_soft(self, embeddings):
        """The text encoder with its token embeddings replaced."""
        (module,) = [m for n, m in self.text.named_modules() if n.endswith("token_embedding")]
        hook = module.register_forward_hook(lambda *_: embeddings)
        states = self.text(torch.full(embeddings.shape[:2], self.end)).last_hidden_state
        hook.remove()
        return states


def caption_loss(case, logits, labels, weights=None):
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none",
                           label_smoothing=case["label_smoothing"]).view(len(labels), -1)
    if weights is not None:
        loss = loss * weights[:, None]
    return loss.sum() / (labels[:, 1:] >= 0).sum()


def diffusion_loss(case, models, predicted, latents, noise, t):
    velocity = case["prediction_type"] == "v_prediction"
    target = models.schedule.get_velocity(latents, noise, t) if velocity else noise
    error = F.mse_loss(predicted, target, reduction="none").mean((1, 2, 3))
    if case["snr_gamma"]:
        alpha = models.schedule.alphas_cumprod[t]
        snr = alpha / (1 - alpha)
        error = error * snr.clamp(max=case["snr_gamma"]) / (snr + 1 if velocity else snr)
    return error.mean()


def latents_of(models, pixels, posterior_noise):
    posterior = models.vae.encode(pixels).latent_dist
    return (posterior.mean + posterior.std * posterior_noise) * models.vae.config.scaling_factor


def even(case, models, batch):
    latents = latents_of(models, batch["pixels"], batch["posterior_noise"])
    t, noise = batch["timesteps"], batch["noise"]
    noisy = models.schedule.add_noise(latents, noise, t)
    predicted = models.unet(noisy, t, models.text(batch["text_ids"]).last_hidden_state).sample
    loss_sd = diffusion_loss(case, models, predicted, latents, noise, t)
    weights = None
    if case["objective"] == "paper":
        original = diffusers.schedulers.scheduling_ddpm.randn_tensor
        diffusers.schedulers.scheduling_ddpm.randn_tensor = lambda *_, **__: batch["step_noise"]
        clean = models.schedule.step(predicted, t.item(), latents).prev_sample
        diffusers.schedulers.scheduling_ddpm.randn_tensor = original
    else:
        alpha = models.schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
        if case["prediction_type"] == "epsilon":
            clean = (noisy - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
        else:
            clean = alpha.sqrt() * noisy - (1 - alpha).sqrt() * predicted
        first, last = case["read_timesteps"]
        weights = ((t >= first) & (t <= last)).float()
        if case["read_snr_gamma"]:
            snr = (alpha / (1 - alpha)).flatten()
            weights = weights * snr.clamp(max=case["read_snr_gamma"]) / case["read_snr_gamma"]
    decoded = models.vae.decode(clean / models.vae.config.scaling_factor).sample
    if case["objective"] == "paper":
        pixels = F.interpolate(decoded, (BLIP_SIZE, BLIP_SIZE), mode="bilinear")
    else:
        pixels = F.interpolate(decoded / 2 + 0.5, (BLIP_SIZE, BLIP_SIZE), mode="bilinear", antialias=True)
        pixels = (pixels - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
    logits = models.blip(pixel_values=pixels, input_ids=batch["caption_ids"]).logits
    loss_lm = caption_loss(case, logits, batch["caption_labels"], weights)
    return loss_sd + case["lm_weight"] * loss_lm, loss_sd, loss_lm


def soft_text(case, models, logits, labels, reindex):
    logits = logits[:, PROMPT:] / case["temperature"]
    if case["soft_tokens"] == "probabilities":
        probabilities = torch.softmax(logits, -1)[..., reindex]
    else:
        probabilities = torch.softmax(logits[..., reindex], -1)
    one_hot = torch.eye(len(reindex))
    begin, end = one_hot[models.begin][None], one_hot[models.end][None]
    rows = []
    for row, row_labels in zip(probabilities, labels):
        if case["objective"] == "paper":
            rows.append(torch.cat([begin, row, end]))
        else:
            tokens = int((row_labels >= 0).sum()) - 1
            text = torch.cat([begin, row[:tokens], end])
            rows.append(torch.cat([text, end.expand(LENGTH - len(text), -1)]))
    return models.encode_soft(torch.stack(rows) @ models.text.get_input_embeddings().weight)


def odd(case, models, batch, reindex):
    logits = models.blip(pixel_values=batch["blip_pixels"], input_ids=batch["caption_ids"]).logits
    loss_lm = caption_loss(case, logits, batch["caption_labels"])
    text = soft_text(case, models, logits, batch["caption_labels"], reindex)
    latents = latents_of(models, batch["pixels"], batch["posterior_noise"])
    latents, text = latents.repeat_interleave(case["draws"], 0), text.repeat_interleave(case["draws"], 0)
    t, noise = batch["timesteps"], batch["noise"]
    predicted = models.unet(models.schedule.add_noise(latents, noise, t), t, text).sample
    loss_sd = diffusion_loss(case, models, predicted, latents, noise, t)
    return loss_lm + case["diffusion_weight"] * loss_sd, loss_sd, loss_lm


def draw(name, step, *shape):
    return torch.from_numpy(Random(11, Purpose.TEST, name, step).normal(*shape))


def make_batch(case, step):
    count = case["batch"] * (case["draws"] if step % 2 else 1)
    generator = torch.Generator().manual_seed(1000 + step)
    lengths = [9, 7][: case["batch"]]  # begin, prompt, caption, end
    ids = torch.randint(4, 118, (case["batch"], max(lengths)), generator=generator)
    text = torch.randint(0, 194, (case["batch"], LENGTH), generator=generator)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length - 1], ids[row, length:] = 118, 3, 0
        text[row, 0], text[row, length:] = 194, 195
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, : PROMPT + 1] = -100
    if case["objective"] == "paper":
        text = text[:, : lengths[0] + 1]
    return {
        "caption_ids": ids, "caption_labels": labels, "text_ids": text.contiguous(),
        "timesteps": torch.randint(0, 1000, (count,), generator=generator),
        "pixels": draw("pixels", step, case["batch"], 3, SIZE, SIZE).clamp(-1, 1),
        "blip_pixels": draw("blip pixels", step, case["batch"], 3, BLIP_SIZE, BLIP_SIZE),
        "posterior_noise": draw("posterior noise", step, case["batch"], 4, LATENT, LATENT),
        "noise": draw("noise", step, count, 4, LATENT, LATENT),
        "step_noise": draw("step noise", step, case["batch"], 4, LATENT, LATENT),
    }


def summary(gradient):
    values = gradient.flatten()
    places = torch.linspace(0, len(values) - 1, min(8, len(values))).long()
    return torch.cat([gradient.norm()[None], values[places]])


def keys(folder):
    (path,) = [p for p in folder.glob("*.safetensors") if p.name != "golden.safetensors"]
    with safe_open(path, "pt") as file:
        return set(file.keys())


def run(name, case, golden):
    models = Models(case)
    generator = torch.Generator().manual_seed(7)
    vocabulary = models.text.config.vocab_size
    reindex = torch.randint(4, 118, (vocabulary,), generator=generator)
    reindex[torch.rand(vocabulary, generator=generator) < 0.5] = UNKNOWN
    golden[f"{name}.map"] = reindex
    named = {}
    for prefix, model, stored in (("captioner", models.blip, keys(BLIP)), ("unet", models.unet, keys(PIPELINE / "unet"))):
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                named[f"{prefix}.{saved_name(key, stored)}"] = parameter
    optimizer = torch.optim.AdamW(named.values(), lr=1e-3)
    losses = []
    for step in range(10):
        batch = make_batch(case, step)
        for key in ("caption_ids", "caption_labels", "text_ids", "timesteps"):
            golden[f"{name}.{step}.{key}"] = batch[key]
        parts = odd(case, models, batch, reindex) if step % 2 else even(case, models, batch)
        (parts[0] / 2).backward()
        losses.append(torch.stack([part.detach() for part in parts]))
        if step % 2:
            for key, parameter in named.items():
                golden[f"{name}.{step // 2}.gradient.{key}"] = summary(parameter.grad)
            clipped = [p for k, p in named.items() if case["objective"] == "unified" or k.startswith("unet.")]
            torch.nn.utils.clip_grad_norm_(clipped, case["clip_norm"])
            optimizer.step()
            optimizer.zero_grad()
    golden[f"{name}.losses"] = torch.stack(losses)
    print(name, len(named), "parameters", [round(x, 4) for x in golden[f"{name}.losses"][:, 0].tolist()])


if __name__ == "__main__":
    OUTPUT.mkdir(exist_ok=True)
    cases = {name: {**DEFAULTS, **case} for name, case in CASES.items()}
    golden = {}
    for name, case in cases.items():
        run(name, case, golden)
    # In an "all" run the first and the last update's gradients are enough.
    golden = {k: v.contiguous() for k, v in golden.items()
              if not (k.startswith("unified-probabilities.") and ".gradient." in k and k.split(".")[1] not in "04")}
    save_file(golden, OUTPUT / "unified.safetensors")
    (OUTPUT / "unified.json").write_text(json.dumps({"schedule": SCHEDULE, "cases": cases}, indent=1) + "\n")
