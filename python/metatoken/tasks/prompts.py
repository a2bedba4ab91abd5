"""Prompts as token ids: words and OOV tokens spliced together, never strings that are tokenized again.

A ranking template is words that come *before* the items, so that a causal model can read a history in one pass and be
supervised at every item (docs/design.md, decision 6). Items follow the words directly, one after the other, with
nothing between them, so the state that predicts an item always stands right before that item's first token.

A history is *compact* or *written*. In a compact one an item is its last token alone, which is read as the item's own
vector, and only an answer is written token by token. A written one has all tokens of every item, as published.

With titles an item is written as its OOV tokens, then the words of its title, then a line end. The title stands
*behind* the tokens, so the state that predicts an item never has read its title, while every later position has. The
line end closes every item, with a title or without, so one kind of state predicts the next item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metatoken.artifacts import read_json
from metatoken.data.ragged import Ragged, offsets_of
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from metatoken.tasks.task import Template

    Ids = np.ndarray

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
ENDS = ("\n", ";", ".")  # what closes a title: the first that the tokenizer knows; a T5 has no line end
PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")  # classes that read tokenizer.json and add nothing
REPEATS = 4  # prompts are few beside the texts of a log, and every one of them is read


def train_tokenizer(tasks: Iterable[str], texts: Iterable[str] = (), vocabulary_size: int = 2048) -> Any:
    """A byte-level BPE tokenizer trained on the prompts, for presets that are not pretrained.

    Args:
        tasks: Names of the tasks whose seen templates it learns from.
        texts: Further text of the log, e.g. titles (train only).
        vocabulary_size: Largest number of text tokens.

    Returns:
        A `transformers.PreTrainedTokenizerFast`; any text can be encoded, as bytes in the worst case.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompts = [text for task in tasks for text in find_task(task).corpus()]
    tokenizer.train_from_iterator([*prompts * REPEATS, *texts], trainer)
    return _of_preset(tokenizer)


def preset_tokenizer(text: str) -> Any:
    """The tokenizer of `train_tokenizer`, out of what `tokenizer.backend_tokenizer.to_str()` gave."""
    from tokenizers import Tokenizer

    return _of_preset(Tokenizer.from_str(text))


def _of_preset(tokenizer: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS
    )


def load_tokenizer(folder: Path) -> Any:
    """A tokenizer that `save_pretrained` has written.

    Most need no class of their own, so that they are read without `AutoTokenizer`, which imports the configuration of
    every architecture: almost a second of processor time.
    """
    if read_json(folder / "tokenizer_config.json").get("tokenizer_class") in PLAIN:
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(folder)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


