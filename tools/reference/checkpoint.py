"""Checkpoint files as torch, safetensors and huggingface_hub write them, and hostile ones.

    python tools/reference/checkpoint.py                 writes tests/goldens/checkpoint/
    python tools/reference/checkpoint.py check FOLDER    loads what readback's writer wrote, with safetensors and transformers

Values follow one rule, which the tests know: element i of a tensor is (7 i + 3) mod 23 - 11, or its parity for booleans,
its magnitude for unsigned ones.
"""

import collections
import json
import os
import pathlib
import pickle
import shutil
import sys
import zipfile

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "checkpoint"
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def values(*shape, dtype=torch.float32):
    count = int(torch.tensor(shape).prod()) if shape else 1
    line = (torch.arange(count) * 7 + 3) % 23 - 11
    if dtype == torch.bool:
        line = line % 2
    elif dtype == torch.uint8:
        line = line.abs()
    return line.to(dtype).reshape(shape)


def every_dtype():
    return {f"of.{name}": values(3, 5, dtype=dtype) for name, dtype in DTYPES.items()}


def write_safetensors():
    tensors = every_dtype() | {"scalar": values(), "empty": values(0, 4), "four": values(2, 1, 3, 2)}
    save_file(tensors, GOLDENS / "every_dtype.safetensors", metadata={"note": "grüße 語"})
    state = {f"layer.{i}.weight": values(8, 4 + i) for i in range(6)}
    (GOLDENS / "sharded").mkdir()
    save_torch_state_dict(state, GOLDENS / "sharded", max_shard_size=400)


class Model(torch.nn.Module):
    """Tied weights, a buffer, and a parameter that is a transposed view of a larger storage."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(6, 4)
        self.head = torch.nn.Linear(4, 6, bias=False)
        self.register_buffer("position_ids", torch.arange(5).expand((1, -1)))
        self.embed.weight.data = values(6, 4)
        self.head.weight = self.embed.weight


def write_pickles():
    state = Model().state_dict()  # an OrderedDict with a `_metadata` attribute
    whole = values(10, 6)
    state["view.transposed"] = whole.t()
    state["view.row"] = whole[7]
    state["view.steps"] = whole[1::3, ::2]
    state["parameter"] = torch.nn.Parameter(values(2, 3))
    state["scalar"] = values()
    state["empty"] = values(0, 4)
    state |= every_dtype()
    folder = GOLDENS / "pickled"
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    torch.save(dict(state), GOLDENS / "protocol4.bin", pickle_protocol=4)
    torch.save(state, GOLDENS / "before_torch_1_6.bin", _use_new_zipfile_serialization=False)
    torch.save(values(9, dtype=torch.int64), GOLDENS / "bare.pth")
    nested = {
        "state": {0: {"step": 3, "exp_avg": values(2, 2)}, 1: {"step": 3, "exp_avg": values(3)}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "name": "all", "on": True, "off": None, "params": [0, 1]}],
        "history": [values(2), (values(3), values(4))],
        "large": [2**40, -(2**40), -1, 70000, -70000, 300],
    }
    torch.save(nested, GOLDENS / "nested.pth")
    folder = GOLDENS / "pickled-shards"
    folder.mkdir()
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    weight_map = {}
    for i, name in enumerate(names):
        shard = {f"layer.{2 * i + j}.weight": values(3, 4 + i + j) for j in range(2)}
        torch.save(shard, folder / name)
        weight_map |= dict.fromkeys(shard, name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


class Calls:
    """Unpickling this calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_hostile():
    folder = GOLDENS / "hostile"
    folder.mkdir()
    mark = "touch readback-ran-a-pickle"
    torch.save({"weight": values(2), "code": Calls(os.system, mark)}, folder / "os_system.bin")
    torch.save({"weight": values(2), "code": Calls(eval, f"__import__('os').system('{mark}')")}, folder / "eval.bin")
    torch.save(collections.Counter(a=1), folder / "other_class.bin")
    torch.save(values(4).numpy(), folder / "numpy.bin")
    torch.save(Calls(os.system, mark), folder / "os_system_legacy.bin", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "compressed.bin", "w") as archive:
        record = zipfile.ZipInfo("archive/data.pkl")
        archive.writestr(record, pickle.dumps({"a" * 100: 1}, protocol=2), zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "no_pickle.bin", "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/version"), "3")


def check(folder):
    folder = pathlib.Path(folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}, file.metadata()
    tensors = load_file(folder / "model.safetensors")
    expected = every_dtype() | {"scalar": values(), "empty": values(0, 4), "transposed": values(3, 5).t()}
    assert tensors.keys() == expected.keys(), tensors.keys()
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor), name
    from transformers import CLIPTextModel

    model, report = CLIPTextModel.from_pretrained(folder / "clip", output_loading_info=True)
    assert not any(report.values()), report
    assert model.dtype == torch.float16, model.dtype
    print("readback's files load in safetensors and transformers")


def main():
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["check"]:
        return check(sys.argv[2])
    shutil.rmtree(GOLDENS, ignore_errors=True)
    GOLDENS.mkdir(parents=True)
    write_safetensors()
    write_pickles()
    write_hostile()


if __name__ == "__main__":
    main()
