"""Golden values of Karlo, diffusers' UnCLIPPipeline: python tools/reference/karlo.py [full-size FOLDER]

    tests/goldens/models/karlo-*        its models alone, as tools/reference/models.py describes
    tests/goldens/models/karlo.json     the published configuration's parameters; configurations of full width
    tests/goldens/models/karlo_full_width.safetensors       what models of full width with few layers give
    tests/goldens/generate/karlo        a tiny random pipeline
    tests/goldens/generate/karlo-variations                 the same decoder behind an image encoder
    tests/goldens/generate/karlo_runs.{json,safetensors}    what they draw, and every step of their schedulers
Initial noise and the noise of all steps come from readback's streams (streams.py), so that seeds are compared too.
With `full-size` nothing of this: a repository of the published configuration with random weights in bfloat16 (6.9 GB,
one part in memory at a time), whose tokenizer is the tiny pipeline's.
"""

import hashlib
import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from diffusers import PriorTransformer, UnCLIPPipeline, UnCLIPScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.pipelines.deprecated.unclip import pipeline_unclip, pipeline_unclip_image_variation
from diffusers.pipelines.deprecated.unclip.pipeline_unclip_image_variation import UnCLIPImageVariationPipeline
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.schedulers import scheduling_unclip
from hashed import fill_hashed, hashed
from models import GOLDENS, draw, randomise, write
from PIL import Image
from safetensors.torch import save_file
from stable_diffusion_pipeline import PROMPTS, tokenizer
from streams import Purpose, Random
from transformers import (CLIPImageProcessor, CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig,
                          CLIPVisionModelWithProjection)

OUTPUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/generate"
RESNETS = dict(down="ResnetDownsampleBlock2D", up="ResnetUpsampleBlock2D")
ATTENTION = dict(down="SimpleCrossAttnDownBlock2D", up="SimpleCrossAttnUpBlock2D")


def prior_model(**options):
    return PriorTransformer(num_attention_heads=2, attention_head_dim=6, num_layers=2, **options)


def decoder_model(levels, **options):
    """`levels`: the channels of each, with attention on all but the first."""
    attentions = [RESNETS] + [ATTENTION] * (len(levels) - 1)
    return UNet2DConditionModel(
        block_out_channels=levels, down_block_types=[kind["down"] for kind in attentions],
        up_block_types=[kind["up"] for kind in reversed(attentions)], mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        in_channels=3, out_channels=6, class_embed_type="identity", attention_head_dim=4,
        resnet_time_scale_shift="scale_shift", norm_num_groups=2, **options)


def super_resolution_model(levels, **options):
    return UNet2DModel(block_out_channels=levels, down_block_types=[RESNETS["down"]] * len(levels),
                       up_block_types=[RESNETS["up"]] * len(levels), in_channels=6, out_channels=3,
                       add_attention=False, norm_num_groups=2, **options)


def mask_of(lengths, width):
    return torch.arange(width)[None] < torch.tensor(lengths)[:, None]