class PromptEncoder:
    """Turns a template, user tokens and item tokens into ids by splicing.

    Token id space: text ids of the tokenizer first, then OOV tokens: `base + OOV id`, where `base` is the length of the
    tokenizer before the OOV tokens are added to it.

    Args:
        tokenizer: A Hugging Face tokenizer without the OOV tokens.
        item_tokens: int64 `[n_items, depth]` OOV ids, -1 padded.
        user_tokens: int64 `[n_users, depth]` OOV ids, -1 padded.
        base: Added to every OOV id.
        encoder_decoder: The target or answer goes to a decoder, so a prompt ends with the tokenizer's end token.
        titles: Titles of the items `[n_items]`, "" where unknown; they stand behind an item's tokens in histories.
        title_tokens: Text tokens of a title at most; the rest is cut off.
        compact: Whether items of a history are their last tokens alone.
        room: Token ids of a question at most, for which its feature is cut; None knows no bound.

    Attributes:
        depth: OOV tokens of an item at most.
        n_items: Items.
        titled: Whether titles are written.
        items: Token ids of each item row.
        written: The same with titles, or `items` itself.
        read: Token ids that stand for each item row in a history; `written` unless it is compact.
        lead: OOV tokens among them, int64 `[n_items]`.
        forms: Where histories are compact, `read` of each item row, then what each is written as in an answer.
        form_lead: OOV tokens that each of them stands for, int64 `[2 n_items]`.
        users: Token ids of each user row.
    """

    def __init__(
        self,
        tokenizer: Any,
        item_tokens: Ids,
        user_tokens: Ids,
        *,
        base: int,
        encoder_decoder: bool,
        titles: Sequence[str] | None = None,
        title_tokens: int = 12,
        compact: bool = False,
        room: int | None = None,
    ) -> None:
        self.base, self.depth = base, item_tokens.shape[1]
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self.end_id = int(tokenizer.eos_token_id)
        self.encoder_decoder, self.room = encoder_decoder, room
        self._tokenizer = tokenizer
        empty = list(tokenizer("")["input_ids"])
        ends = {tokenizer.eos_token_id, getattr(tokenizer, "sep_token_id", None)} - {None}
        self.head = np.array([i for i in empty if i not in ends], dtype=np.int64)
        self.end = np.array([tokenizer.eos_token_id] if encoder_decoder else [], dtype=np.int64)
        self.n_items, self.items = len(item_tokens), Ragged.padded(item_tokens, base)
        self.users = Ragged.padded(user_tokens, base)
        self.written = self.items if titles is None else self._titled(titles, title_tokens)
        self.compact, self.titled = compact, titles is not None
        self.lead = np.ones_like(self.items.lengths) if compact else self.items.lengths
        self.read = _cut(self.written, self.items.lengths - 1) if compact else self.written
        if compact:
            answers = self.written if self.titled else _cut(self.items, end=1)
            self.forms = Ragged(
                offsets_of(np.concatenate([self.read.lengths, answers.lengths])),
                np.concatenate([self.read.values, answers.values]),
            )
            self.form_lead = np.concatenate([self.lead, self.items.lengths])
        self._words: dict[str, Ids] = {}
        self._prompts: dict[tuple[str, bool], tuple[Ids, Ids, bool]] = {}

    def prompt(self, template: Template, user_ids: Ids | None) -> Ids:
        """Ids of the words of a ranking template, int64 `[length]`; `user_ids` are the user's token ids, or None."""
        return np.concatenate(self.prompt_parts(template, user_ids)[:2])

    def prompt_parts(self, template: Template, user_ids: Ids | None) -> tuple[Ids, Ids, int]:
        """The same in two parts: the words that all prompts of the template begin with, and the rest, never empty.

        The last of the three is the place in the rest of the user's last token, -1 where there is none.
        """
        key = (template.id, user_ids is not None)
        if key not in self._prompts:
            self._prompts[key] = self._parts(template, with_user=user_ids is not None)
        first, rest, shows_user = self._prompts[key]
        if not shows_user or user_ids is None:
            return first, rest, -1
        return first, np.concatenate([user_ids, rest]), len(user_ids) - 1

    def _parts(self, template: Template, *, with_user: bool) -> tuple[Ids, Ids, bool]:
        """Words before the user's tokens and behind them, and whether the template shows these."""
        pieces = template.pieces(frozenset({"user"} if with_user else ()))
        slot = next((place for place, (kind, _) in enumerate(pieces) if kind == "slot"), len(pieces))
        before, after = ([self.words(text) for _, text in part] for part in (pieces[:slot], pieces[slot + 1 :]))
        first = np.concatenate([self.head, *before])
        if slot == len(pieces):
            return first[:-1], first[-1:], False
        return first, np.concatenate([self.head[:0], *after]), True

    def only_words(self, template: Template) -> tuple[Ids, Ids]:
        """The words that every question of a template has, with nothing that they ask about, and -1 for each."""
        words = [self.words(name.rstrip()) for kind, name in template.pieces(template.required) if kind == "words"]
        ids = np.concatenate([self.head, *words, self.end]).astype(np.int64)
        return ids, np.full(len(ids), -1, dtype=np.int64)

    def words(self, text: str) -> Ids:
        """Ids of plain words, int64 `[length]`, without special tokens."""
        if text not in self._words:
            self._words[text] = np.array(text_ids(self._tokenizer, [text])[0], dtype=np.int64)
        return self._words[text]

    def _titled(self, titles: Sequence[str], limit: int) -> Ragged:
        """Every item with its title and a line end."""
        end = next(ids[-1:] for ids in (text_ids(self._tokenizer, [mark])[0] for mark in ENDS) if ids)
        words = text_ids(self._tokenizer, [f" {' '.join(title.split())}" if title.strip() else "" for title in titles])
        return Ragged.of([*own.tolist(), *ids[:limit], *end] for own, ids in zip(self.items, words, strict=True))


def _cut(rows: Ragged, begin: Ids | int = 0, end: int = 0) -> Ragged:
    """Rows without their first `begin` values, int64 `[n]` each or one for all, and their last `end`."""
    lengths, owners = rows.lengths, rows.owners
    place = np.arange(len(rows.values)) - rows.offsets[owners]
    begin = np.broadcast_to(begin, lengths.shape)
    kept = (place >= begin[owners]) & (place < lengths[owners] - end)
    return Ragged(offsets_of(lengths - begin - end), rows.values[kept])


def text_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Ids of texts, which may be a user's: what looks like a control token (`<eos>`) is text, too."""
    if not texts:
        return []
    found = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [list(ids) for ids in found]
