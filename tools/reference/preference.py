"""Golden runs of learning from preferences and rewards: python tools/reference/preference.py

DPO (https://arxiv.org/abs/2305.18290), cDPO, IPO (https://arxiv.org/abs/2310.12036), GRPO (https://arxiv.org/abs/
2402.03300) and Dr. GRPO (https://arxiv.org/abs/2503.20783) for captions; Diffusion-DPO (https://arxiv.org/abs/
2311.12908) for pictures; on the tiny models of unified.py. The reference is the frozen start. Ten micro-steps, an AdamW
update after every second; the gradient is that of the mean of the two losses.

For captions the losses, log-probabilities and advantages come from TRL's code: add_fused_lm_head,
DPOTrainer._compute_loss, GRPOTrainer._generate_and_score_completions and GRPOTrainer._compute_loss. Trainers are made
without __init__, which wants a language model, a tokenizer and a data set; captions are given by a rollout_func and
rewards by a reward function. At every micro-step the loss and its gradients are compared with those that autograd finds
for the formula below, written plainly over the softmax of BLIP's logits.

With logp the log-probability of a learned token (its label is not -100) and L the sum of logp over a caption:
    d(caption) = L of the policy - L of the reference,   h = beta (d(chosen) - d(rejected))
    dpo     mean over pairs of -log sigmoid(h)
    cdpo    mean over pairs of -(1 - s) log sigmoid(h) - s log sigmoid(-h), s = label_smoothing. TRL 1.16 has lost it;
            its "aot" loss of a single pair is the same, and is called pair by pair.
    ipo     mean over pairs of (d(chosen) / n(chosen) - d(rejected) / n(rejected) - 1 / (2 beta))^2, n learned tokens

GRPO, of G captions of an image with rewards r:
    A = r - mean(r), divided by (std(r) + 1e-4) where scale_rewards is "group"; std has G - 1 in its denominator
    ratio = exp(logp - old), old from before the first of the two updates that learn from these captions
    kl = exp(ref - logp) - (ref - logp) - 1, as the paper has it; TRL's option to correct its bias is off
    token = -min(ratio A, clamp(ratio, 1 - epsilon, 1 + epsilon_high) A) + beta kl
    grpo    mean over captions of the mean of token over a caption's learned tokens
    bnpo    mean of token over all learned tokens of the micro-step
    dr_grpo sum of token over all learned tokens / (captions * max_completion_length)
A token is clipped low where ratio < 1 - epsilon and A < 0, high where ratio > 1 + epsilon_high and A > 0; shares are of
the micro-step's learned tokens, as is the mean of kl.

Diffusion-DPO, a PyTorch program of its own after the paper's formula. Winner and loser share timestep, noise and text;
e(latents) is the mean over a picture's latents of the squared error against the noise (epsilon) or the velocity (v):
    h = -0.5 beta ((e(winner) - e_ref(winner)) - (e(loser) - e_ref(loser))),   loss = mean over pairs of -log sigmoid(h)
The mean over a picture and the factor 0.5 are those of the paper's public code; beta has absorbed the paper's T and
omega.

Writes tests/goldens/train/preference.{json,safetensors}. Micro-steps are N = 0 ... 9, updates U = 0 ... 4.
    pairs.chosen_ids, .chosen_labels, .rejected_ids, .rejected_labels    [10, B, T] what DPO's micro-steps read
    groups.ids, .labels [6, B G, T], .rewards [6, B, G]                  what GRPO's read; which: "groups" in the JSON
    pictures.text_ids [10, B, 16], .timesteps [10, B]                    what Diffusion-DPO's read
    CASE.losses [10, K]                     parts of each micro-step's loss, named under "parts" in the JSON
    CASE.U.gradient.MODEL.KEY               as in unified.py
    CASE.logps [10, 4, B]                   DPO: L of chosen and rejected by the policy, then by the reference
    CASE.advantages [6, B, G], CASE.old [6, B G, T - 1]     GRPO: A; old where labels[:, 1:] are learned, 0 elsewhere
    CASE.errors [10, 4, B]                  Diffusion-DPO: e of winner and loser, then e_ref of them
Not stored are draw(WHAT, INDEX, ...) of unified.py: "blip pixels" of N for DPO and of "groups"[N] for GRPO (an image
for all of its captions); "winner pixels", "winner posterior noise", "loser pixels", "loser posterior noise" and "noise"
of N for Diffusion-DPO.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import json
from collections import defaultdict
from types import SimpleNamespace

import accelerate
import torch
import torch.nn.functional as F
from models import saved_name
from safetensors.torch import save_file
from trl import DPOTrainer, GRPOTrainer
from trl.trainer.utils import add_fused_lm_head
from unified import (BLIP, BLIP_SIZE, LATENT, LENGTH, OUTPUT, PIPELINE, PROMPT, SCHEDULE, SIZE, Models, draw, keys,
                     latents_of, summary)

STEPS, PAIRS, IMAGES, GROUP, PICTURES = 10, 3, 2, 4, 2
GROUPS = [0, 1, 0, 1, 2, 3, 2, 3, 4, 5]  # of each micro-step: two updates learn from the same captions
PARTS = {
    "dpo": ["loss", "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"],
    "grpo": ["loss", "kl", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"],
    "diffusion_dpo": ["loss", "rewards/margins", "rewards/accuracies"],
}
DEFAULTS = {
    "dpo": {"loss_type": "sigmoid", "beta": 0.1, "label_smoothing": 0.0, "trained": "xattn_q", "learning_rate": 1e-2},
    "grpo": {"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.2,
             "max_completion_length": 12, "trained": "xattn_q", "learning_rate": 3e-2},
    "diffusion_dpo": {"prediction_type": "epsilon", "beta": 500.0, "trained": "xattn_q", "learning_rate": 1e-1},
}
CASES = {
    "dpo": {"method": "dpo"},
    "dpo-qkv": {"method": "dpo", "trained": "xattn_qkv", "beta": 0.3},
    "cdpo": {"method": "dpo", "loss_type": "cdpo", "beta": 0.5, "label_smoothing": 0.1},
    "ipo": {"method": "dpo", "loss_type": "ipo", "beta": 0.5},
    "grpo": {"method": "grpo"},
    "grpo-kl": {"method": "grpo", "beta": 0.04, "epsilon_high": 0.28},
    "dr-grpo": {"method": "grpo", "loss_type": "dr_grpo", "scale_rewards": "none"},
    "dr-grpo-kl": {"method": "grpo", "loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.04},
    "bnpo": {"method": "grpo", "loss_type": "bnpo", "beta": 0.04, "learning_rate": 2e-2},
    "diffusion-epsilon": {"method": "diffusion_dpo"},
    "diffusion-velocity": {"method": "diffusion_dpo", "prediction_type": "v_prediction"},
}


class Captioner(torch.nn.Module):
    """BLIP as TRL calls a language model; the pictures of the rows are set beforehand."""
    is_gradient_checkpointing = False

    def __init__(self, blip):
        super().__init__()
        self.blip, self.config, self.pixels = blip, blip.config, None
        add_fused_lm_head(self, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        self.eval()

    @property
    def base_model(self):
        return self.states

    def states(self, input_ids, attention_mask, use_cache):
        """What the last linear layer reads. Padding comes last, so that no learned token attends to it."""
        del attention_mask, use_cache
        pictures = self.blip.vision_model(self.pixels).last_hidden_state
        decoder = self.blip.text_decoder
        states = decoder.bert(input_ids, encoder_hidden_states=pictures, is_decoder=True, use_cache=False)
        return SimpleNamespace(last_hidden_state=decoder.cls.predictions.transform(states.last_hidden_state))

    def get_output_embeddings(self):
        return self.blip.text_decoder.cls.predictions.decoder


def trainer_of(kind, policy, reference, **fields):
    trainer = object.__new__(kind)
    trainer.model, trainer.ref_model = policy, reference
    trainer.accelerator = accelerate.Accelerator(cpu=True)
    trainer.state = SimpleNamespace(global_step=0, num_input_tokens_seen=0)
    trainer.aux_loss_enabled = False
    trainer._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    for name, value in fields.items():
        setattr(trainer, name, value)
    return trainer


def metric(trainer, name):
    return torch.tensor(trainer._metrics["eval"][name][-1])


def captions(generator, lengths):
    """Random ids and labels of rows of begin, prompt, caption and end; the last row is cut before its end."""
    ids = torch.randint(4, 118, (len(lengths), max(lengths)), generator=generator)
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length:] = 118, 0
        if row + 1 < len(lengths):
            ids[row, length - 1] = 3
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, : PROMPT + 1] = -100
    return ids, labels


def log_probabilities(blip, pixels, ids, labels):
    """[rows, T - 1], 0 where nothing is learned: plainly."""
    logits = torch.log_softmax(blip(pixel_values=pixels, input_ids=ids).logits[:, :-1], -1)
    return logits.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0] * (labels[:, 1:] >= 0)


def pairs():
    generator, rows = torch.Generator().manual_seed(3000), defaultdict(list)
    for _ in range(STEPS):
        ids, labels = captions(generator, [9, 7, 6, 8, 10, 7])
        for name, part in (("chosen", slice(0, PAIRS)), ("rejected", slice(PAIRS, None))):
            rows[f"pairs.{name}_ids"].append(ids[part])
            rows[f"pairs.{name}_labels"].append(labels[part])
    return {key: torch.stack(value) for key, value in rows.items()}


def groups():
    generator, rows = torch.Generator().manual_seed(4000), defaultdict(list)
    for _ in range(max(GROUPS) + 1):
        ids, labels = captions(generator, [6, 9, 8, 5, 7, 10, 8, 6])
        rows["groups.ids"].append(ids)
        rows["groups.labels"].append(labels)
        rows["groups.rewards"].append(torch.rand(IMAGES, GROUP, generator=generator))
    rows["groups.rewards"][5][1] = 0.5  # equal rewards teach nothing
    return {key: torch.stack(value) for key, value in rows.items()}


def pictures():
    generator = torch.Generator().manual_seed(5000)
    text = torch.randint(0, 194, (STEPS, PICTURES, LENGTH), generator=generator)
    text[..., 0] = 194
    for row, length in enumerate([9, 7]):
        text[:, row, length:] = 195
    return {"pictures.text_ids": text,
            "pictures.timesteps": torch.randint(0, 1000, (STEPS, PICTURES), generator=generator)}


def plain_dpo(case, logps, tokens):
    chosen, rejected, chosen_before, rejected_before = logps
    chosen, rejected = chosen - chosen_before, rejected - rejected_before
    if case["loss_type"] == "ipo":
        return (chosen / tokens[0] - rejected / tokens[1] - 1 / (2 * case["beta"])).square().mean()
    h, s = case["beta"] * (chosen - rejected), case["label_smoothing"]
    return (-(1 - s) * F.logsigmoid(h) - s * F.logsigmoid(-h)).mean()


class Dpo:
    def __init__(self, case, models, start, data, golden):
        self.case, self.data, self.models, self.start = case, data, models, start
        self.policy, self.reference = Captioner(models.blip), Captioner(start.blip)
        self.trainer = trainer_of(
            DPOTrainer, self.policy, self.reference, beta=case["beta"], label_smoothing=case["label_smoothing"],
            loss_types=["aot" if case["loss_type"] == "cdpo" else case["loss_type"]], loss_weights=[1.0], ld_alpha=None,
            f_divergence_type="reverse_kl", use_weighting=False, precompute_ref_logps=False, _total_train_tokens=0,
            args=SimpleNamespace(gradient_checkpointing_kwargs=None))
        self.logps = golden["logps"] = torch.zeros(STEPS, 4, PAIRS)

    def batch(self, step):
        images = draw("blip pixels", step, PAIRS, 3, BLIP_SIZE, BLIP_SIZE)
        both = [torch.cat([self.data[f"pairs.{name}_{what}"][step] for name in ("chosen", "rejected")])
                for what in ("ids", "labels")]
        return torch.cat([images, images]), *both

    def loss(self, step):
        images, ids, labels = self.batch(step)
        parts = []
        # Pair by pair for cDPO, all pairs at once otherwise.
        rows = [[i, i + PAIRS] for i in range(PAIRS)] if self.case["loss_type"] == "cdpo" else [list(range(2 * PAIRS))]
        for some in rows:
            self.policy.pixels = self.reference.pixels = images[some]
            loss = self.trainer._compute_loss(
                self.policy, {"input_ids": ids[some], "attention_mask": (ids[some] != 0).long(),
                              "completion_mask": (labels[some] >= 0).long()}, False)
            parts.append(torch.stack([loss, *(metric(self.trainer, name) for name in PARTS["dpo"][1:])]))
        return torch.stack(parts).mean(0)

    def plain(self, step):
        images, ids, labels = self.batch(step)
        with torch.no_grad():
            before = log_probabilities(self.start.blip, images, ids, labels).sum(1).view(2, PAIRS)
        logps = torch.cat([log_probabilities(self.models.blip, images, ids, labels).sum(1).view(2, PAIRS), before])
        self.logps[step] = logps.detach()
        return plain_dpo(self.case, logps, (labels >= 0).sum(1).view(2, PAIRS))


def plain_grpo(case, logps, old, reference, advantages, mask):
    ratio, a = torch.exp(logps - old), advantages[:, None]
    token = -torch.min(ratio * a, ratio.clamp(1 - case["epsilon"], 1 + case["epsilon_high"]) * a)
    if case["beta"]:
        kl = torch.exp(reference - logps) - (reference - logps) - 1
        token = token + case["beta"] * kl
    token = token * mask
    if case["loss_type"] == "grpo":
        return (token.sum(1) / mask.sum(1)).mean()
    return token.sum() / (mask.sum() if case["loss_type"] == "bnpo" else len(mask) * case["max_completion_length"])


class Grpo:
    def __init__(self, case, models, start, data, golden):
        self.case, self.data, self.models, self.start = case, data, models, start
        self.policy, self.reference = Captioner(models.blip), Captioner(start.blip)
        rows = IMAGES * GROUP
        # An update has two micro-steps; two updates learn from captions that are collected once.
        args = SimpleNamespace(gradient_accumulation_steps=2, steps_per_generation=2, per_device_eval_batch_size=rows,
                               delta=None, use_bias_correction_kl=False, report_to=[],
                               gradient_checkpointing_kwargs=None)

        def given(**_):
            return self.rewards.flatten().tolist()

        self.trainer = trainer_of(
            GRPOTrainer, self.policy, self.reference, args=args, beta=case["beta"], epsilon_low=case["epsilon"],
            epsilon_high=case["epsilon_high"], loss_type=case["loss_type"], scale_rewards=case["scale_rewards"],
            max_completion_length=case["max_completion_length"], importance_sampling_level="token", num_iterations=2,
            num_generations_eval=GROUP, multi_objective_aggregation="sum_then_normalize", top_entropy_quantile=1.0,
            off_policy_mask_threshold=None, _entropy_bonus_enabled=False, use_vllm=False,
            mask_truncated_completions=False, environment_factories=None, environments=None, tools=None,
            pad_to_multiple_of=None, log_multimodal=False, eos_token_ids=[3],
            _tokenizer=SimpleNamespace(pad_token_id=0),
            processing_class=SimpleNamespace(batch_decode=lambda ids, **_: [""] * len(ids)),
            rollout_func=lambda *_: self.rollout, reward_funcs=[given], reward_func_names=["given"],
            reward_processing_classes=[None], reward_weights=torch.ones(1), _pending_extra_logs={}, _pending_metrics={},
            _logs={"prompt": [], "completion": [], "advantages": [], "rewards": {"given": []}})
        self.advantages = golden["advantages"] = torch.zeros(max(GROUPS) + 1, IMAGES, GROUP)
        self.old = golden["old"] = torch.zeros(max(GROUPS) + 1, rows, data["groups.ids"].shape[-1] - 1)
        self.collected = {}

    def batch(self, step):
        ids, labels = self.data["groups.ids"][GROUPS[step]], self.data["groups.labels"][GROUPS[step]]
        images = draw("blip pixels", GROUPS[step], IMAGES, 3, BLIP_SIZE, BLIP_SIZE).repeat_interleave(GROUP, 0)
        return images, ids, labels

    def collect(self, step):
        """TRL's own advantages, old and reference log-probabilities of captions that are given."""
        images, ids, labels = self.batch(step)
        self.policy.pixels = self.reference.pixels = images
        self.rewards = self.data["groups.rewards"][GROUPS[step]]
        self.rollout = {"prompt_ids": ids[:, : PROMPT + 1].tolist(), "logprobs": None,
                        "completion_ids": [row[chosen].tolist() for row, chosen in zip(ids, labels >= 0)]}
        inputs = self.trainer._generate_and_score_completions([{"prompt": ""}] * len(ids))
        assert torch.equal(torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1), ids)
        self.advantages[GROUPS[step]] = inputs["advantages"].view(IMAGES, GROUP)
        self.old[GROUPS[step], :, PROMPT:] = inputs["old_per_token_logps"]
        self.collected[GROUPS[step]] = inputs

    def loss(self, step):
        if step in (0, 4, 8):  # before the update that first learns from them, both micro-steps' captions
            self.collect(step)
            self.collect(step + 1)
        self.policy.pixels, *_ = self.batch(step)
        loss = self.trainer._compute_loss(self.policy, self.collected[GROUPS[step]])
        kl = metric(self.trainer, "kl") if self.case["beta"] else torch.zeros(())
        return torch.stack([loss, kl, *(metric(self.trainer, name) for name in PARTS["grpo"][2:])])

    def plain(self, step):
        images, ids, labels = self.batch(step)
        rewards = self.data["groups.rewards"][GROUPS[step]]
        advantages = rewards - rewards.mean(1, keepdim=True)
        if self.case["scale_rewards"] == "group":
            advantages = advantages / (rewards.std(1, keepdim=True) + 1e-4)
        torch.testing.assert_close(advantages, self.advantages[GROUPS[step]])
        mask, old = labels[:, 1:] >= 0, self.old[GROUPS[step]]
        logps = log_probabilities(self.models.blip, images, ids, labels)
        with torch.no_grad():
            before = log_probabilities(self.start.blip, images, ids, labels)
            # Another program's rounding must not change what is clipped.
            ratio = torch.exp(logps - old)[mask]
            for bound in (1 - self.case["epsilon"], 1 + self.case["epsilon_high"]):
                assert (ratio - bound).abs().min() > 1e-4, (ratio - bound).abs().min()
        return plain_grpo(self.case, logps, old, before, advantages.flatten(), mask)


