"""Tiny random BLIP-2, IDEFICS and SmolVLM captioners with tokenizers, and what transformers' generate() makes of them.

    python tools/reference/multimodal_captions.py        writes tests/goldens/multimodal/

NAME/            an ordinary Hugging Face repository: model, tokenizer, image processor
captions.json    by NAME, cases: generate()'s options, the examples' pictures and texts, and for each picture of
                 tests/goldens/caption/images the prompt's ids, the captions' ids, texts and log-probabilities, and
                 those of TEXTS with the end token behind them

tiles.json       [width, height, rows, columns] of pictures cut as SmolVLM-256M's are

Prompts are written by transformers' own processors: IdeficsProcessor's code on lists of pictures and texts, SmolVLM's
get_image_prompt_string in the template that its repositories carry.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import shutil
import sys

# A neighbour here is called like a package that transformers imports.
HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]
import numpy
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (Blip2Config, Blip2ForConditionalGeneration, IdeficsConfig, IdeficsForVisionText2Text, IdeficsProcessor, PreTrainedTokenizerFast,
                          SmolVLMConfig, SmolVLMForConditionalGeneration)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

sys.path.append(str(HERE.parent))
from small_world_tokenizer import llama_tokenizer

GOLDENS = HERE.parents[1] / "tests/goldens"
PICTURES = [Image.open(path).convert("RGB") for path in sorted((GOLDENS / "caption/images").glob("*.png"))]
WORDS = "a dog cat on the red small tree house big and blue Caption : Describe this image . User Assistant".split()


def randomise(model, seed, gain):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight") or name.endswith("ln.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif "alpha" in name:
                parameter.fill_(1.5)
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * gain / parameter[0].numel() ** 0.5)
    return model.eval()


def idefics_tokenizer(added):
    """LLaMA's kind: characters with byte fallback, whole words as the merges of their letters."""
    tokenizer, size = llama_tokenizer(WORDS, added)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   pad_token="<unk>", padding_side="left",
                                   additional_special_tokens=added), size