def randomised_unet(model, seed):
    """With biases so large that none can be missing unnoticed in half precision, small as these networks are."""
    randomise(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.mul_(4)
    return model


def models():
    """Losses: mean squared differences to input.target; the prior's of the denormalised embedding, the projection's of
    its second output, with the mean square of its first added."""
    prior = randomise(prior_model(embedding_dim=10, num_embeddings=7), 300)
    inputs = dict(sample=draw(301, 3, 10), timestep=torch.tensor([0, 17, 981]), text_embeds=draw(302, 3, 10),
                  text_states=draw(303, 3, 7, 10), tokens=mask_of([7, 4, 2], 7), target=draw(304, 3, 10))
    predict = lambda: prior(inputs["sample"], inputs["timestep"], inputs["text_embeds"], inputs["text_states"],
                            inputs["tokens"]).predicted_image_embedding
    write("karlo-prior", prior, inputs,
          dict(embeds=predict(), denormalised=prior.post_process_latents(predict())),
          lambda: F.mse_loss(prior.post_process_latents(predict()), inputs["target"]))

    projection = randomise(UnCLIPTextProjModel(clip_extra_context_tokens=3, clip_embeddings_dim=10, time_embed_dim=16,
                                               cross_attention_dim=14), 310)
    inputs = dict(image_embeds=draw(311, 2, 10), text_embeds=draw(312, 4, 10), text_states=draw(313, 4, 7, 10),
                  target=draw(314, 4, 16))
    project = lambda: projection(image_embeddings=inputs["image_embeds"], prompt_embeds=inputs["text_embeds"],
                                 text_encoder_hidden_states=inputs["text_states"], do_classifier_free_guidance=True)
    states, time = project()
    write("karlo-text-projection", projection, inputs, dict(states=states, time=time),
          lambda: F.mse_loss(project()[1], inputs["target"]) + project()[0].square().mean())

    decoder = randomised_unet(decoder_model((4, 8, 12), sample_size=8, layers_per_block=1, cross_attention_dim=10),
                              320)
    inputs = dict(sample=draw(321, 2, 3, 8, 12), timestep=torch.tensor([17, 981]), states=draw(322, 2, 9, 10),
                  tokens=mask_of([9, 5], 9), time=draw(323, 2, 16), target=draw(324, 2, 6, 8, 12))
    decode = lambda: decoder(inputs["sample"], inputs["timestep"], inputs["states"], class_labels=inputs["time"],
                             attention_mask=inputs["tokens"]).sample
    write("karlo-decoder", decoder, inputs, dict(sample=decode()), lambda: F.mse_loss(decode(), inputs["target"]))

    for name, shift, seed in (("karlo-super-resolution", "default", 330),
                              ("karlo-super-resolution-scale-shift", "scale_shift", 340)):
        upscaler = randomised_unet(super_resolution_model((4, 8), sample_size=8, layers_per_block=2,
                                                          resnet_time_scale_shift=shift), seed)
        inputs = dict(sample=draw(seed + 1, 2, 6, 8, 12), timestep=torch.tensor([17, 981]),
                      target=draw(seed + 2, 2, 3, 8, 12))
        upscale = lambda: upscaler(inputs["sample"], inputs["timestep"]).sample
        write(name, upscaler, inputs, dict(sample=upscale()), lambda: F.mse_loss(upscale(), inputs["target"]))


# scripts/convert_kakao_brain_unclip_to_diffusers.py; what it leaves out is the class's default.
DECODER = dict(
    sample_size=64, layers_per_block=3, down_block_types=[RESNETS["down"]] + [ATTENTION["down"]] * 3,
    up_block_types=[ATTENTION["up"]] * 3 + [RESNETS["up"]], mid_block_type="UNetMidBlock2DSimpleCrossAttn",
    block_out_channels=(320, 640, 960, 1280), in_channels=3, out_channels=6, cross_attention_dim=1536,
    class_embed_type="identity", attention_head_dim=64, resnet_time_scale_shift="scale_shift")
SUPER_RESOLUTION = dict(
    sample_size=256, layers_per_block=3, down_block_types=[RESNETS["down"]] * 4, up_block_types=[RESNETS["up"]] * 4,
    block_out_channels=(320, 640, 960, 1280), in_channels=6, out_channels=3, add_attention=False)
TEXT = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=0, eos_token_id=2,
            pad_token_id=1)


def config_of(model):
    return json.loads(model.to_json_string()) if hasattr(model, "to_json_string") else model.config.to_dict()


def published_parts():
    with torch.device("meta"):
        return dict(text_encoder=CLIPTextModelWithProjection(CLIPTextConfig(**TEXT)), prior=PriorTransformer(),
                    text_proj=UnCLIPTextProjModel(time_embed_dim=1280, cross_attention_dim=1536),
                    decoder=UNet2DConditionModel(**DECODER), super_res_first=UNet2DModel(**SUPER_RESOLUTION),
                    super_res_last=UNet2DModel(**SUPER_RESOLUTION))


def write_full_size(folder):
    """Matrices keep the scale of what they map; norms are ones, biases zeros."""
    shutil.copytree(OUTPUT / "karlo", folder)
    settings = json.loads((folder / "tokenizer/tokenizer_config.json").read_text())
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 77}))
    generator = torch.Generator().manual_seed(1)
    for part, model in published_parts().items():
        tensors = {}
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                bound = (3 * parameter.shape[0] / parameter.numel()) ** 0.5
                value = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            else:
                value = torch.full(parameter.shape, float("norm" in name and name.endswith("weight")))
            tensors[name] = value.to(torch.bfloat16)
        (file,) = (folder / part).glob("*.safetensors")
        save_file(tensors, file)
        (folder / part / "config.json").write_text(json.dumps(config_of(model), indent=1))


