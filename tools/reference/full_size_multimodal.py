"""BLIP-2, IDEFICS-9b and SDXL at full size with random weights in bfloat16: memory and time beside transformers' and
diffusers'.

    python tools/reference/full_size_multimodal.py write FOLDER NAME...
    python tools/reference/full_size_multimodal.py compare FOLDER NAME... [--readback PROGRAM] [--rounds 2] [--alone]

NAME is one of blip2-opt-2.7b (7.5 GB), blip2-flan-t5-xl (7.9 GB), idefics-9b (17.9 GB), sdxl (6.9 GB), and for compare
also karlo, whose repository tools/reference/karlo.py writes.

`write` saves an ordinary repository. The configurations are those of Salesforce/blip2-opt-2.7b,
Salesforce/blip2-flan-t5-xl, HuggingFaceM4/idefics-9b and stabilityai/stable-diffusion-xl-base-1.0, written out here,
since a library's defaults are others; vocabularies of the right size are made up.
`compare` has both make the same thing twice in a process of their own, in turns: captions of 20 tokens by three beams,
or a picture of 512 pixels (Karlo: 256) in few steps. It prints the seconds of the second one, without loading, and each
process's peak of memory. `--alone`: readback only, for what the reference has no memory for.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

# A neighbour here is called like a package that transformers imports.
HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE] + [str(HERE)]
import numpy
import torch
from PIL import Image

TOKENS, SIZE, STEPS = 20, 512, 2
GIB = 2**30
SHARD = 5 * 10**9  # bytes
# Drawn once; every matrix is filled from a place of its own.
POOL = torch.randn(2**24 + 2**20, generator=torch.Generator().manual_seed(1))

CLIP_H = dict(embed_dim=1280, image_size=224, patch_size=14, intermediate_size=5120, num_hidden_layers=32,
              num_attention_heads=16, hidden_act="gelu", layer_norm_eps=1e-5)
IDEFICS = dict(vocab_size=32000, additional_vocab_size=2, hidden_size=4096, intermediate_size=11008,
               num_hidden_layers=32, num_attention_heads=32, max_position_embeddings=2048, rms_norm_eps=1e-6,
               hidden_act="silu", cross_layer_interval=4, qk_layer_norms=True, use_resampler=True, alpha_type="float",
               perceiver_config=dict(use_resampler=True, resampler_n_latents=64, resampler_depth=6,
                                     resampler_n_heads=16, resampler_head_dim=96, qk_layer_norms_perceiver=True),
               vision_config=CLIP_H, bos_token_id=1, eos_token_id=2, pad_token_id=0)
VIT_G = dict(hidden_size=1408, intermediate_size=6144, num_hidden_layers=39, num_attention_heads=16, image_size=224,
             patch_size=14, hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True)
Q_FORMER = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                encoder_hidden_size=1408, cross_attention_frequency=2)
OPT = dict(model_type="opt", vocab_size=50304, hidden_size=2560, word_embed_proj_dim=2560, num_hidden_layers=32,
           ffn_dim=10240, num_attention_heads=32, max_position_embeddings=2048, activation_function="relu",
           do_layer_norm_before=True, bos_token_id=2, eos_token_id=50118, pad_token_id=1)
FLAN_T5 = dict(model_type="t5", vocab_size=32128, d_model=2048, d_kv=64, d_ff=5120, num_layers=24,
               num_decoder_layers=24, num_heads=32, relative_attention_num_buckets=32,
               relative_attention_max_distance=128, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
               decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)
CLIP_L = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
              max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768, bos_token_id=49406,
              eos_token_id=49407, pad_token_id=1)
BIG_G = CLIP_L | dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
                      hidden_act="gelu", projection_dim=1280)
XL_UNET = dict(sample_size=128, block_out_channels=(320, 640, 1280), layers_per_block=2, cross_attention_dim=2048,
               attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10), use_linear_projection=True,
               addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
               down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
               up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
XL_VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=1024,
              down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
              scaling_factor=0.13025, force_upcast=True)
XL_SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
                    steps_offset=1, timestep_spacing="leading")


def drawn(name, shape):
    """Keeps the scale of what it maps; norms are ones, biases small, gates half open."""
    if "alpha" in name:
        return torch.full(shape, 0.5)
    if len(shape) == 1:
        return torch.full(shape, float("norm" in name.lower() and name.endswith("weight") or name.endswith("ln.weight")))
    count = shape.numel()
    start = sum(name.encode()) * 7919 % 2**20
    block = POOL[start:start + min(count, 2**24)]
    values = block if count <= block.numel() else block.repeat(-(-count // block.numel()))[:count]
    return (values.view(shape) * (shape[0] / count) ** 0.5)


def save_weights(model, folder, stem="model", tied=()):
    """As save_pretrained() writes shards, without the model ever being in memory."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    shards, tensors, size = [], {}, 0

    def write():
        save_file(tensors, folder / f"{stem}-{len(shards)}", metadata={"format": "pt"})
        shards.append(list(tensors))
        tensors.clear()

    for name, parameter in model.named_parameters():
        if name in tied:
            continue
        tensor = drawn(name, parameter.shape).to(torch.bfloat16).contiguous()
        if size + tensor.nbytes > SHARD:
            write()
            size = 0
        tensors[name] = tensor
        size += tensor.nbytes
    write()
    if len(shards) == 1:
        (folder / f"{stem}-0").rename(folder / f"{stem}.safetensors")
        return
    index = {}
    for number, names in enumerate(shards):
        final = f"{stem}-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"{stem}-{number}").rename(folder / final)
        index.update({name: final for name in names})
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def filled(vocabulary, size):
    """Made-up words up to `size`."""
    for number in range(len(vocabulary), size):
        vocabulary[f"word{number}"] = number
    return vocabulary


