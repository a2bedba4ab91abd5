"""Prompt templates: words with named slots, kept as data, encoded once and spliced with token ids.

A template is words that come *before* the items, so that a causal model can read a history in one pass and be
supervised at every item (DESIGN decision 6). Slots:

- `{user}`  the tokens of the user. A part in `[...]` is used only where a user token is given.

The history and the target are not slots: items follow the words directly, one after the other, with nothing between
them, so the state that predicts an item always stands right before that item's first token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from metatoken.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TASKS = ("sequential", "direct")
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
_OPTIONAL = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Template:
    """One way to word a task.

    Attributes:
        id: Name that is unique over all tasks, e.g. `seq-1`.
        task: The task family.
        seen: Whether it is used for training; an unseen one only tests that the model reads words, not ids.
        text: The words with slots.
    """

    id: str
    task: str
    seen: bool
    text: str

    def words(self, with_user: bool) -> tuple[str, str | None]:
        """The words before and after the user slot; the second is None where the prompt has no user."""
        text = _OPTIONAL.sub(r"\1" if with_user else "", self.text)
        before, slot, after = text.partition("{user}")
        if slot and not with_user:
            raise ArgumentError("with_user", f"template {self.id} cannot do without a user token")
        return before, after if slot else None


@cache
def templates(task: str) -> tuple[Template, ...]:
    """All templates of a task, seen ones first.

    Raises:
        ArgumentError: The task is unknown.
    """
    if task not in TASKS:
        raise ArgumentError("task", f"expected one of {', '.join(TASKS)}, got {task!r}")
    text = resources.files("metatoken.tasks").joinpath("templates", f"{task}.yaml").read_text(encoding="utf-8")
    return tuple(Template(task=task, **entry) for entry in yaml.safe_load(text))


def seen_templates(task: str) -> tuple[Template, ...]:
    """The templates that training draws from."""
    return tuple(t for t in templates(task) if t.seen)


def find_template(template_id: str) -> Template:
    """The template with this id.

    Raises:
        ArgumentError: No task has it.
    """
    known = {t.id: t for task in TASKS for t in templates(task)}
    if template_id not in known:
        raise ArgumentError("template", f"expected one of {', '.join(known)}, got {template_id!r}")
    return known[template_id]


def train_tokenizer(tasks: Iterable[str], texts: Iterable[str] = (), vocabulary_size: int = 2048) -> Any:
    """A byte-level BPE tokenizer trained on the prompts, for presets that are not pretrained.

    Args:
        tasks: Task families whose seen templates it learns from.
        texts: Further text of the log, e.g. titles (train only).
        vocabulary_size: Largest number of text tokens.

    Returns:
        A `transformers.PreTrainedTokenizerFast`; any text can be encoded, as bytes in the worst case.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompts = [_OPTIONAL.sub(r"\1", t.text).replace("{user}", "") for task in tasks for t in seen_templates(task)]
    tokenizer.train_from_iterator([*prompts * 4, *texts], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS
    )


class PromptEncoder:
    """Turns a template, user tokens and item tokens into ids by splicing, never by re-tokenising strings.

    Token id space: text ids of the tokenizer first, then OOV tokens: `base + local token id`, where `base` is the
    length of the tokenizer before the OOV tokens are added to it.

    Args:
        tokenizer: A Hugging Face tokenizer without the OOV tokens.
        item_tokens: int64 `[n_items, depth]` local token ids, -1 padded.
        user_tokens: int64 `[n_users, depth]` local token ids, -1 padded.
        encoder_decoder: The target goes to a decoder, so a prompt ends with the tokenizer's end token.
        written: Ids of every item as it stands in a history, its OOV tokens first; None writes these alone.
    """

    def __init__(
        self,
        tokenizer: Any,
        item_tokens: np.ndarray,
        user_tokens: np.ndarray,
        *,
        base: int,
        encoder_decoder: bool,
        written: TokenRows | None = None,
    ) -> None:
        self.base = base
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self.encoder_decoder = encoder_decoder
        self._tokenizer = tokenizer
        empty = list(tokenizer("")["input_ids"])
        ends = {tokenizer.eos_token_id, getattr(tokenizer, "sep_token_id", None)} - {None}
        self._head = np.array([i for i in empty if i not in ends], dtype=np.int64)
        self._tail = np.array([tokenizer.eos_token_id] if encoder_decoder else [], dtype=np.int64)
        self.items = TokenRows(item_tokens, base)
        self.written = self.items if written is None else written
        self.users = TokenRows(user_tokens, base)
        self._cache: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray | None]] = {}

    def prompt(self, template: Template, user_ids: np.ndarray | None) -> np.ndarray:
        """Ids of the words of a template, int64 `[length]`; `user_ids` are ids of this encoder's space, or None."""
        key = (template.id, user_ids is not None)
        if key not in self._cache:
            before, after = template.words(user_ids is not None)
            self._cache[key] = (
                np.concatenate([self._head, self._words(before)]),
                None if after is None else self._words(after),
            )
        first, second = self._cache[key]
        return first if second is None or user_ids is None else np.concatenate([first, user_ids, second])

    def end(self) -> np.ndarray:
        """What closes an encoder prompt; empty for causal models."""
        return self._tail

    def _words(self, text: str) -> np.ndarray:
        return np.array(self._tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)


class TokenRows:
    """The token ids of many entities as CSR, so that ragged codes cost nothing.

    Args:
        tokens: int64 `[n, depth]` local token ids, -1 padded at the end of a row.
        base: Added to every id.
    """

    def __init__(self, tokens: np.ndarray, base: int) -> None:
        valid = tokens >= 0
        self.lengths = valid.sum(axis=1).astype(np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.ids = tokens[valid].astype(np.int64) + base

    def one(self, row: int) -> np.ndarray:
        """Ids of one entity, int64 `[its depth]`."""
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def many(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids of several entities in a row, and the end of each within them: int64 `[sum depth]`, `[len(rows)]`."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        if len(rows) == 0:
            return np.zeros(0, dtype=np.int64), ends
        starts = np.repeat(self.offsets[rows] - (ends - lengths), lengths)
        return self.ids[starts + np.arange(ends[-1])], ends
