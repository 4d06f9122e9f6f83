"""The word embeddings of a CLIP repository in GloVe's text format, so that WMD works on the small world's words.

    python tools/word_vectors.py assets/emoji-scenes/clip vectors.txt
"""

import json
import pathlib
import sys

from safetensors.torch import load_file

repository, output = map(pathlib.Path, sys.argv[1:])
vocabulary = json.loads((repository / "vocab.json").read_text())
vectors = load_file(repository / "model.safetensors")["text_model.embeddings.token_embedding.weight"].float()
with output.open("w") as file:
    for token, index in vocabulary.items():
        word = token.removesuffix("</w>")
        if token.endswith("</w>") and len(word) > 1 and word.isalpha():
            print(word, *(f"{value:.6g}" for value in vectors[index].tolist()), file=file)