def smolvlm_tokenizer(tokens_of_rows):
    """SmolLM's kind: single digits, then bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + alphabet)}
    merges = []
    for word in WORDS:
        for made in ["Ġ", ""]:
            for letter in word:
                if made:
                    merges.append((made, letter))
                made += letter
                vocabulary.setdefault(made, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    added = ["<global-img>"] + tokens_of_rows + ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<end_of_utterance>",
                                   unk_token="<|endoftext|>", pad_token="<|im_end|>",
                                   additional_special_tokens=added), len(vocabulary) + len(added)


def opt_tokenizer():
    """GPT-2's kind: bytes, and </s> before a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>"] + alphabet)}
    merges = []
    for word in WORDS + ["photo", "of"]:
        for made in ["Ġ", ""]:
            for letter in word:
                if made:
                    merges.append((made, letter))
                made += letter
                vocabulary.setdefault(made, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing("</s> $A", special_tokens=[("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<image>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>",
                                   unk_token="</s>"), len(vocabulary) + 1


def t5_tokenizer():
    """SentencePiece's unigrams: whole words, and letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -3 - 0.01 * i) for i, word in enumerate(dict.fromkeys(WORDS + ["photo", "of"]))]
    pieces += [(piece, -6 - 0.01 * i) for i, piece in enumerate(["▁"] + [chr(c) for c in range(33, 127)])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<image>", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>",
                                   unk_token="<unk>"), len(pieces) + 1


def end_sometimes(model, end, factor):
    """The end tokens' logits vary more than others', so that captions end at different lengths."""
    head = [model.lm_head.weight] + ([model.lm_head.additional_fc.weight] if hasattr(model.lm_head, "additional_fc") else [])
    with torch.no_grad():
        for token in end:
            known = head[0].shape[0]
            (head[0][token] if token < known else head[1][token - known]).mul_(factor)


def save(folder, model, tokenizer, processor):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)


@torch.no_grad()
def log_probability(model, inputs, ids):
    """Of the tokens behind the prompt."""
    if model.config.is_encoder_decoder:
        whole, prompt = dict(inputs, decoder_input_ids=torch.tensor([ids])), 1
    else:
        whole, prompt = continued(inputs, ids), inputs["input_ids"].shape[1]
    scores = model(**whole).logits[0, prompt - 1:-1].log_softmax(-1)
    return scores.gather(1, torch.tensor(ids[prompt:])[:, None]).sum().item()


def continued(inputs, ids):
    prompt = inputs["input_ids"].shape[1]
    whole = dict(inputs, input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    if "image_attention_mask" in inputs:
        mask = inputs["image_attention_mask"]
        whole["image_attention_mask"] = torch.cat([mask, mask[:, -1:].expand(-1, len(ids) - prompt, -1)], 1)
    return whole


@torch.no_grad()
def captions(model, tokenizer, inputs, case, end):
    options = {k: v for k, v in case.items() if k not in ("prompt", "shots")}
    sequences = model.generate(**inputs, do_sample=False, eos_token_id=end, pad_token_id=0, **options)
    prompt = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    result = []
    for ids in sequences.tolist():
        ends = [place for place in range(prompt, len(ids)) if ids[place] in end]
        ids = ids[:ends[0] + 1] if ends else ids  # behind the end token there is padding
        text = tokenizer.decode(ids[prompt:], skip_special_tokens=True).strip(" \n")
        result.append(dict(ids=ids, text=text, log_probability=log_probability(model, inputs, ids)))
    return result


def idefics(name, seed, instructed):
    added = ["<fake_token_around_image>", "<image>"] + (["<end_of_utterance>"] if instructed else [])
    tokenizer, size = idefics_tokenizer(added)
    config = IdeficsConfig(
        vocab_size=size, additional_vocab_size=len(added), hidden_size=24, intermediate_size=40, num_hidden_layers=4,
        num_attention_heads=3, max_position_embeddings=192, cross_layer_interval=2, qk_layer_norms=True,
        use_resampler=True,
        perceiver_config=dict(use_resampler=True, resampler_n_latents=4, resampler_depth=1, resampler_n_heads=2,
                              resampler_head_dim=8, qk_layer_norms_perceiver=True),
        vision_config=dict(embed_dim=16, image_size=32, patch_size=8, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=2),
        bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = randomise(IdeficsForVisionText2Text(config), seed, 1.5)
    end = [2, tokenizer.convert_tokens_to_ids("<end_of_utterance>" if instructed else "<0x0A>")]
    end_sometimes(model, end, 4 if instructed else 2.5)
    processor = IdeficsImageProcessorPil(image_size=32)
    save(GOLDENS / "multimodal" / name, model, tokenizer, processor)
    write = IdeficsProcessor(processor, tokenizer, image_size=32)
    end_of_utterance = "<end_of_utterance>" if instructed else ""

    def shown(picture, prompt):
        return ["User:", picture, f"{prompt}<end_of_utterance>\nAssistant:"] if instructed else [picture, prompt]

    def inputs(picture, case):
        # One text between two pictures: the processor would put its own end of utterance between two texts.
        parts = []
        for place, text in case["shots"]:
            example = shown(PICTURES[place], case["prompt"])
            example[-1] += f" {text}{end_of_utterance}\n"
            parts += example
        parts += shown(picture, case["prompt"])
        merged = []
        for part in parts:
            if isinstance(part, str) and merged and isinstance(merged[-1], str):
                merged[-1] += part
            else:
                merged.append(part)
        return dict(write(text=[merged], add_end_of_utterance_token=False, return_tensors="pt"))

    return model, tokenizer, inputs, end, ("Describe this image." if instructed else "Caption:")


def smolvlm(name, seed, splitting):
    rows = [f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)]
    tokenizer, size = smolvlm_tokenizer(rows)
    image = tokenizer.convert_tokens_to_ids("<image>")
    end = [tokenizer.convert_tokens_to_ids("<end_of_utterance>")]
    config = SmolVLMConfig(
        scale_factor=2, image_token_id=image, pad_token_id=2, tie_word_embeddings=True,
        text_config=dict(model_type="llama", vocab_size=size, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
                         num_attention_heads=6, num_key_value_heads=2, head_dim=4, max_position_embeddings=512,
                         rope_theta=100000.0, eos_token_id=end[0], bos_token_id=1, pad_token_id=2),
        vision_config=dict(hidden_size=16, image_size=32, patch_size=8, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=2))
    model = randomise(SmolVLMForConditionalGeneration(config), seed, 1.5)
    model.generation_config.eos_token_id = end[0]
    end_sometimes(model, end, 4)
    processor = SmolVLMImageProcessorPil(size={"longest_edge": 80}, max_image_size={"longest_edge": 32},
                                         do_image_splitting=splitting)
    save(GOLDENS / "multimodal" / name, model, tokenizer, processor)

    def inputs(picture, case):
        pictures = [PICTURES[place] for place, _ in case["shots"]] + [picture]
        tiles = processor([pictures], return_row_col_info=True, return_tensors="pt")
        shown = [get_image_prompt_string(r, c, 4, "<fake_token_around_image>", "<image>", "<global-img>")
                 for r, c in zip(tiles["rows"][0], tiles["cols"][0])]
        text = "<|im_start|>"
        for (_, answer), tokens in zip(case["shots"], shown):
            text += f"User:{tokens}{case['prompt']}<end_of_utterance>\nAssistant: {answer}<end_of_utterance>\n"
        text += f"User:{shown[-1]}{case['prompt']}<end_of_utterance>\nAssistant:"
        return dict(tokenizer(text, return_tensors="pt"), pixel_values=tiles["pixel_values"],
                    pixel_attention_mask=tiles["pixel_attention_mask"])

    return model, tokenizer, inputs, end, "Describe this image."


def blip2(name, seed, kind):
    tokenizer, size = opt_tokenizer() if kind == "opt" else t5_tokenizer()
    image = tokenizer.convert_tokens_to_ids("<image>")
    end = [tokenizer.convert_tokens_to_ids("Ċ")] if kind == "opt" else [1]
    text = (dict(model_type="opt", vocab_size=size, hidden_size=24, word_embed_proj_dim=24, num_hidden_layers=2,
                 ffn_dim=48, num_attention_heads=3, max_position_embeddings=64, eos_token_id=end[0], bos_token_id=2,
                 pad_token_id=1) if kind == "opt" else
            dict(model_type="t5", vocab_size=size, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=3,
                 relative_attention_num_buckets=8, relative_attention_max_distance=12, feed_forward_proj="gated-gelu",
                 tie_word_embeddings=False, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0))
    config = Blip2Config(
        num_query_tokens=4, image_token_index=image, text_config=text,
        qformer_config=dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                            encoder_hidden_size=16),
        vision_config=dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                           image_size=32, patch_size=8))
    model = randomise(Blip2ForConditionalGeneration(config), seed, 1.5)
    model.language_model.generation_config.eos_token_id = end[0]
    model.generation_config.eos_token_id = end[0]
    with torch.no_grad():
        model.language_model.get_input_embeddings().weight[end[0]].mul_(3)
    processor = BlipImageProcessorPil(size={"height": 32, "width": 32})
    save(GOLDENS / "multimodal" / name, model, tokenizer, processor)

    def inputs(picture, case):
        ids = torch.tensor([[image] * 4 + tokenizer(case["prompt"])["input_ids"]])
        return dict(input_ids=ids, attention_mask=torch.ones_like(ids),
                    pixel_values=processor(picture, return_tensors="pt")["pixel_values"])

    return model, tokenizer, inputs, end, "a photo of"


TEXTS = ["a red dog", "the big house and a blue cat on the tree"]
SHOTS = [(0, "a red dog"), (3, "the small house on a tree")]
CASES = [
    dict(num_beams=1, max_new_tokens=12, shots=[]),
    dict(num_beams=3, max_new_tokens=10, num_return_sequences=3, shots=[]),
    dict(num_beams=3, max_new_tokens=9, min_new_tokens=4, num_return_sequences=2, shots=SHOTS),
    dict(num_beams=1, max_new_tokens=8, repetition_penalty=1.3, shots=SHOTS[:1]),
    dict(num_beams=4, max_new_tokens=11, min_new_tokens=5, length_penalty=0.5, num_return_sequences=2, shots=[]),
]
MODELS = {
    "blip2-opt": lambda n: blip2(n, 15, "opt"),
    "blip2-flan-t5": lambda n: blip2(n, 16, "t5"),
    "idefics": lambda n: idefics(n, 11, False),
    "idefics-instruct": lambda n: idefics(n, 12, True),
    "smolvlm": lambda n: smolvlm(n, 13, True),
    "smolvlm-whole": lambda n: smolvlm(n, 14, False),
}


def tiles():
    """Sides at which rounding decides, and any others."""
    processor = SmolVLMImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    random = numpy.random.default_rng(5)
    sizes = [(512, 512), (513, 512), (1, 300), (2048, 511), (640, 480), (480, 640), (100, 33), (33, 100), (1000, 999)]
    sizes += [tuple(map(int, random.integers(1, 700, 2))) for _ in range(80)]
    result = []
    for width, height in sizes:
        cut = processor([[Image.new("RGB", (width, height))]], return_row_col_info=True, return_tensors="np")
        result.append([width, height, cut["rows"][0][0], cut["cols"][0][0]])
    (GOLDENS / "multimodal/tiles.json").write_text(json.dumps(result) + "\n")


def main():
    torch.set_num_threads(1)
    tiles()
    golden = {}
    for name, build in MODELS.items():
        model, tokenizer, inputs, end, prompt = build(name)
        golden[name] = []
        for case in CASES:
            if case["shots"] and name.startswith("blip2"):
                continue
            case = dict(case, prompt=prompt)
            pictures = []
            for picture in PICTURES:
                given = inputs(picture, case)
                given.pop("token_type_ids", None)
                start = [0] if model.config.is_encoder_decoder else given["input_ids"][0].tolist()
                pictures.append(dict(prompt=start,
                                     captions=captions(model, tokenizer, given, case, end)))
                if not case["shots"]:
                    space = "" if name.startswith("idefics") or model.config.is_encoder_decoder else " "
                    ids = [pictures[-1]["prompt"] + tokenizer.encode(space + text, add_special_tokens=False) + end[-1:]
                           for text in TEXTS]
                    pictures[-1]["texts"] = [log_probability(model, given, one) for one in ids]
            golden[name].append(dict(case, pictures=pictures))
            lengths = {len(c["ids"]) - len(p["prompt"]) for p in pictures for c in p["captions"]}
            print(name, len({c["text"] for p in pictures for c in p["captions"]}), "texts", lengths)
    (GOLDENS / "multimodal/captions.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
