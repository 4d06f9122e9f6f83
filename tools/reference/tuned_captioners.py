"""What BLIP-2, IDEFICS and SmolVLM learn from captions: python tools/reference/tuned_captioners.py

Ten AdamW steps of transformers' own losses on the tiny repositories of tests/goldens/multimodal, of two pictures with a
caption each, in inference mode (no dropout). Writes tests/goldens/train/
    captioners.json         by case: repository, what is trained, and the captions
    captioners.safetensors  CASE.losses [10], CASE.STEP.gradient.captioner.KEY (the norm, then up to eight values) of the
                            steps 0 and 9; of adapters CASE.start.KEY and CASE.end.KEY as PEFT saves them;
                            REPOSITORY.map, which of the captioner's tokens each of the tiny pipeline's stands for, and
                            REPOSITORY.probabilities, REPOSITORY.logits: soft tokens of the logits cos(0), cos(1), …
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from PIL import Image
from tokenizers import decoders
from transformers import (AutoTokenizer, Blip2ForConditionalGeneration, CLIPTextModel, CLIPTokenizer, IdeficsForVisionText2Text, IdeficsProcessor,
                          SmolVLMForConditionalGeneration)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

GOLDENS = HERE.parents[1] / "tests/goldens"
PICTURES = [Image.open(path).convert("RGB") for path in sorted((GOLDENS / "caption/images").glob("*.png"))]
CAPTIONS = ["a red dog", "the big house and a blue cat on the tree", "a cat", "the small tree on a house", "red and blue",
            "a small dog on the big tree", "house"]
STEPS, ROWS, RATE = 10, 2, 1e-3
CLASSES = {"blip2": Blip2ForConditionalGeneration, "idefics": IdeficsForVisionText2Text,
           "smolvlm": SmolVLMForConditionalGeneration}
QUERIES = {"blip2": (".crossattention.", ".query."), "idefics": (".cross_attn.", ".q_proj.")}
BRIDGES = {"blip2": ("qformer.", "query_tokens", "language_projection."),
           "idefics": ("gated_cross_attn_layers.", "perceiver_resampler."), "smolvlm": ("model.connector.",)}
CASES = {
    "blip2-opt": ("blip2-opt", "xattn_q"), "blip2-opt-bridge": ("blip2-opt", "bridge"),
    "blip2-t5": ("blip2-flan-t5", "xattn_q"), "idefics": ("idefics", "xattn_q"),
    "idefics-bridge": ("idefics-instruct", "bridge"), "smolvlm": ("smolvlm", "bridge"),
    "smolvlm-all": ("smolvlm-whole", "all"),
    "blip2-opt-lora": ("blip2-opt", "lora:xattn_q"), "blip2-t5-lora": ("blip2-flan-t5", "lora:all"),
    "idefics-lora": ("idefics", "lora:bridge"), "smolvlm-lora": ("smolvlm", "lora:all"),
}


def family(repository):
    return repository.split("-")[0]


def takes(repository, selection):
    """Which names of layers or parameters, those with a dot behind them, are trained."""
    kind = selection.removeprefix("lora:")
    if kind == "all":
        return lambda name: "lm_head" not in name if selection.startswith("lora") else True
    if kind == "bridge":
        return lambda name: any(part in name for part in BRIDGES[family(repository)])
    layer, query = QUERIES[family(repository)]
    return lambda name: layer in name and query in name


class Reader:
    """What transformers' processors make of a picture and the prompt."""

    def __init__(self, repository):
        self.folder, self.family = GOLDENS / "multimodal" / repository, family(repository)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.model = CLASSES[self.family].from_pretrained(self.folder).eval()
        self.t5 = bool(self.model.config.is_encoder_decoder)
        processors = {"blip2": BlipImageProcessorPil, "idefics": IdeficsImageProcessorPil, "smolvlm": SmolVLMImageProcessorPil}
        self.processor = processors[self.family].from_pretrained(self.folder)
        self.instructed = repository.endswith("instruct")
        end = {"blip2": "</s>" if self.t5 else "Ċ", "idefics": "<end_of_utterance>" if self.instructed else "<0x0A>",
               "smolvlm": "<end_of_utterance>"}[self.family]
        self.end = self.tokenizer.convert_tokens_to_ids(end)

    def prompt(self, picture):
        if self.family == "blip2":
            image = self.model.config.image_token_index
            ids = torch.tensor([[image] * 4 + self.tokenizer("a photo of")["input_ids"]])
            return dict(input_ids=ids, pixel_values=self.processor(picture, return_tensors="pt")["pixel_values"])
        if self.family == "idefics":
            parts = ["User:", picture, "Describe this image.<end_of_utterance>\nAssistant:"] if self.instructed else [picture, "Caption:"]
            write = IdeficsProcessor(self.processor, self.tokenizer, image_size=32)
            return dict(write(text=[parts], add_end_of_utterance_token=False, return_tensors="pt"))
        tiles = self.processor([[picture]], return_row_col_info=True, return_tensors="pt")
        shown = get_image_prompt_string(tiles["rows"][0][0], tiles["cols"][0][0], 4, "<fake_token_around_image>", "<image>",
                                        "<global-img>")
        text = f"<|im_start|>User:{shown}Describe this image.<end_of_utterance>\nAssistant:"
        return dict(input_ids=self.tokenizer(text, return_tensors="pt")["input_ids"], pixel_values=tiles["pixel_values"],
                    pixel_attention_mask=tiles["pixel_attention_mask"])

    def loss(self, model, picture, caption):
        """transformers' loss, and over how many tokens it is the mean."""
        given = self.prompt(picture)
        given.pop("token_type_ids", None)
        space = "" if self.t5 or self.family == "idefics" else " "
        learned = self.tokenizer.encode(space + caption, add_special_tokens=False) + [self.end]
        known = given["input_ids"].shape[1]
        if self.t5:
            given["labels"] = torch.tensor([learned])
        else:
            given["input_ids"] = torch.cat([given["input_ids"], torch.tensor([learned])], 1)
            given["labels"] = given["input_ids"].masked_fill(torch.arange(known + len(learned)) < known, -100)
            if "image_attention_mask" in given:
                mask = given["image_attention_mask"]
                given["image_attention_mask"] = torch.cat([mask, mask[:, -1:].expand(-1, len(learned), -1)], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        if self.family == "idefics":  # whose own loss counts on a vocabulary without its additional tokens
            del given["labels"]
            return torch.nn.functional.cross_entropy(model(**given).logits[0, known - 1:-1], torch.tensor(learned)), len(learned)
        return model(**given).loss, len(learned)


def summary(gradient):
    values = gradient.flatten()
    places = torch.linspace(0, len(values) - 1, min(8, len(values))).long()
    return torch.cat([gradient.norm()[None], values[places]])


def adapter(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(f"{folder}/adapter_model.safetensors")


def with_adapters(reader, wanted):
    """PEFT's, with random A and B."""
    modules = [name for name, module in reader.model.named_modules() if isinstance(module, torch.nn.Linear) and wanted(name + ".")]
    model = get_peft_model(reader.model, LoraConfig(r=2, lora_alpha=3, target_modules=modules, init_lora_weights=True))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 / parameter[0].numel() ** 0.5)
    return model.eval()


def run(name, repository, selection, golden):
    reader, wanted, lora = Reader(repository), takes(repository, selection), selection.startswith("lora")
    model = with_adapters(reader, wanted) if lora else reader.model
    named = {}
    for key, parameter in model.named_parameters():
        trained = "lora_" in key if lora else wanted(key)
        parameter.requires_grad_(trained)
        if trained:
            named[key.removeprefix("base_model.model.").replace(".default.", ".")] = parameter
    if lora:
        golden.update({f"{name}.start.{key}": value for key, value in adapter(model).items()})
    optimizer = torch.optim.AdamW(named.values(), lr=RATE)
    losses = []
    for step in range(STEPS):
        rows = [reader.loss(model, PICTURES[(step * ROWS + row) % 8], CAPTIONS[(step * ROWS + row) % len(CAPTIONS)])
                for row in range(ROWS)]
        loss = sum(loss * tokens for loss, tokens in rows) / sum(tokens for _, tokens in rows)
        loss.backward()
        losses.append(loss.detach())
        for key, parameter in named.items():
            if step in (0, STEPS - 1) and parameter.grad is not None:
                golden[f"{name}.{step}.gradient.captioner.{key}"] = summary(parameter.grad)
        torch.nn.utils.clip_grad_norm_(list(named.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    if lora:
        golden.update({f"{name}.end.{key}": value for key, value in adapter(model).items()})
    golden[f"{name}.losses"] = torch.stack(losses)
    print(name, len(named), "parameters", [round(x.item(), 4) for x in losses])


def bridge(repository, golden):
    """The published rule: "w</w>" is the word "w", any other piece "w" goes on with one; and soft tokens the long way."""
    folder, pipeline = GOLDENS / "multimodal" / repository, GOLDENS / "generate/pipeline"
    captioner, clip = AutoTokenizer.from_pretrained(folder), CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
    model = CLASSES[family(repository)].from_pretrained(folder)
    size = model.get_output_embeddings().weight.shape[0]
    if repository.startswith("idefics"):
        size += model.config.additional_vocab_size
    special = set(captioner.all_special_ids)
    words, rest = {}, {}
    for token, place in sorted(captioner.get_vocab().items(), key=lambda pair: pair[1]):
        if place in special or token.startswith("<0x"):
            continue
        begins = token[0] in "Ġ▁" and len(token) > 1
        text = captioner.convert_tokens_to_string([token]).lstrip(" ")
        if text and "\ufffd" not in text:
            (words if begins else rest).setdefault(text, place)
    unknown = captioner.unk_token_id
    end = {"blip2": 1 if model.config.is_encoder_decoder else captioner.convert_tokens_to_ids("Ċ"),
           "idefics": captioner.convert_tokens_to_ids("<0x0A>"), "smolvlm": captioner.convert_tokens_to_ids("<end_of_utterance>")}
    begin = {"blip2": 0 if model.config.is_encoder_decoder else 2, "idefics": 1, "smolvlm": 1}
    table = [unknown] * len(clip)
    for token, place in clip.get_vocab().items():
        if token == "<|startoftext|>":
            table[place] = begin[family(repository)]
        elif token == "<|endoftext|>":
            table[place] = end[family(repository)]
        else:
            text = decoders.ByteLevel().decode([token.removesuffix("</w>")])
            found = (words if token.endswith("</w>") else rest).get(text)
            table[place] = unknown if found is None or "\ufffd" in text else found
    table = torch.tensor(table)
    embedding = CLIPTextModel.from_pretrained(pipeline / "text_encoder").get_input_embeddings().weight.detach().float()
    logits = torch.cos(torch.arange(3 * size, dtype=torch.float32)).view(1, 3, size) * 4
    golden[f"{repository}.map"] = table
    golden[f"{repository}.probabilities"] = logits.softmax(-1)[:, :, table] @ embedding
    golden[f"{repository}.logits"] = logits[:, :, table].softmax(-1) @ embedding
    print(repository, "map", (table != unknown).sum().item(), "of", len(table))


def main():
    torch.set_num_threads(1)
    golden, cases = {}, {}
    for name, (repository, selection) in CASES.items():
        run(name, repository, selection, golden)
        cases[name] = dict(repository=repository, trained=selection)
    for repository in ["blip2-opt", "blip2-flan-t5", "idefics", "smolvlm"]:
        bridge(repository, golden)
    save_file({k: v.detach().contiguous().clone() for k, v in golden.items()}, GOLDENS / "train/captioners.safetensors")
    (GOLDENS / "train/captioners.json").write_text(json.dumps(dict(cases=cases, captions=CAPTIONS), indent=1) + "\n")


if __name__ == "__main__":
    main()
