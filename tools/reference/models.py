"""Tiny random models and what transformers and diffusers make of them.

    python tools/reference/models.py [NAME…]        writes tests/goldens/models/NAME/

keys.json lists every checkpoint's keys. A folder is an ordinary Hugging Face repository beside a `golden.safetensors`:
    input.*, output.*       tensors given to the model and got from it
    loss                    a scalar loss; how it is made is said in the function that builds the model
    gradient.KEY            the loss's gradient with respect to each trainable tensor of the checkpoint
    adamw_losses            [10] losses on the same batch before each of ten AdamW steps
Every parameter is drawn anew, biases and norms too, so that none of them can be left out unnoticed.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, LatentConsistencyModelPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
)

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "models"
ADAMW = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def randomise(model, seed, gain=1.0):
    """Gives every parameter a value that matters: matrices keep the scale of what they map, norms stay near one."""
    generator = torch.Generator().manual_seed(seed)
    norms = (torch.nn.LayerNorm, torch.nn.GroupNorm)
    norm_weights = {id(m.weight) for m in model.modules() if isinstance(m, norms)}
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if id(parameter) in norm_weights:
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * noise)
            elif parameter.dim() > 1:
                parameter.copy_(noise * gain / parameter[0].numel() ** 0.5)
    return model.eval()


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def saved_keys(folder):
    (path,) = [p for p in folder.glob("*.safetensors") if p.name != "golden.safetensors"]
    with safe_open(path, "pt") as file:
        return set(file.keys())


def saved_name(name, keys):
    """The checkpoint's key of a parameter: newer classes drop a level (text_model.) that files keep."""
    candidates = [k for k in keys if k == name or k.endswith("." + name)]
    assert len(candidates) == 1, (name, candidates)
    return candidates[0]


def train(model, loss_of):
    """The loss, its gradients by parameter name, and ten AdamW losses."""
    model.zero_grad()
    loss = loss_of()
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        step_loss = loss_of()
        step_loss.backward()
        losses.append(step_loss.detach())
        optimizer.step()
    return loss.detach(), gradients, torch.stack(losses)


def write(name, model, inputs, outputs, loss_of=None):
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    keys = saved_keys(folder)
    golden = {f"input.{k}": v for k, v in inputs.items()} | {f"output.{k}": v.detach() for k, v in outputs.items()}
    if loss_of:
        loss, gradients, losses = train(model, loss_of)
        golden |= {"loss": loss, "adamw_losses": losses}
        golden |= {f"gradient.{saved_name(k, keys)}": v for k, v in gradients.items()}
        assert all(g.abs().max() > 0 for k, g in gradients.items() if not k.endswith("k_proj.bias")), name
    save_file({k: v.contiguous().clone() for k, v in golden.items()}, folder / "golden.safetensors")
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    print(name, f"{len(keys)} keys", sizes, f"loss {golden['loss']:.6f}" if "loss" in golden else "")


def blip(name, vision, text, seed):
    """Loss: the model's own, next-token cross-entropy over labels ≥ 0, with the configuration's label smoothing."""
    vocabulary = dict(vocab_size=120, bos_token_id=118, sep_token_id=3, pad_token_id=0, eos_token_id=2)
    config = BlipConfig(
        text_config=dict(max_position_embeddings=24, num_hidden_layers=2, layer_norm_eps=1e-12, **vocabulary, **text),
        vision_config=dict(image_size=32, patch_size=8, num_hidden_layers=2, **vision),
        projection_dim=16,
        image_text_hidden_size=16,
    )
    model = randomise(BlipForConditionalGeneration(config), seed)
    input_ids = torch.randint(4, 118, (3, 9), generator=torch.Generator().manual_seed(seed + 1))
    attention_mask = torch.ones_like(input_ids)
    input_ids[:, 0] = 118
    for row, length in enumerate([9, 6, 4]):
        input_ids[row, length - 1] = 3
        input_ids[row, length:] = 0
        attention_mask[row, length:] = 0
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :2] = -100  # a prompt is not learned
    inputs = dict(pixel_values=draw(seed + 2, 3, 3, 32, 32), input_ids=input_ids, attention_mask=attention_mask,
                  labels=labels)
    result = model(**inputs)
    write(name, model, inputs, dict(image_embeds=result.image_embeds, logits=result.logits),
          lambda: model(**inputs).loss)


