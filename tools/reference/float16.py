"""What transformers keeps in float32 when a model is loaded in float16: python tools/reference/float16.py

Writes tests/goldens/models/float16.safetensors: the tiny BLIP-2 models of multimodal.py, loaded with dtype=float16. What
_keep_in_fp32_modules lists (the queries and the Q-Former, T5's output matrices) is multiplied by SCALE, so that its
results are beyond float16's range and only float32 holds them.
    NAME.image_embeds, NAME.query_states, NAME.logits      of the inputs in NAME/golden.safetensors
    NAME.wide                                              in the metadata: the tensors that are float32, as JSON
"""

import json
import pathlib
import shutil
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import Blip2ForConditionalGeneration

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "models"
SCALE = 3e5
SCALED = ("output_query.dense.weight", "DenseReluDense.wo.weight")


def of(name):
    golden = load_file(GOLDENS / name / "golden.safetensors")
    tensors = load_file(GOLDENS / name / "model.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(GOLDENS / name / "config.json", folder)
        scaled = {k: v * SCALE if k.endswith(SCALED) else v for k, v in tensors.items()}
        save_file(scaled, f"{folder}/model.safetensors", {"format": "pt"})
        model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float16).eval()
    wide = sorted(key for key, value in model.state_dict().items() if value.dtype == torch.float32)
    pixels, ids = golden["input.pixel_values"].half(), golden["input.input_ids"]
    call = dict(pixel_values=pixels, input_ids=torch.cat([torch.full((len(ids), 5), 98), ids], 1))
    if "input.decoder_input_ids" in golden:
        call["decoder_input_ids"] = golden["input.decoder_input_ids"]
    with torch.no_grad():
        features = model.get_image_features(pixels, return_dict=True)
        result = model(**call)
    values = dict(image_embeds=features.last_hidden_state, logits=result.logits,
                  query_states=features.qformer_outputs.last_hidden_state)
    for value in values.values():
        assert value.isfinite().all()
    print(name, {k: v.dtype for k, v in values.items()}, wide)
    return {f"{name}.{k}": v.contiguous() for k, v in values.items()}, {f"{name}.wide": json.dumps(wide)}


def main():
    torch.set_num_threads(1)
    tensors, metadata = {}, {"scale": str(SCALE)}
    for name in ("blip2-opt", "blip2-flan-t5"):
        own, its = of(name)
        tensors |= own
        metadata |= its
    save_file(tensors, GOLDENS / "float16.safetensors", metadata)


if __name__ == "__main__":
    main()
