"""A plain Hugging Face Trainer over stored prompt rows, the peer of `benchmarks/training.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from metatoken.model.module import MetaTokenModule
from metatoken.tasks.examples import Example
from metatoken.tasks.task import find_task


def whole(example: Example) -> torch.Tensor:
    """Token ids of a row with its words."""
    return torch.from_numpy(np.concatenate([example.words, example.ids]))


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Stored rows: one for each target and prompt, drawn without repeats."""

    def __init__(self, module: MetaTokenModule, split: Any, count: int, seed: int = 0) -> None:
        histories, builder, self.depth = split.train.sequences(), module.builder, module.vocabulary.depth
        pairs = [(u, j) for u, n in enumerate(histories.lengths.tolist()) for j in range(1, n)]
        prompts = find_task("sequential").seen
        rng = np.random.default_rng(seed)
        self.rows = []
        for number in rng.permutation(len(pairs) * len(prompts))[:count]:
            user, at = pairs[number // len(prompts)]
            items = histories[user][max(0, at - module.builder.max_history) : at + 1]
            example = builder.causal(prompts[number % len(prompts)], None, items, len(items) - 1)
            self.rows.append(whole(example))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"ids": self.rows[number], "depth": self.depth}


def pad(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pads on the right; only the target's tokens are labels."""
    ids = pad_sequence([r["ids"] for r in rows], batch_first=True, padding_value=0)
    lengths = torch.tensor([len(r["ids"]) for r in rows])[:, None]
    place = torch.arange(ids.shape[1])[None]
    mask = place < lengths
    target = mask & (place >= lengths - rows[0]["depth"])
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": torch.where(target, ids, -100)}


class PeerClock(transformers.TrainerCallback):
    """As `Clock`, for the peer."""

    def __init__(self, warmup: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.warmup, self.seconds, self.timed_steps = warmup, 0.0, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002, D102
        if state.global_step == self.warmup:
            self.begin = self.clock()
        elif state.global_step > self.warmup:
            self.timed_steps = state.global_step - self.warmup
            self.seconds = self.clock() - self.begin


def train_peer(
    rows: Rows,
    module: MetaTokenModule,
    batch_size: int,
    warmup: int,
    rate: float,
    decay: float,
    now: Callable[[], float],
) -> tuple[Any, PeerClock]:
    torch.manual_seed(0)
    config = module.network.backbone.bare().config
    model = type(module.network.backbone.bare())(config)
    model.resize_token_embeddings(len(module.tokenizer) + module.vocabulary.n_tokens, mean_resizing=False)
    clock = PeerClock(warmup, now)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch_size, num_train_epochs=1, learning_rate=rate,
            lr_scheduler_type="cosine", warmup_steps=20, weight_decay=decay, max_grad_norm=1.0, use_cpu=True,
            save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, remove_unused_columns=False,
            seed=0,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=pad, callbacks=[clock]
        )
        trainer.train()
    return model, clock


@torch.no_grad()
def peer_loss(model: Any, module: MetaTokenModule, split: Any, limit: int) -> float:
    """Negative log-likelihood of validation items by the peer, each token among its siblings in the trie."""
    model.eval()
    index, base = module.network.index, len(module.tokenizer)
    offsets = module.vocabulary.level_offsets
    targets, history = split.targets("validation"), split.history("validation")
    order = np.argsort(history.lengths[targets.users], kind="stable")
    if limit < len(order):
        order = order[np.sort(np.random.default_rng(0).choice(len(order), limit, replace=False))]
    template, total = find_task("sequential").templates[0], 0.0
    for at in range(0, len(order), 32):
        chosen = order[at : at + 32]
        examples = []
        for user, item in zip(targets.users[chosen], targets.items[chosen].tolist(), strict=True):
            seen = history[user][-module.builder.max_history :]
            examples.append(module.builder.causal(template, None, np.append(seen, item), len(seen)))
        batch = pad([{"ids": whole(e), "depth": index.depth} for e in examples])
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        state = torch.tensor([len(e.words) + int(e.states[0]) for e in examples])
        item = torch.from_numpy(targets.items[chosen].astype(np.int64))
        for level in range(index.depth):
            nodes = index.path[item, level]
            own = logits[torch.arange(len(state)), state + level, base + offsets[level] : base + offsets[level + 1]]
            ids, real = index.children_of(nodes)
            scores = own.gather(1, index.code[ids].clamp_min(0).long()).masked_fill(~real, -torch.inf)
            column = (index.choice[item, level].long() - index.first_child[nodes.long()].long())[:, None]
            total -= float(torch.log_softmax(scores, 1).gather(1, column).sum())
    return total / len(order)