def tokenizer_file(folder, tokenizer, size, model, added):
    """The tiny tokenizer of multimodal_captions.py with made-up words behind its own, and its added tokens last."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    names = [token["content"] for token in described["added_tokens"] if token["content"] in added]
    if model == "unigram":
        pieces = described["model"]["vocab"]
        described["model"]["vocab"] = pieces + [[f"▁word{i}", -20.0] for i in range(len(pieces), size)]
    else:
        described["model"]["vocab"] = filled(described["model"]["vocab"], size)
    for token in described["added_tokens"]:
        if token["content"] in names:
            token["id"] = size + names.index(token["content"])
    (folder / "tokenizer.json").write_text(json.dumps(described, ensure_ascii=False))
    tokenizer.save_pretrained(folder / "scratch")
    for name in ["tokenizer_config.json", "special_tokens_map.json"]:
        if (folder / "scratch" / name).exists():
            shutil.move(folder / "scratch" / name, folder / name)
    shutil.rmtree(folder / "scratch")


def count(model):
    parameters = sum(p.numel() for p in model.parameters())
    print(f"  {type(model).__name__}: {parameters:,} parameters")
    return parameters


def write_idefics(folder):
    import multimodal_captions as tiny
    from transformers import IdeficsConfig, IdeficsForVisionText2Text

    config = IdeficsConfig(**IDEFICS, architectures=["IdeficsForVisionText2Text"], torch_dtype="bfloat16")
    with torch.device("meta"):
        model = IdeficsForVisionText2Text(config)
    count(model)
    save_weights(model, folder)
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    added = ["<fake_token_around_image>", "<image>"]
    tokenizer, _ = tiny.idefics_tokenizer(added)
    tokenizer_file(folder, tokenizer, IDEFICS["vocab_size"], "bpe", added)
    tiny.IdeficsImageProcessorPil(image_size=224).save_pretrained(folder)


def write_blip2(folder, kind):
    import multimodal_captions as tiny
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    text = OPT if kind == "opt" else FLAN_T5
    known = 50265 if kind == "opt" else 32100
    config = Blip2Config(num_query_tokens=32, image_token_index=known, text_config=text, qformer_config=Q_FORMER,
                         vision_config=VIT_G, architectures=["Blip2ForConditionalGeneration"], torch_dtype="bfloat16")
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(config)
    count(model)
    # What save_pretrained() leaves out, since it is another tensor under a second name.
    tied = {key for key in model.state_dict() if key not in dict(model.named_parameters())}
    save_weights(model, folder, tied=tied)
    config.save_pretrained(folder)
    model.generation_config.eos_token_id = text["eos_token_id"]
    model.generation_config.save_pretrained(folder)
    tokenizer, _ = tiny.opt_tokenizer() if kind == "opt" else tiny.t5_tokenizer()
    tokenizer_file(folder, tokenizer, known, "bpe" if kind == "opt" else "unigram", ["<image>"])
    tiny.BlipImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder)


def write_sdxl(folder):
    import diffusers

    sys.path.append(str(HERE))
    from full_size import clip_vocabulary
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    with torch.device("meta"):
        parts = dict(text_encoder=CLIPTextModel(CLIPTextConfig(**CLIP_L)),
                     text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G)),
                     unet=diffusers.UNet2DConditionModel(**XL_UNET), vae=diffusers.AutoencoderKL(**XL_VAE))
    total = sum(count(model) for model in parts.values())
    print(f"  together {total:,}")
    for name, model in parts.items():
        save_weights(model, folder / name, "model" if name.startswith("text") else "diffusion_pytorch_model")
        if name.startswith("text"):
            model.config.architectures = [type(model).__name__]
            model.config.save_pretrained(folder / name)
        else:
            model.save_config(folder / name)
    tokens, merges = clip_vocabulary(49408)
    for name, pad in [("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")]:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        (folder / name / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
        words = CLIPTokenizer(str(folder / name / "vocab.json"), str(folder / name / "merges.txt"), pad_token=pad,
                              model_max_length=77)
        words.save_pretrained(folder / name)
    diffusers.EulerDiscreteScheduler(**XL_SCHEDULER).save_config(folder / "scheduler")
    classes = dict(scheduler="EulerDiscreteScheduler", unet="UNet2DConditionModel", vae="AutoencoderKL")
    index = {"_class_name": "StableDiffusionXLPipeline", "_diffusers_version": diffusers.__version__,
             "force_zeros_for_empty_prompt": True}
    index |= {name: ["diffusers", cls] for name, cls in classes.items()}
    index |= {"text_encoder": ["transformers", "CLIPTextModel"],
              "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
              "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))


def picture(folder):
    path = folder.parent / "picture.png"
    pixels = numpy.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).resize((480, 360), Image.Resampling.BICUBIC).save(path)
    return path


GENERATORS = {"sdxl": [("--num-inference-steps", STEPS), ("--height", SIZE), ("--width", SIZE)],
              "karlo": [("--prior-num-inference-steps", 2), ("--num-inference-steps", 2),
                        ("--super-res-num-inference-steps", 2)]}
PROMPT = "a photo of a red boat on a lake"


@torch.no_grad()
def reference(folder, name):
    """Twice the same; the seconds of the second."""
    threads = os.cpu_count()
    torch.set_num_threads(threads)
    if name in GENERATORS:
        import diffusers

        if name == "karlo":  # which diffusers 0.42 looks for there, and has elsewhere
            from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

            diffusers.UnCLIPTextProjModel = UnCLIPTextProjModel
            interpolate = torch.nn.functional.interpolate

            def in_float32(x, antialias=False, **how):  # for which alone torch has a bicubic kernel on CPUs
                return interpolate(x.float(), antialias=antialias, **how).to(x.dtype)

            torch.nn.functional.interpolate = in_float32
        pipe = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
        pipe.set_progress_bar_config(disable=True)
        if name == "sdxl":
            work = lambda: pipe(PROMPT, num_inference_steps=STEPS, height=SIZE, width=SIZE)
        else:
            work = lambda: pipe(PROMPT, prior_num_inference_steps=2, decoder_num_inference_steps=2,
                                super_res_num_inference_steps=2)
    else:
        from transformers import AutoConfig, AutoTokenizer
        import transformers

        kind = AutoConfig.from_pretrained(folder).architectures[0]
        model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.bfloat16).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        image = Image.open(picture(folder)).convert("RGB")
        options = dict(num_beams=3, min_new_tokens=TOKENS, max_new_tokens=TOKENS)
        if name == "idefics-9b":
            from transformers import IdeficsProcessor
            from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

            processor = IdeficsProcessor(IdeficsImageProcessorPil(image_size=224), tokenizer, image_size=224)
            inputs = dict(processor(text=[[image, "Caption:"]], add_end_of_utterance_token=False, return_tensors="pt"))
        else:
            from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

            pixels = BlipImageProcessorPil(size={"height": 224, "width": 224})(image, return_tensors="pt")
            ids = torch.tensor([[model.config.image_token_id] * 32 + tokenizer("a photo of")["input_ids"]])
            inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels)
        inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
        work = lambda: model.generate(**inputs, **options)
    for _ in range(2):
        start = time.perf_counter()
        work()
    print(json.dumps({"seconds": time.perf_counter() - start}))


def measured(command):
    """Its last line's seconds, and the process's peak in bytes."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status != 0:
        sys.exit(f"{command[0]} failed with status {status}: {errors[-2000:]}")
    return json.loads(output.splitlines()[-1])["seconds"], usage.ru_maxrss * 1024


