"""Golden runs of diffusers' schedulers: python tools/reference/schedulers.py

Each case runs one scheduler on a 1 x 4 x 4 x 4 latent with a fixed function in the network's place, so that nothing but
the scheduler is tested. Writes tests/goldens/generate/schedulers.{json,safetensors}.
"""

import json
import math
import pathlib
import tempfile

import diffusers
import torch
from safetensors.torch import save_file

OUTPUT = pathlib.Path(__file__).parents[2] / "tests/goldens/generate"
CLASSES = {
    "pndm": diffusers.PNDMScheduler,
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler-a": diffusers.EulerAncestralDiscreteScheduler,
    "dpm++2m": diffusers.DPMSolverMultistepScheduler,
    "dpm++2m-karras": diffusers.DPMSolverMultistepScheduler,
    "dpm++2m-sde": diffusers.DPMSolverMultistepScheduler,
    "dpm++2m-sde-karras": diffusers.DPMSolverMultistepScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "lcm": diffusers.LCMScheduler,
}
# What the variants of a class set.
SDE = {"algorithm_type": "sde-dpmsolver++"}
SETS = {"dpm++2m-karras": {"use_karras_sigmas": True}, "dpm++2m-sde": SDE,
        "dpm++2m-sde-karras": {**SDE, "use_karras_sigmas": True}}
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
# What Stable Diffusion 1.4 and 2.1 ship.
SD14 = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0", "num_train_timesteps": 1000,
        "set_alpha_to_one": False, "skip_prk_steps": True, "trained_betas": None, "clip_sample": False, **SD}
SD21 = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "num_train_timesteps": 1000,
        "set_alpha_to_one": False, "skip_prk_steps": True, "trained_betas": None, "clip_sample": False,
        "prediction_type": "v_prediction", **SD}