class DiffusionDpo:
    def __init__(self, case, models, start, data, golden):
        self.case, self.data, self.models, self.start = case, data, models, start
        self.errors = golden["errors"] = torch.zeros(STEPS, 4, PICTURES)

    def h(self, step):
        latents = {side: latents_of(self.models, draw(f"{side} pixels", step, PICTURES, 3, SIZE, SIZE).clamp(-1, 1),
                                    draw(f"{side} posterior noise", step, PICTURES, 4, LATENT, LATENT))
                   for side in ("winner", "loser")}
        noise, t = draw("noise", step, PICTURES, 4, LATENT, LATENT), self.data["pictures.timesteps"][step]
        text = self.models.text(self.data["pictures.text_ids"][step]).last_hidden_state
        schedule = self.models.schedule

        def error(unet, z):
            predicted = unet(schedule.add_noise(z, noise, t), t, text).sample
            target = schedule.get_velocity(z, noise, t) if self.case["prediction_type"] == "v_prediction" else noise
            return (predicted - target).square().mean((1, 2, 3))

        winner, loser = (error(self.models.unet, latents[side]) for side in ("winner", "loser"))
        with torch.no_grad():
            winner_before, loser_before = (error(self.start.unet, latents[side]) for side in ("winner", "loser"))
        self.errors[step] = torch.stack([winner, loser, winner_before, loser_before]).detach()
        return -0.5 * self.case["beta"] * ((winner - winner_before) - (loser - loser_before))

    def loss(self, step):
        h = self.h(step)
        return torch.stack([-F.logsigmoid(h).mean(), h.mean(), (h > 0).float().mean()])

    plain = None