def compare(folder, name, program, rounds, alone):
    path = picture(folder)
    if name in GENERATORS:
        own = [program, "generate", "--generator", folder, "--prompt", PROMPT, PROMPT, "--batch-size", 1, "--output",
               folder.parent / "pictures"]
        own += [x for pair in GENERATORS[name] for x in pair]
    else:
        own = [program, "caption", "--captioner", folder, path, path, "--batch-size", 1, "--num-beams", 3,
               "--min-new-tokens", TOKENS, "--max-new-tokens", TOKENS]
    own += ["--dtype", "bfloat16", "--format", "jsonl"]
    weights = sum(p.stat().st_size for p in folder.rglob("*.safetensors"))
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(measured(own))
        if not alone:
            theirs.append(measured([sys.executable, __file__, "reference", folder, name]))
    median = lambda values, i: statistics.median(v[i] for v in values)
    line = f"{name}: weights {weights / GIB:.2f} GiB; readback {median(ours, 0):.1f} s, {median(ours, 1) / GIB:.2f} GiB"
    if theirs:
        ratio = statistics.median(t[0] / o[0] for t, o in zip(theirs, ours))
        line += (f"; reference {median(theirs, 0):.1f} s, {median(theirs, 1) / GIB:.2f} GiB; "
                 f"{ratio:.2f} times as fast")
    print(line, flush=True)


WRITERS = {"blip2-opt-2.7b": lambda folder: write_blip2(folder, "opt"),
           "blip2-flan-t5-xl": lambda folder: write_blip2(folder, "t5"), "idefics-9b": write_idefics,
           "sdxl": write_sdxl}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["write", "compare", "reference"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="+", choices=[*WRITERS, "karlo"])
    parser.add_argument("--readback", default=HERE.parents[1] / "build/release/bin/readback")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    if options.command == "reference":
        return reference(options.folder, options.names[0])
    for name in options.names:
        folder = options.folder / name
        if options.command == "write":
            print(name)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            WRITERS[name](folder)
        else:
            compare(folder, name, options.readback, options.rounds, options.alone)


if __name__ == "__main__":
    main()