def clip_ids(seed, end, padding, vocabulary):
    """Sequences that start with `vocabulary - 2`; the first end marks where the text stops, padding follows it."""
    ids = torch.randint(3, vocabulary - 2, (3, 12), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = vocabulary - 2
    for row, length in enumerate([12, 7, 3]):
        ids[row, length - 1] = end
        ids[row, length:] = padding
    return ids


def clip(name, activation, end, padding, projection, seed, stored_end=None):
    """Loss: the model's own symmetric contrastive loss."""
    config = CLIPConfig(
        text_config=dict(vocab_size=100, hidden_size=24, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=16, hidden_act=activation,
                         projection_dim=projection, bos_token_id=98, eos_token_id=stored_end or end,
                         pad_token_id=padding),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                           image_size=32, patch_size=8, hidden_act=activation, projection_dim=projection),
        projection_dim=projection,
    )
    model = randomise(CLIPModel(config), seed)
    with torch.no_grad():
        model.logit_scale.fill_(2.6592)
    inputs = dict(input_ids=clip_ids(seed + 1, end, padding, 100), pixel_values=draw(seed + 2, 3, 3, 32, 32))
    result = model(**inputs)
    text = model.text_model(inputs["input_ids"])
    vision = model.vision_model(inputs["pixel_values"])
    outputs = dict(
        text_embeds=result.text_embeds,  # normalised, after the projection
        image_embeds=result.image_embeds,
        text_pooler_output=text.pooler_output,  # before the projection
        image_pooler_output=vision.pooler_output,
        text_features=model.text_projection(text.pooler_output),  # after the projection, not normalised
        image_features=model.visual_projection(vision.pooler_output),
        text_last_hidden_state=text.last_hidden_state,
        image_last_hidden_state=vision.last_hidden_state,
        logits_per_image=result.logits_per_image,
    )
    write(name, model, inputs, outputs, lambda: model(**inputs, return_loss=True).loss)


def clip_text(name, activation, layers, seed):
    """A Stable Diffusion text encoder. Loss: mean squared difference of last_hidden_state to input.target."""
    config = CLIPTextConfig(vocab_size=100, hidden_size=24, intermediate_size=48, num_hidden_layers=layers,
                            num_attention_heads=4, max_position_embeddings=12, hidden_act=activation,
                            projection_dim=24, bos_token_id=0, eos_token_id=2, pad_token_id=1)
    model = randomise(CLIPTextModel(config), seed)
    inputs = dict(input_ids=clip_ids(seed + 1, 99, 99, 100), target=draw(seed + 2, 3, 12, 24))
    result = model(inputs["input_ids"])
    outputs = dict(last_hidden_state=result.last_hidden_state, pooler_output=result.pooler_output)
    write(name, model, inputs, outputs,
          lambda: F.mse_loss(model(inputs["input_ids"]).last_hidden_state, inputs["target"]))


def unet(name, seed, gain=1.0, **options):
    """Loss: mean squared difference to input.target. The odd sample is one that three levels cannot halve evenly.
    Where the model reads them: input.guidance [B], input.pooled_text [B, P] and input.sizes [B, 6]."""
    model = randomise(UNet2DConditionModel(sample_size=8, norm_num_groups=4, **options), seed, gain)
    width = options["cross_attention_dim"]
    inputs = dict(
        sample=draw(seed + 1, 2, 4, 8, 12),
        timestep=torch.tensor([17, 981]),
        encoder_hidden_states=draw(seed + 2, 2, 7, width),
        target=draw(seed + 3, 2, 4, 8, 12),
        odd_sample=draw(seed + 4, 2, 4, 6, 9),
    )
    conditions = dict(timestep=inputs["timestep"], encoder_hidden_states=inputs["encoder_hidden_states"])
    if guidance_width := options.get("time_cond_proj_dim"):
        inputs["guidance"] = torch.tensor([8.5, 1.5])
        conditions["timestep_cond"] = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
            None, inputs["guidance"] - 1, guidance_width)
    if options.get("addition_embed_type"):
        pooled = options["projection_class_embeddings_input_dim"] - 6 * options["addition_time_embed_dim"]
        inputs["pooled_text"] = draw(seed + 5, 2, pooled)
        inputs["sizes"] = torch.tensor([[1024, 768, 0, 16, 1024, 1024], [32, 32, 7, 0, 512, 640]])
        conditions["added_cond_kwargs"] = dict(text_embeds=inputs["pooled_text"], time_ids=inputs["sizes"])
    outputs = dict(sample=model(inputs["sample"], **conditions).sample,
                   odd_sample=model(inputs["odd_sample"], **conditions).sample)
    write(name, model, inputs, outputs,
          lambda: F.mse_loss(model(inputs["sample"], **conditions).sample, inputs["target"]))