METHODS = {"dpo": Dpo, "grpo": Grpo, "diffusion_dpo": DiffusionDpo}


def gradients(loss, parameters):
    return torch.autograd.grad(loss, list(parameters), retain_graph=True)


def run(name, case, data, golden):
    models = Models({"prediction_type": "epsilon", "clip_sample": False, **case})
    start = copy.deepcopy(models)
    model, prefix, folder = ((models.unet, "unet", PIPELINE / "unet") if case["method"] == "diffusion_dpo" else
                             (models.blip, "captioner", BLIP))
    stored = keys(folder)
    named = {f"{prefix}.{saved_name(key, stored)}": parameter for key, parameter in model.named_parameters()
             if parameter.requires_grad}
    results, losses = {}, []
    method = METHODS[case["method"]](case, models, start, data, results)
    optimizer = torch.optim.AdamW(named.values(), lr=case["learning_rate"])
    for step in range(STEPS):
        parts = method.loss(step)
        if method.plain:
            plain = method.plain(step)
            torch.testing.assert_close(parts[0], plain, rtol=1e-5, atol=1e-6)
            truth, got = gradients(plain, named.values()), gradients(parts[0], named.values())
            whole = sum(gradient.norm() ** 2 for gradient in truth) ** 0.5
            for a, b in zip(truth, got):
                assert (a - b).norm() <= 1e-4 * a.norm() + 1e-6 * whole, (name, step, a.norm(), (a - b).norm())
        (parts[0] / 2).backward()
        losses.append(parts.detach())
        if step % 2:
            for key, parameter in named.items():
                golden[f"{name}.{step // 2}.gradient.{key}"] = summary(parameter.grad)
            torch.nn.utils.clip_grad_norm_(named.values(), case["clip_norm"])
            optimizer.step()
            optimizer.zero_grad()
    golden[f"{name}.losses"] = torch.stack(losses)
    golden.update({f"{name}.{key}": value for key, value in results.items()})
    print(name, len(named), "parameters")
    for row in golden[f"{name}.losses"].tolist():
        print("   ", [round(x, 5) for x in row])


if __name__ == "__main__":
    cases = {name: {"clip_norm": 0.1, **DEFAULTS[case["method"]], **case} for name, case in CASES.items()}
    data = {**pairs(), **groups(), **pictures()}
    golden = dict(data)
    for name, case in cases.items():
        run(name, case, data, golden)
    save_file({k: v.contiguous() for k, v in golden.items()}, OUTPUT / "preference.safetensors")
    (OUTPUT / "preference.json").write_text(
        json.dumps({"schedule": SCHEDULE, "groups": GROUPS, "parts": PARTS, "cases": cases}, indent=1) + "\n")