def published():
    """Of each part: its configuration, the number of its parameters, and a digest of their names and shapes."""
    described = {}
    for part, model in published_parts().items():
        lines = sorted(f"{name} {list(value.shape)}\n" for name, value in model.named_parameters())
        described[part] = dict(config=config_of(model), parameters=sum(p.numel() for p in model.parameters()),
                               digest=hashlib.sha256("".join(lines).encode()).hexdigest())
        print(part, described[part]["parameters"])
    print("together", sum(part["parameters"] for part in described.values()))
    return described


@torch.no_grad()
def full_width():
    """One or two layers or levels of each model, with hashed weights and inputs: configurations, outputs."""
    levels = lambda kinds: dict(block_out_channels=(320, 640), layers_per_block=1, sample_size=8,
                                down_block_types=[kind["down"] for kind in kinds],
                                up_block_types=[kind["up"] for kind in reversed(kinds)])
    models = dict(prior=PriorTransformer(num_layers=2),
                  decoder=UNet2DConditionModel(**DECODER | levels([RESNETS, ATTENTION])),
                  super_resolution=UNet2DModel(**SUPER_RESOLUTION | levels([RESNETS, RESNETS])))
    for model in models.values():
        fill_hashed(model)
    timesteps, prior_mask, decoder_mask = torch.tensor([17, 981]), mask_of([77, 12], 77), mask_of([81, 16], 81)
    outputs = dict(
        prior=models["prior"](hashed("sample", (2, 768)), timesteps, hashed("embeds", (2, 768)),
                              hashed("states", (2, 77, 768)), prior_mask).predicted_image_embedding,
        decoder=models["decoder"](hashed("sample", (2, 3, 8, 8)), timesteps, hashed("states", (2, 81, 1536)),
                                  class_labels=hashed("time", (2, 1280)), attention_mask=decoder_mask).sample,
        super_resolution=models["super_resolution"](hashed("sample", (2, 6, 16, 16)), timesteps).sample)
    for name, output in outputs.items():
        print("full width", name, f"{sum(p.numel() for p in models[name].parameters()) / 1e6:.0f} M, deviation",
              output.std().item())
    return {name: config_of(model) for name, model in models.items()}, outputs


def pipeline():
    words = tokenizer(OUTPUT / "scratch")
    width, time, tokens = 12, 16, 10
    text = CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        projection_dim=width, max_position_embeddings=16, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id))
    parts = dict(
        prior=prior_model(embedding_dim=width, num_embeddings=16),
        text_proj=UnCLIPTextProjModel(clip_embeddings_dim=width, time_embed_dim=time, cross_attention_dim=tokens),
        decoder=decoder_model((4, 8), sample_size=8, layers_per_block=1, cross_attention_dim=tokens),
        super_res_first=super_resolution_model((4, 8), sample_size=20, layers_per_block=1),
        super_res_last=super_resolution_model((4, 8), sample_size=20, layers_per_block=1))
    for seed, model in enumerate((text, *parts.values())):
        randomise(model, 400 + seed)
    with torch.no_grad():
        # Guidance by 8 magnifies what a random network says of the text; pictures are neither grey nor saturated.
        parts["decoder"].conv_out.weight.mul_(0.2)
        parts["decoder"].conv_out.bias.mul_(0.2)
        for name in ("super_res_first", "super_res_last"):
            parts[name].conv_out.weight.mul_(0.3)
            parts[name].conv_out.bias.mul_(0.3)
    return UnCLIPPipeline(
        text_encoder=text, tokenizer=words, **parts,
        prior_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample",
                                        num_train_timesteps=1000, clip_sample_range=5.0),
        decoder_scheduler=UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon",
                                          num_train_timesteps=1000),
        super_res_scheduler=UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="epsilon",
                                            num_train_timesteps=1000))


RUNS = [
    dict(),  # 25, 25 and 7 steps, guidance 4 and 8
    dict(prior_num_inference_steps=4, decoder_num_inference_steps=6, super_res_num_inference_steps=9),
    dict(prior_num_inference_steps=3, decoder_num_inference_steps=7, super_res_num_inference_steps=6,
         prior_guidance_scale=1.0, decoder_guidance_scale=1.0),
    dict(prior_num_inference_steps=3, decoder_num_inference_steps=4, super_res_num_inference_steps=9,
         prior_guidance_scale=2.5, decoder_guidance_scale=0.5),
    dict(prior_num_inference_steps=2, decoder_num_inference_steps=2, super_res_num_inference_steps=9,
         prior_guidance_scale=0.0, decoder_guidance_scale=3.0),
]