def vae(name, seed, channels, layers):
    """Loss: mse(decode(mean + exp(logvar / 2) · input.noise), pixels) + 0.01 · mean(mean² + var − 1 − logvar) / 2."""
    levels = len(channels)
    model = AutoencoderKL(block_out_channels=channels, layers_per_block=layers, latent_channels=4, norm_num_groups=4,
                          down_block_types=["DownEncoderBlock2D"] * levels,
                          up_block_types=["UpDecoderBlock2D"] * levels, sample_size=32)
    randomise(model, seed)
    height, width = 24, 32
    factor = 2 ** (levels - 1)
    latent = (2, 4, height // factor, width // factor)
    inputs = dict(pixel_values=draw(seed + 1, 2, 3, height, width), noise=draw(seed + 2, *latent),
                  latents=draw(seed + 3, *latent))
    posterior = model.encode(inputs["pixel_values"]).latent_dist
    outputs = dict(mean=posterior.mean, logvar=posterior.logvar, decoded=model.decode(inputs["latents"]).sample)

    def loss_of():
        posterior = model.encode(inputs["pixel_values"]).latent_dist
        image = model.decode(posterior.mean + posterior.std * inputs["noise"]).sample
        divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return F.mse_loss(image, inputs["pixel_values"]) + 0.01 * divergence

    write(name, model, inputs, outputs, loss_of)


def safety_checker(name, seed):
    """Image 0 shows a concept; 1 only because a special-care concept lowers the bar; 2 is over the bar by less than
    what rounding to three decimals keeps, so it passes; 3 is clean."""
    config = CLIPConfig(
        text_config=dict(vocab_size=100, hidden_size=24, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=16, projection_dim=16),
        vision_config=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                           image_size=32, patch_size=8, projection_dim=16),
        projection_dim=16,
    )
    model = randomise(StableDiffusionSafetyChecker(config), seed)
    clip_input = draw(seed + 1, 4, 3, 32, 32)
    embeds = model.visual_projection(model.vision_model(clip_input).pooler_output)
    with torch.no_grad():
        centred = embeds - embeds.mean(0)
        for image, concept in enumerate([2, 5, 11]):
            model.concept_embeds[concept] = centred[image]
        model.special_care_embeds[1] = centred[1]
        concept_cosine = cosine_distance(embeds, model.concept_embeds)
        special_cosine = cosine_distance(embeds, model.special_care_embeds)
        model.concept_embeds_weights.copy_(concept_cosine.amax(0) + 0.05)
        model.special_care_embeds_weights.copy_(special_cosine.amax(0) + 0.05)
        model.concept_embeds_weights[2] = concept_cosine[0, 2] - 0.02
        model.concept_embeds_weights[5] = concept_cosine[1, 5] + 0.004
        model.concept_embeds_weights[11] = concept_cosine[2, 11] - 0.0003
        model.special_care_embeds_weights[1] = special_cosine[1, 1] - 0.03
    _, flags = model(clip_input, torch.zeros(4, 3, 8, 8))
    assert flags == [True, True, False, False], flags
    outputs = dict(image_embeds=embeds, concept_cosine=concept_cosine, special_cosine=special_cosine,
                   has_nsfw_concepts=torch.tensor(flags).int())
    write(name, model, dict(clip_input=clip_input), outputs)


SD1 = dict(
    block_out_channels=(8, 8, 16),
    down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=1,
    attention_head_dim=2,
    cross_attention_dim=12,
)
SD2 = dict(
    block_out_channels=(8, 12),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=2,
    attention_head_dim=(2, 3),
    cross_attention_dim=20,
    use_linear_projection=True,
    upcast_attention=True,
)
# Transformers of different depths, and levels without any first, as in Stable Diffusion XL.
XL = dict(
    block_out_channels=(8, 8, 12),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    attention_head_dim=(1, 2, 3),
    transformer_layers_per_block=(1, 2, 3),
    cross_attention_dim=20,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=4,
    projection_class_embeddings_input_dim=10 + 6 * 4,
)

MODELS = {
    "blip": lambda n: blip(n, dict(hidden_size=24, intermediate_size=48, num_attention_heads=3),
                           dict(hidden_size=24, intermediate_size=48, num_attention_heads=2, label_smoothing=0.0), 10),
    # BLIP-large: the image tower is wider than the text decoder. With label smoothing, as BLIP was trained.
    "blip-large": lambda n: blip(n, dict(hidden_size=32, intermediate_size=64, num_attention_heads=4),
                                 dict(hidden_size=16, intermediate_size=32, num_attention_heads=2,
                                      label_smoothing=0.1), 20),
    # The original CLIP: its configuration names a wrong end token (2), so the highest id marks the end.
    "clip": lambda n: clip(n, "quick_gelu", 99, 99, 16, 30, stored_end=2),
    # OpenCLIP exports: the first end token is found by its id, which here is not the highest.
    "clip-openclip": lambda n: clip(n, "gelu", 50, 0, 20, 40),
    "clip-text-sd1": lambda n: clip_text(n, "quick_gelu", 2, 50),
    "clip-text-sd2": lambda n: clip_text(n, "gelu", 3, 60),
    "unet-sd1": lambda n: unet(n, 70, **SD1),
    "unet-sd2": lambda n: unet(n, 80, **SD2),
    "unet-lcm": lambda n: unet(n, 120, time_cond_proj_dim=11, **SD2),
    "unet-xl": lambda n: unet(n, 140, gain=0.7, **XL),
    "vae": lambda n: vae(n, 90, (8, 8, 16), 1),
    "safety-checker": lambda n: safety_checker(n, 110),
}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in sys.argv[1:] or MODELS:
        MODELS[name](name)
    keys = {name: sorted(saved_keys(GOLDENS / name)) for name in sorted(MODELS)}
    (GOLDENS / "keys.json").write_text(json.dumps(keys, indent=1) + "\n")


if __name__ == "__main__":
    main()
