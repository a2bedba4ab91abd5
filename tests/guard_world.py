"""Inputs of the guard and of the old artifacts: a small log with texts, its item table, a tiny Llama, configurations.

Nothing of metatoken is used here, so that a change of its own generator or tokenizer cannot change these inputs.
Run as a script, it writes them: `python tests/guard_world.py FOLDER USERS ITEMS DIM SEED LEVELS`.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from pathlib import Path
from typing import Any

ADJECTIVES = ("Amber", "Bright", "Calm", "Dusty", "Early", "Faded", "Green", "Hollow", "Iron", "Jolly")
NOUNS = ("Harbour", "Lantern", "Meadow", "River", "Signal", "Tower", "Valley", "Winter")
GENRES = ("drama", "comedy", "travel", "history")
PRAISE = ("a slow start", "a fine ending", "warm colours", "a story that stays", "too many words", "music I hummed")
MOODS = ("after work", "on a rainy day", "with the children", "twice in a row", "on a long train ride")
WHY = ("like others you finished", "because of its music", "for its calm pictures", "since friends of yours liked it")
LOG, ITEMS, BACKBONE = "log.csv", "items.csv", "llama"
TEXTS = ("rating", "review", "summary", "explanation")
ANSWER_TASKS = ("rating", "rating_text", "explanation", "review_summary", "review_rating", "review_text")


def user_ids(count: int) -> list[str]:
    """Raw ids of the users."""
    return [f"user{row:03d}" for row in range(count)]


def item_ids(count: int) -> list[str]:
    """Raw ids of the items."""
    return [f"item{row:03d}" for row in range(count)]


def titles(count: int) -> list[str]:
    """A title for each item; they differ as long as there are at most 80."""
    return [f"{ADJECTIVES[row % len(ADJECTIVES)]} {NOUNS[(row * 3) % len(NOUNS)]} {row}" for row in range(count)]


def write_items(path: Path, count: int) -> None:
    """The item table: `item,title,categories,price`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["item", "title", "categories", "price"])
        for row, (item, title) in enumerate(zip(item_ids(count), titles(count), strict=True)):
            table.writerow([item, title, GENRES[row % len(GENRES)], 5 + row])


def write_log(path: Path, users: int, items: int, seed: int) -> None:
    """The log: half of the users walk up a ring of items, half walk down, with jumps; every row has all texts."""
    draw, ids, names = random.Random(seed), item_ids(items), titles(items)  # noqa: S311
    columns = ["user", "item", "time", *TEXTS]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        for row, user in enumerate(user_ids(users)):
            place, seen = draw.randrange(items), []
            for step in range(draw.randint(7, 11)):
                while place in seen:
                    jump = draw.randrange(items) if draw.random() < 0.2 else 1
                    place = (place + (jump if row % 2 else -jump)) % items
                seen.append(place)
                liked = 1 + 3 * ((place + row) % 2) + draw.choice((0, 0.5, 1))  # which items depends on the user
                mood, praise = draw.choice(MOODS), draw.choice(PRAISE)
                told = {"user": user, "item": ids[place], "time": 1_600_000_000 + 1000 * row + step, "rating": liked}
                told |= {"review": f"I took {names[place]} {mood}: {praise}.", "summary": f"{praise} {mood}"}
                table.writerow(told | {"explanation": f"{names[place]}, {draw.choice(WHY)}"})


def write_backbone(folder: Path, items: int, dim: int) -> None:
    """A tiny Llama with random weights and a byte-level tokenizer, as a plain Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=[*special.values()], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*titles(items), *MOODS, *PRAISE, *WHY] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=dim, intermediate_size=2 * dim, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, initializer_range=0.2, tie_word_embeddings=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def configurations(dim: int, seed: int, levels: list[int]) -> dict[str, dict[str, Any]]:
    """The three runs by name; every path is relative to the folder that `write_world` wrote."""
    data = {"path": LOG, "user": "user", "item": "item", "time": "time"}
    listed = {"items": ITEMS, "item_id": "item", "title": "title", "categories": "categories"}
    preset = {"dim": dim, "layers": 1, "heads": 2, "dropout": 0.1, "positions": 160}
    common: dict[str, Any] = {
        "tokens": {"levels": levels, "dim": 8, "walks_per_node": 4, "walk_length": 10},
        "trainer": {"max_epochs": 6, "batch_size": 16, "accelerator": "cpu", "devices": 1},
        "evaluate": {"texts": 10},
        "seed": seed,
        "threads": 1,
    }
    model = {"max_history": 12, "learning_rate": 5e-3, "warmup_steps": 2}
    lora = {"backbone": BACKBONE, "lora": {"r": 2, "lora_alpha": 4}, "titles": True, "title_tokens": 4}
    answering = {"tasks": ["sequential", *ANSWER_TASKS], "preset": preset, "max_text": 16, "learning_rate": 0.02}
    answering |= {"weights": {"text": 1.0}}  # so that the texts are not all the same
    longer = {"trainer": common["trainer"] | {"max_epochs": 12}}
    return {
        "ranking": common | {"data": data | listed, "model": model | {"preset": preset}},
        "answering": common
        | {"data": data | listed | {name: name for name in TEXTS}, "model": model | answering}
        | longer,
        "lora": common | {"data": data | listed, "model": model | lora | {"user_tokens": "prefix"}},
    }


def write_world(folder: Path, users: int, items: int, dim: int, seed: int, levels: list[int]) -> None:
    """Writes the log, the item table, the backbone and `<run>.yaml` of each run.

    Args:
        folder: Where to; it is made.
        users: How many users.
        items: How many items, at least 24.
        dim: Width of the models.
        seed: Of the log and of the runs.
        levels: Of the tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_log(folder / LOG, users, items, seed)
    write_items(folder / ITEMS, items)
    write_backbone(folder / BACKBONE, items, dim)
    for name, config in configurations(dim, seed, levels).items():
        (folder / f"{name}.yaml").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")  # JSON is YAML


if __name__ == "__main__":
    write_world(Path(sys.argv[1]), *map(int, sys.argv[2:6]), levels=[int(size) for size in sys.argv[6].split(",")])
