"""What transformers makes of transparent files with the small world's models.

    python tools/reference/transparency.py        writes tests/goldens/score/transparency.{json,safetensors}

The processors are given the files as Pillow opens them. `image_embeds`: a row a file, in the order of "files".
"""

import json
import pathlib
import sys

# A neighbour here is called like the package that transformers imports.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BertTokenizer, BlipForConditionalGeneration, CLIPModel, CLIPTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORLD = ROOT / "assets/emoji-scenes"
GOLDENS = ROOT / "tests/goldens"
PROMPT = "a picture of"
FILES = ["rgba.png", "grey-alpha.png", "palette-transparent.png", "rgb-transparent.png", "lossless-alpha.webp",
         "transparent.gif", "rgba.tiff"]


@torch.no_grad()
def main():
    pictures = [Image.open(GOLDENS / "image/files" / name) for name in FILES]
    scene = ROOT / "../shared/data/cases/transparency/transparent_bg.png"
    if scene.exists():  # a scene on a transparent ground, which the tests' caption is about
        (GOLDENS / "score/transparent-scene.png").write_bytes(scene.read_bytes())
    pictures.append(Image.open(GOLDENS / "score/transparent-scene.png"))

    clip = CLIPModel.from_pretrained(WORLD / "clip", dtype=torch.float32).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(WORLD / "clip")(pictures, return_tensors="pt")["pixel_values"]
    embeds = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
    save_file({"image_embeds": embeds.contiguous()}, GOLDENS / "score/transparency.safetensors")

    captioner = BlipForConditionalGeneration.from_pretrained(WORLD / "captioner", dtype=torch.float32).eval()
    pixels = BlipImageProcessorPil.from_pretrained(WORLD / "captioner")(pictures[-1:], return_tensors="pt")
    tokenizer = BertTokenizer.from_pretrained(WORLD / "captioner")
    prompt = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    prompt[:, 0] = captioner.config.text_config.bos_token_id
    ids = captioner.generate(**pixels, input_ids=prompt, num_beams=3, max_length=20)  # cuts the prompt's end token
    caption = tokenizer.decode(ids[0], skip_special_tokens=True).removeprefix(PROMPT).strip()
    text = CLIPTokenizerFast.from_pretrained(WORLD / "clip")("A photo depicts " + caption, return_tensors="pt")
    words = clip.text_projection(clip.text_model(**text).pooler_output)
    clipscore = 2.5 * torch.clamp(torch.cosine_similarity(embeds[-1:], words), min=0).item()
    result = {"files": FILES + ["transparent-scene.png"], "caption": caption, "clipscore": round(clipscore, 6)}
    (GOLDENS / "score/transparency.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