def run(folder, options, prompts=PROMPTS, dtype=torch.float32, seed=7, key=lambda i: (f"sample {i}", i)):
    """A picture of each prompt, with the noise of the sample and candidate that `key` says."""
    diffusers.UnCLIPTextProjModel = UnCLIPTextProjModel  # which diffusers 0.42 looks for there, and has elsewhere
    pipe = UnCLIPPipeline.from_pretrained(folder, torch_dtype=torch.float32).to(dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    streams = lambda purpose: [Random(seed, purpose, *key(i)) for i in range(len(prompts))]
    prior, upscaling = streams(Purpose.PRIOR_NOISE), streams(Purpose.UPSCALING_NOISE)
    # The streams of each stage's start and of its steps.
    stages = iter([(prior, prior), (streams(Purpose.INITIAL_NOISE), streams(Purpose.SCHEDULER_NOISE)),
                   (upscaling, upscaling)])
    current = {}

    def noise(randoms, shape):
        return torch.from_numpy(np.stack([random.normal(*shape[1:]) for random in randoms])).to(dtype)

    def begin(shape, **_):
        start, current["steps"] = next(stages)
        return noise(start, shape)

    pipeline_unclip.randn_tensor = begin
    scheduling_unclip.randn_tensor = lambda shape, **_: noise(current["steps"], shape)
    seen = {}
    pipe.text_proj.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(embeds=kwargs["image_embeddings"]), with_kwargs=True)
    pipe.super_res_first.register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(upscaled=kwargs["sample"][:, 3:]), with_kwargs=True)
    images = pipe(prompts, output_type="np", **options).images
    return seen | {"images": torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1}  # clipped, in [-1, 1]


SCHEDULES = [
    dict(variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0),
    dict(variance_type="learned_range", prediction_type="epsilon"),
    dict(variance_type="fixed_small_log", prediction_type="epsilon", clip_sample=False),
    dict(variance_type="learned_range", prediction_type="sample", num_train_timesteps=100, clip_sample_range=0.5),
]
STEPS = [2, 3, 7, 25, 100]


def schedule(options, steps):
    """Timesteps and every sample of a run whose network is a formula; noise as tests/generate/karlo_test.cpp draws it."""
    scheduler = UnCLIPScheduler(**options)
    scheduler.set_timesteps(steps)
    random = Random(7, Purpose.TEST)
    scheduling_unclip.randn_tensor = lambda shape, **_: torch.from_numpy(random.normal(*shape))
    sample = torch.from_numpy(random.normal(1, 2, 3, 4))
    samples = []
    for index, t in enumerate(scheduler.timesteps):
        output = 0.8 * torch.tanh(sample) + 0.1 * (t.item() / 1000)
        if options["variance_type"] == "learned_range":
            output = torch.cat([output, torch.sin(3 * sample)], 1)
        following = scheduler.timesteps[index + 1] if index + 1 < steps else None
        sample = scheduler.step(output, t, sample, prev_timestep=following).prev_sample
        samples.append(sample)
    return scheduler.timesteps, torch.cat(samples)


def variation_pipeline():
    """UnCLIPImageVariationPipeline with the tiny pipeline's weights."""
    words = UnCLIPPipeline.from_pretrained(OUTPUT / "karlo", torch_dtype=torch.float32)
    encoder = randomise(CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, projection_dim=12,
        image_size=12, patch_size=4, hidden_act="quick_gelu")), 450)
    processor = CLIPImageProcessor(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12})
    parts = {name: getattr(words, name) for name in (
        "tokenizer", "text_encoder", "text_proj", "decoder", "super_res_first", "super_res_last", "decoder_scheduler",
        "super_res_scheduler")}
    return UnCLIPImageVariationPipeline(image_encoder=encoder, feature_extractor=processor, **parts)


VARIATIONS = [
    dict(),  # 25 and 7 steps, guidance 8
    dict(decoder_num_inference_steps=4, super_res_num_inference_steps=9, decoder_guidance_scale=1.0),
    dict(decoder_num_inference_steps=5, super_res_num_inference_steps=9, decoder_guidance_scale=2.5),
]


