"""Untrained models over random catalogues, for the benchmarks of decoding: random weights cost what trained ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metatoken.model.backbone.backbone import Backbone
from metatoken.model.backbone.presets import build_preset
from metatoken.model.network import Network
from metatoken.model.settings import ModelSettings
from metatoken.tasks.batch import Batch

WORDS = 64  # text tokens
ENTITY = 64  # width of the item embeddings
PROMPT = 4  # words before the history


@dataclass(frozen=True)
class Tokens:
    """What a network needs of a vocabulary: items only."""

    item_codes: np.ndarray
    level_offsets: np.ndarray
    centroids: np.ndarray
    item_vectors: np.ndarray

    @property
    def item_tokens(self) -> np.ndarray:
        """Token ids of each item, -1 padded."""
        return np.where(self.item_codes >= 0, self.item_codes + self.level_offsets[:-1], -1)


def random_codes(n: int, levels: list[int], seed: int, *, ragged: bool = False) -> np.ndarray:
    """Distinct tuples in random order; with `ragged`, a third of the rows is cut where that leaves them distinct."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(int(np.prod(levels)), n, replace=False)
    codes = np.stack(np.unravel_index(cells, levels), axis=1).astype(np.int32)
    if ragged:
        taken = {tuple(row) for row in codes.tolist()}
        for row in np.flatnonzero(rng.random(n) < 1 / 3):
            length = int(rng.integers(1, len(levels)))
            short = (*codes[row, :length].tolist(), *[-1] * (len(levels) - length))
            if short not in taken:
                taken.add(short)
                codes[row] = short
    return codes


def make_network(
    codes: np.ndarray,
    levels: list[int],
    *,
    backbone: str = "gpt2-preset",
    dim: int = 128,
    layers: int = 3,
    heads: int = 4,
    seed: int = 0,
    **options: Any,
) -> Network:
    """A network in evaluation mode; `options` go to `ModelSettings`."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    size = {"dim": dim, "layers": layers, "heads": heads, "dropout": 0.0, "positions": 512}
    tokens = Tokens(
        codes,
        np.concatenate([[0], np.cumsum(levels)]),
        rng.standard_normal((sum(levels), ENTITY), dtype=np.float32),
        rng.standard_normal((len(codes), ENTITY), dtype=np.float32),
    )
    model = Backbone(build_preset(backbone, WORDS, size))
    vocabulary: Any = tokens
    settings = ModelSettings(**options)
    return Network(model, vocabulary, settings, base=WORDS, input_norm=dim**0.5).eval()


def make_prompts(network: Network, users: int, history: int, seed: int) -> tuple[Batch, list[np.ndarray]]:
    """Words and a history of random items for each user; also the histories."""
    rng = np.random.default_rng(seed)
    seen = [rng.choice(network.index.n_items, history, replace=False) for _ in range(users)]
    rows, leaves = [], []
    for items in seen:
        ids, own = [5, 6, 7, 8][:PROMPT], [-1] * PROMPT
        for item in items:
            tokens = [t for t in network.items.tokens[item].tolist() if t >= 0]
            ids = ids + [network.base + t for t in tokens]
            own += [-1] * (len(tokens) - 1) + [int(item)]
        rows.append(ids)
        leaves.append(own)
    length = max(map(len, rows))
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    none = torch.zeros(0, dtype=torch.int64)
    batch = Batch(
        input_ids=torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        attention_mask=mask,
        leaves=torch.tensor([row + [-1] * (length - len(row)) for row in leaves]),
        state_row=none, state_position=none, targets=none, task=none,
    )  # fmt: skip
    return batch, seen
