"""The tokenizer of the small world's Flamingo, LLaMA's kind: python tools/small_world_tokenizer.py

Writes tokenizer.json and tokenizer_config.json to recipes/emoji-scenes/flamingo. Its merges make every word of the small
world, which it takes from the captioner's vocabulary, one token; what else there may be is letters and bytes.
"""

import json
import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

RECIPES = pathlib.Path(__file__).resolve().parents[1] / "recipes/emoji-scenes"
ADDED = ["<fake_token_around_image>", "<image>"]


def llama_tokenizer(words, added):
    """Characters with byte fallback, and `words`, of which each letter is a merge; with the size of its vocabulary, in which
    the `added` tokens are not."""
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])}
    merges = []
    for token in ["▁"] + [chr(c) for c in range(33, 127)]:
        vocabulary.setdefault(token, len(vocabulary))
    for word in words:
        made = "▁"
        for letter in word:
            merges.append((made, letter))
            made += letter
            vocabulary.setdefault(made, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges)), unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in added])
    return tokenizer, len(vocabulary)


def main():
    lines = (RECIPES / "captioner/vocab.txt").read_text().split()
    words = [word for word in lines if word.isalpha() and (len(word) > 1 or word == "a")] + ["Caption", "Caption:"]
    tokenizer, size = llama_tokenizer(words, ADDED)
    folder = RECIPES / "flamingo"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                  pad_token="<unk>", additional_special_tokens=ADDED, clean_up_tokenization_spaces=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(size, "tokens and", len(ADDED), "added ones")


if __name__ == "__main__":
    main()
