"""Run by test_export.py in a process that cannot import metatoken: uses exported folders with transformers alone.

Reads `[[folder, history, k], ...]` from stdin, writes what was found in each folder as JSON.
"""

import contextlib
import importlib.util
import io
import json
import os
import sys
from pathlib import Path

sys.modules["metatoken"] = None  # any import of it now fails

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer  # noqa: E402


def script(folder):
    spec = importlib.util.spec_from_file_location("recommend", f"{folder}/recommend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generate(folder, recommender, history, k):
    meta = recommender.meta
    loader = AutoModelForSeq2SeqLM if meta["encoder_decoder"] else AutoModelForCausalLM
    model, tokenizer = loader.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows = [recommender.rows[item] for item in history]
    text = meta["words"] + "".join(recommender.items[row]["tokens"] for row in rows)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] + meta["end"]
    start = 1 if meta["encoder_decoder"] else len(ids)
    out = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
        num_beams=k, num_return_sequences=k, max_new_tokens=meta["depth"], length_penalty=0.0,
        renormalize_logits=True, prefix_allowed_tokens_fn=recommender.allowed_tokens(start),
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    return {
        "same_ids": ids == recommender.prompt(rows)[0],
        "tokens": ["".join(tokenizer.convert_ids_to_tokens(row)) for row in out.sequences[:, start:]],
        "scores": out.sequences_scores.tolist(),
    }


def run_readme(folder):
    """What the Python blocks of the README print, typed one after the other in the folder."""
    os.chdir(folder)
    sys.modules.pop("recommend", None)  # that of another folder
    blocks = [part.split("```")[0] for part in Path("README.md").read_text().split("```python\n")[1:]]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec("\n".join(blocks), {"__name__": "__main__"})  # noqa: S102
    return out.getvalue()


def main():
    torch.set_num_threads(1)
    sys.path.insert(0, "")  # as in an interactive session
    found = []
    for folder, history, k in json.load(sys.stdin):
        recommender = script(folder).Recommender(folder)
        row = {"recommended": [[one.item, one.title, one.score] for one in recommender.recommend(history, k)]}
        row["again"] = [one.item for one in recommender.recommend(history, k, exclude_seen=False, width=k)]
        if not recommender.meta["leaf"]:
            row |= generate(folder, recommender, history, k)
        found.append(row | {"readme": run_readme(folder)})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