ZERO_SNR = {**SD21, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
WORLD = {"beta_schedule": "linear", "prediction_type": "v_prediction", "clip_sample": False}


def cases():
    """(flag, configuration, steps); an empty flag means the configuration's own class."""
    for flag in CLASSES:
        yield flag, SD14, 12
        yield flag, SD21, 7
        yield flag, WORLD, 5
        yield flag, {**SD, "timestep_spacing": "linspace"}, 10
        yield flag, {**SD, "timestep_spacing": "leading", "clip_sample": False}, 30
        yield flag, {**SD, "timestep_spacing": "trailing", "clip_sample": False}, 7
        yield flag, {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "lambda_min_clipped": -5.1}, 9
        yield flag, {"trained_betas": [0.001 * (i + 1) for i in range(100)], "num_train_timesteps": 100}, 6
    for flag in CLASSES:
        if flag != "pndm":
            yield flag, ZERO_SNR, 8
    for flag in ("ddim", "euler", "dpm++2m", "dpm++2m-sde", "unipc", "ddpm", "lcm"):
        yield flag, {**SD, "prediction_type": "sample", "clip_sample": False}, 6
    yield "pndm", {"set_alpha_to_one": True}, 5  # with Runge-Kutta steps
    yield "pndm", {**SD, "prediction_type": "v_prediction"}, 15
    yield "pndm", {**SD14, "set_alpha_to_one": True}, 1
    yield "pndm", SD14, 2
    yield "pndm", SD14, 3
    yield "ddim", {**SD, "clip_sample": True, "clip_sample_range": 0.5, "set_alpha_to_one": False}, 6
    yield "ddim", SD, 1
    yield "euler", {**SD, "use_karras_sigmas": True}, 8
    yield "euler", {**SD, "final_sigmas_type": "sigma_min"}, 5
    yield "euler", SD, 1
    yield "dpm++2m", {**SD, "solver_order": 1}, 6
    yield "dpm++2m", {**SD, "lower_order_final": False, "final_sigmas_type": "sigma_min"}, 6
    yield "dpm++2m", {**SD, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, 20
    yield "dpm++2m", {**SD, "final_sigmas_type": "sigma_min"}, 20
    yield "dpm++2m", {**SD, "use_karras_sigmas": True}, 20
    yield "dpm++2m", SD14, 1
    yield "dpm++2m-karras", {"beta_schedule": "squaredcos_cap_v2"}, 10
    yield "dpm++2m-sde", {**SD, "solver_order": 1}, 6
    yield "dpm++2m-sde", {**SD, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, 20
    yield "dpm++2m-sde", SD14, 1
    yield "", {"_class_name": "DPMSolverMultistepScheduler", **SD, **SDE}, 6
    for order in (1, 2, 3):
        for predict_x0 in (True, False):
            yield "unipc", {**SD, "solver_order": order, "predict_x0": predict_x0,
                            "final_sigmas_type": "sigma_min"}, 7
        for kind in ("bh1", "bh2", "midpoint"):
            yield "unipc", {**SD21, "solver_order": order, "solver_type": kind, "final_sigmas_type": "sigma_min"}, 20
        yield "unipc", {**SD, "solver_order": order, "lower_order_final": False, "final_sigmas_type": "sigma_min"}, 6
        yield "unipc", {**SD, "solver_order": order, "use_karras_sigmas": True}, 8
    yield "unipc", {**SD, "solver_order": 3, "disable_corrector": [0, 1, 4]}, 9
    yield "unipc", {**SD, "use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, 8
    yield "unipc", {**SD, "predict_x0": False, "prediction_type": "sample", "final_sigmas_type": "sigma_min"}, 8
    yield "unipc", SD14, 1
    for kind in ("fixed_small", "fixed_small_log", "fixed_large"):
        yield "ddpm", {**SD, "variance_type": kind, "clip_sample": False}, 6
        yield "ddpm", {"variance_type": kind, "clip_sample_range": 0.5}, 6
    yield "ddpm", SD, 1
    yield "lcm", {}, 4
    yield "lcm", {"prediction_type": "v_prediction", "steps_offset": 1}, 3
    yield "lcm", {**SD, "original_inference_steps": 20, "timestep_scaling": 0.001}, 8
    yield "lcm", {**SD, "clip_sample": True, "clip_sample_range": 0.5}, 2
    yield "lcm", SD14, 1
    yield "lcm", SD14, 50
    for cls in dict.fromkeys(CLASSES.values()):  # as save_pretrained writes them, with -Infinity where there is one
        with tempfile.TemporaryDirectory() as folder:
            cls(**{**SD, **({"clip_sample": False} if cls in (diffusers.DDIMScheduler, diffusers.DDPMScheduler) else {})}).save_pretrained(folder)
            yield "", json.loads((pathlib.Path(folder) / "scheduler_config.json").read_text()), 5


def network(x, t):
    return 0.8 * torch.tanh(x) + 0.1 * (t / 1000)


def run(flag, config, steps, noise):
    cls = CLASSES[flag] if flag else getattr(diffusers, config["_class_name"])
    scheduler = cls.from_config(config, **SETS.get(flag, {}))
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # or the first step is skipped where two timesteps round to the same number
    sample = noise[0] * scheduler.init_noise_sigma
    trajectory = [sample]
    draws = iter(noise[1:])
    module = __import__(cls.__module__, fromlist=["randn_tensor"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = lambda *args, **kwargs: next(draws)
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(sample, t), float(t))
        sample = scheduler.step(output, t, sample, return_dict=False)[0]
        trajectory.append(sample)
    sigmas = scheduler.sigmas if hasattr(scheduler, "sigmas") else torch.zeros(0)
    return {
        "timesteps": scheduler.timesteps.to(torch.float64),
        "sigmas": sigmas.float(),
        "init_noise_sigma": torch.as_tensor(float(scheduler.init_noise_sigma), dtype=torch.float64),
        # every third sample and the last keep the file small
        "samples": torch.cat([*trajectory[:-1:3], trajectory[-1]]),
    }


def main():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 1, 4, 4, 4, generator=generator)
    tensors, described = {"noise": noise}, []
    for index, (flag, config, steps) in enumerate(cases()):
        for key, value in run(flag, config, steps, noise).items():
            tensors[f"{index}.{key}"] = value.contiguous()
        readable = {key: (-1e300 if value == -math.inf else value) for key, value in config.items()}
        described.append({"scheduler": flag, "steps": steps, "config": readable})

    # The forward process, for training.
    x0, t = torch.randn(3, 2, 2, 2, generator=generator), torch.tensor([0, 500, 999])
    for name, config in (("scaled", SD), ("zero_snr", ZERO_SNR)):
        scheduler = diffusers.DDIMScheduler.from_config(config)
        tensors[f"{name}.alphas_cumprod"] = scheduler.alphas_cumprod
        tensors[f"{name}.noisy"] = scheduler.add_noise(x0, noise[:3, 0, :2, :2, :2], t)
        tensors[f"{name}.velocity"] = scheduler.get_velocity(x0, noise[:3, 0, :2, :2, :2], t)
    tensors["x0"] = x0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUTPUT / "schedulers.safetensors")
    lines = ",\n".join(json.dumps(case) for case in described)
    (OUTPUT / "schedulers.json").write_text(f'{{"scaled": {json.dumps(SD)},\n"zero_snr": {json.dumps(ZERO_SNR)},\n'
                                            f'"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