def varied_pictures():
    """Upright and wide, so that they are resized and cropped. tests/generate/karlo_test.cpp draws them by the same rule."""
    row = lambda height, width: np.arange(height * width * 3).reshape(height, width, 3)
    return [Image.fromarray((row(h, w) * 7 % 256).astype(np.uint8)) for h, w in ((16, 14), (13, 20))]


def vary(folder, options, dtype=torch.float32):
    """A picture of each, from seed 7, as run() draws prompts."""
    pipe = UnCLIPImageVariationPipeline.from_pretrained(folder, torch_dtype=torch.float32).to(dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    images = []
    for i, picture in enumerate(varied_pictures()):
        streams = lambda purpose: Random(7, purpose, f"sample {i}", i)
        upscaling = streams(Purpose.UPSCALING_NOISE)
        stages = iter([(streams(Purpose.INITIAL_NOISE), streams(Purpose.SCHEDULER_NOISE)), (upscaling, upscaling)])
        current = {}

        def noise(random, shape):
            return torch.from_numpy(random.normal(*shape[1:])[None]).to(dtype)

        def begin(shape, **_):
            start, current["steps"] = next(stages)
            return noise(start, shape)

        pipeline_unclip_image_variation.randn_tensor = begin
        scheduling_unclip.randn_tensor = lambda shape, **_: noise(current["steps"], shape)
        images.append(pipe(picture, output_type="np", **options).images)
    return torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2) * 2 - 1  # clipped, in [-1, 1]


def main():
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    models()
    parts = published()
    configs, outputs = full_width()
    (GOLDENS / "karlo.json").write_text(json.dumps({"published": parts, "full_width": configs}, indent=1) + "\n")
    save_file(outputs, GOLDENS / "karlo_full_width.safetensors")
    folder = OUTPUT / "karlo"
    shutil.rmtree(folder, ignore_errors=True)
    pipeline().to(torch.float16).save_pretrained(folder)
    tensors = {}
    for index, options in enumerate(RUNS):
        values = run(folder, options)
        exact = run(folder, options, dtype=torch.float64)
        for key, value in values.items():
            tensors[f"{index}.{key}"] = value.contiguous()
            error = (value - exact[key]).abs().max() / exact[key].abs().max()
            print(options, key, f"deviation {value.std():.3f}, from float64 {error:.1e}",
                  f"saturated {(value.abs() > 0.999).float().mean():.2f}")
            # The first step divides by √ᾱ = 5e-5 what is then clipped: a value that is not would show rounding only.
            assert error < 1e-5, "choose other steps"
        # A prompt alone is drawn as among others.
        alone = run(folder, options, PROMPTS[:1])["images"]
        assert (alone - values["images"][:1]).abs().max() < 1e-4
    folder = OUTPUT / "karlo-variations"
    shutil.rmtree(folder, ignore_errors=True)
    variation_pipeline().to(torch.float16).save_pretrained(folder)
    for file in folder.glob("*/config.json"):  # where the parts were loaded from says nothing to others
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if "_name_or_path" not in line))
    for index, options in enumerate(VARIATIONS):
        images, exact = vary(folder, options), vary(folder, options, dtype=torch.float64)
        tensors[f"variation.{index}.images"] = images.contiguous()
        error = (images - exact).abs().max() / exact.abs().max()
        print("variation", options, f"deviation {images.std():.3f}, from float64 {error:.1e}")
        assert error < 1e-5, "choose other steps"
    cases = []
    for options in SCHEDULES:
        for steps in STEPS:
            timesteps, samples = schedule(options, steps)
            tensors |= {f"schedule.{len(cases)}.timesteps": timesteps, f"schedule.{len(cases)}.samples": samples}
            config = {k: v for k, v in UnCLIPScheduler(**options).config.items() if not k.startswith("_")}
            cases.append({"config": config, "steps": steps})
    save_file(tensors, OUTPUT / "karlo_runs.safetensors")
    described = {"prompts": PROMPTS, "runs": RUNS, "variations": VARIATIONS, "schedules": cases}
    (OUTPUT / "karlo_runs.json").write_text(json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["full-size"]:
        write_full_size(pathlib.Path(sys.argv[2]))
    else:
        main()
