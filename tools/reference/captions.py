"""A tiny random BLIP captioner and what transformers' generate() makes of it.

    python tools/reference/captions.py        writes tests/goldens/caption/

blip/                       an ordinary Hugging Face repository: model, tokenizer, image processor
images/N.png                pictures to caption
captions.json               cases: generate()'s options, and for each image its captions with their token ids, scores,
                            texts, and log-probabilities under the unprocessed logits
decoding.safetensors        logits of a language model of two tokens' context, and as metadata: prompts and cases, each
                            generate()'s options with two or three end tokens, and for each prompt its texts
distributions.safetensors   logits [N, V], prefixes [N, T], and probabilities.I for the I-th of `options` (metadata)
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import shutil
import sys

# A neighbour here is called like the package that transformers imports.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (BertTokenizer, BlipConfig, BlipForConditionalGeneration, GenerationConfig, GenerationMixin,
                          PretrainedConfig, PreTrainedModel)
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "caption"
PROMPT = "a picture of "
END = 3

WORDS = """a picture of the two three big small red green blue yellow dog cat bird horse boat tree house ball book cup
moon star sun rain road table chair apple fish flower and on in under above left right with near behind , . ' s ! -
is are it its very old new happy sleeping running flying next to man woman child ##s ##ing ##ed ##er ##est ##ly ##y
photo drawing small round fast slow dark light cloud river mountain bridge train bus bike plane street park beach sea""".split()

CASES = [
    dict(prompt=PROMPT, num_beams=1, max_length=20, min_length=5),
    dict(prompt=PROMPT, num_beams=1, max_length=20, min_length=12, repetition_penalty=1.1),
    dict(prompt="", num_beams=1, max_length=12, min_length=0, repetition_penalty=1.5),
    dict(prompt=PROMPT, num_beams=3, max_length=20, min_length=5),
    dict(prompt=PROMPT, num_beams=3, max_length=20, min_length=5, length_penalty=0.5, num_return_sequences=3),
    dict(prompt=PROMPT, num_beams=3, max_length=20, min_length=5, length_penalty=2.0, num_return_sequences=3),
    dict(prompt=PROMPT, num_beams=3, max_length=20, min_length=0, repetition_penalty=1.1, num_return_sequences=3),
    dict(prompt=PROMPT, num_beams=5, max_length=16, min_length=9, num_return_sequences=3),
    dict(prompt=PROMPT, num_beams=5, max_length=24, min_length=5, length_penalty=0.5, repetition_penalty=1.3),
    dict(prompt=PROMPT, num_beams=5, max_length=7, min_length=5, length_penalty=2.0, num_return_sequences=5),
    dict(prompt=PROMPT, num_beams=4, max_length=20, min_length=5, length_penalty=-1.0, num_return_sequences=2),
    dict(prompt="a happy dog, ", num_beams=3, max_length=18, min_length=8, length_penalty=0.0),
    dict(prompt="", num_beams=3, max_length=20, min_length=20, num_return_sequences=2),
]

SAMPLING = [
    dict(),
    dict(temperature=0.7),
    dict(temperature=1.5, top_p=0.9),
    dict(top_p=0.9),
    dict(top_p=0.5),
    dict(top_p=0.0),
    dict(top_k=50),
    dict(top_k=1),
    dict(top_k=20, top_p=0.8, temperature=1.3),
    dict(top_p=0.9, repetition_penalty=1.1),
    dict(top_p=0.95, top_k=100, temperature=0.8, repetition_penalty=1.4, min_length=12),
]


def randomise(model, seed):
    """Every parameter drawn anew: matrices keep the scale of what they map, norms stay near one."""
    generator = torch.Generator().manual_seed(seed)
    norm_weights = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.LayerNorm)}
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if id(parameter) in norm_weights:
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model.eval()


def build():
    folder = GOLDENS / "blip"
    shutil.rmtree(GOLDENS, ignore_errors=True)
    folder.mkdir(parents=True)
    words = list(dict.fromkeys(WORDS))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    assert tokenizer.convert_tokens_to_ids(["[SEP]", "a", "picture"]) == [END, 5, 6]
    tokenizer.save_pretrained(folder)
    processor = BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)

    size = len(vocabulary) + 2  # the begin token lies outside of the tokenizer's vocabulary, as in BLIP's own
    config = BlipConfig(
        text_config=dict(vocab_size=size, bos_token_id=size - 2, sep_token_id=END, pad_token_id=0, eos_token_id=2,
                         max_position_embeddings=24, num_hidden_layers=2, hidden_size=24, intermediate_size=48,
                         num_attention_heads=2),
        vision_config=dict(image_size=32, patch_size=8, num_hidden_layers=2, hidden_size=24, intermediate_size=48,
                           num_attention_heads=3),
        projection_dim=16, image_text_hidden_size=16,
    )
    model = randomise(BlipForConditionalGeneration(config), 5)
    with torch.no_grad():
        # So that the image matters, continuations differ by little, and captions end at different lengths.
        for layer in model.text_decoder.bert.encoder.layer:
            layer.crossattention.output.dense.weight.mul_(6)
        model.vision_model.post_layernorm.weight.mul_(2)
        head = model.text_decoder.cls.predictions
        head.transform.LayerNorm.weight.mul_(1.4)
        head.bias[END] += 4.0
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return model, tokenizer, processor


def pictures(count):
    random = numpy.random.default_rng(7)
    (GOLDENS / "images").mkdir()
    for i in range(count):
        height, width = random.integers(24, 60, 2)
        y, x = numpy.mgrid[0:height, 0:width]
        waves = [128 + 127 * numpy.sin(x * a + y * b + c) for a, b, c in random.uniform(-0.4, 0.4, (3, 3)) * [1, 1, 9]]
        image = Image.fromarray(numpy.stack(waves, -1).astype(numpy.uint8))
        image.save(GOLDENS / "images" / f"{i}.png")
        yield image


@torch.no_grad()
def log_probability(model, pixels, ids, prompt_length):
    log_probs = model(pixel_values=pixels, input_ids=ids[None]).logits[0].double().log_softmax(-1)
    return sum(log_probs[t - 1, ids[t]].item() for t in range(prompt_length, len(ids)))


def captions(model, tokenizer, processor, images):
    results = []
    for case in CASES:
        options = dict(case)
        prompt = options.pop("prompt")
        returned = options.get("num_return_sequences", 1)
        rows = []
        for image in images:
            pixels = processor(image, return_tensors="pt").pixel_values
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            prompt_length = ids.shape[1] - 1
            out = model.generate(pixel_values=pixels, input_ids=ids.clone(), attention_mask=torch.ones_like(ids),
                                 do_sample=False, output_scores=True, return_dict_in_generate=True, **options)
            row = []
            for i in range(returned):
                sequence = out.sequences[i]
                ends = (sequence[prompt_length:] == END).nonzero()
                if len(ends):
                    sequence = sequence[: prompt_length + ends[0, 0] + 1]
                text = tokenizer.decode(sequence, skip_special_tokens=True)
                start = tokenizer.decode(ids[0], skip_special_tokens=True)
                assert text.startswith(start)
                row.append(dict(token_ids=sequence.tolist(), text=text[len(start):].lstrip(" "),
                                log_probability=log_probability(model, pixels, sequence, prompt_length)))
                if options["num_beams"] > 1:
                    row[-1]["score"] = out.sequences_scores[i].item()
            rows.append(row)
        results.append(dict(options=case, captions=rows))
        first = [r[0] for r in rows]
        print(case, "| lengths", [len(c["token_ids"]) for c in first], "|", first[0]["text"], "|", first[1]["text"])
    (GOLDENS / "captions.json").write_text(json.dumps(results, indent=1))


def distributions(model):
    generator = torch.Generator().manual_seed(3)
    vocabulary, prefix = 499, 6
    flat = torch.randn(1, vocabulary, generator=generator)
    peaked = 4 * torch.randn(1, vocabulary, generator=generator)
    coarse = torch.round(2 * torch.randn(1, vocabulary, generator=generator))  # many equal ones
    equal = torch.zeros(1, vocabulary)
    logits = torch.cat([flat, peaked, coarse, equal])
    prefixes = torch.randint(4, vocabulary, (len(logits), prefix), generator=generator)
    prefixes[1, :3] = logits[1].topk(3).indices
    prefixes[2, :3] = logits[2].topk(3, largest=False).indices
    golden = {"logits": logits, "prefixes": prefixes}
    for i, options in enumerate(SAMPLING):
        config = GenerationConfig(do_sample=True, eos_token_id=END, **({"top_k": 0, "top_p": 1.0} | options))
        decoder = model.text_decoder
        decoder._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
        process = decoder._get_logits_processor(config, input_ids_seq_length=prefix, device="cpu")
        golden[f"probabilities.{i}"] = process(prefixes, logits.clone()).softmax(-1)
        print(options, "kept", (golden[f"probabilities.{i}"] > 0).sum(-1).tolist())
    save_file(golden, GOLDENS / "distributions.safetensors", {"options": json.dumps(SAMPLING)})


DECODING = [
    dict(num_beams=1, max_length=14, min_length=0),
    dict(num_beams=1, max_length=14, min_length=8, repetition_penalty=1.3),
    dict(num_beams=3, max_length=14, min_length=0, num_return_sequences=3),
    dict(num_beams=3, max_length=12, min_length=7, num_return_sequences=3, length_penalty=2.0),
    dict(num_beams=5, max_length=16, min_length=6, num_return_sequences=5, length_penalty=0.5, repetition_penalty=1.2),
    dict(num_beams=4, max_length=12, min_length=0, num_return_sequences=4, length_penalty=-1.0),
]


class TwoTokens(PreTrainedModel, GenerationMixin):
    """Logits that depend on the last two tokens by two tables."""

    config_class = PretrainedConfig

    def __init__(self, tables):
        super().__init__(PretrainedConfig(vocab_size=tables.shape[1], num_hidden_layers=1, is_encoder_decoder=False))
        self.tables = torch.nn.Parameter(tables)

    def forward(self, input_ids, **kwargs):
        before = torch.cat([input_ids[:, :1], input_ids[:, :-1]], 1)
        return CausalLMOutput(logits=self.tables[0][input_ids] + self.tables[1][before])

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return dict(input_ids=input_ids)


def decoding():
    vocabulary = 24
    tables = torch.randn(2, vocabulary, vocabulary, generator=torch.Generator().manual_seed(9))
    prompts, ends = [[1], [1, 5], [1, 9, 6, 4], [1, 20, 7], [1, 8, 8, 11, 13, 6]], [[3], [3, 2], [7, 3, 2]]
    tables[:, :, [2, 3, 7]] += 0.8
    model = TwoTokens(tables)
    cases = []
    for tokens in ends:
        for case in DECODING:
            texts = []
            for prompt in prompts:
                out = model.generate(torch.tensor([prompt]), do_sample=False, eos_token_id=tokens, pad_token_id=0,
                                     use_cache=False, output_scores=True, return_dict_in_generate=True, **case)
                rows = []
                for i, sequence in enumerate(out.sequences.tolist()):
                    stops = [t for t in range(len(prompt), len(sequence)) if sequence[t] in tokens]
                    rows.append(dict(token_ids=sequence[:stops[0] + 1] if stops else sequence))
                    if case["num_beams"] > 1:
                        rows[-1]["score"] = out.sequences_scores[i].item()
                texts.append(rows)
            print(tokens, case, "| last tokens", [[r["token_ids"][-1] for r in rows] for rows in texts])
            cases.append(dict(end_tokens=tokens, options=case, texts=texts))
    save_file({"tables": tables}, GOLDENS / "decoding.safetensors",
              {"prompts": json.dumps(prompts), "cases": json.dumps(cases)})


def main():
    model, tokenizer, processor = build()
    captions(model, tokenizer, processor, list(pictures(8)))
    distributions(model)
    decoding()


if __name__ == "__main__":
    main()
