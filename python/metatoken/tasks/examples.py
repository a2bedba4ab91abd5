"""Examples: one prompt with the positions it is supervised at.

A causal model reads `words item item ...`. The state right before an item's first token predicts that item, so one
pass supervises every item of a history. Where histories are compact an item is one position, and its tokens are
written at the end of a row alone, as an answer is: there the tokens behind the first one are supervised. An
encoder-decoder model reads `words item item` in its encoder and predicts one target from its decoder's first position,
where a rating is read, too; a text is written by its decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metatoken.tasks.batch import order

if TYPE_CHECKING:
    from metatoken.tasks.prompts import PromptEncoder
    from metatoken.tasks.task import Template

NOTHING = np.zeros(0, dtype=np.int64)
NO_RATING = np.zeros(0, dtype=np.float32)
WORDS = 64  # positions before the longest history, where positions are learned and histories compact


class Example(NamedTuple):
    """One row of a batch.

    Attributes:
        ids: int64 `[length]` token ids (text and OOV), behind `words`.
        items: int64 `[length]` item row whose last OOV token stands here, else -1: where the item's vector enters.
        states: int64 `[targets]` place in `ids` of the state that predicts each target.
        targets: int64 `[targets]` item rows.
        text: int64 `[any]` places of the title tokens that are supervised, those of targets; each is predicted from
            the place before it; where a task writes, those of the answer.
        rating: float32 `[0 or 1]`, what the rating head should give, in spreads.
        words: int64 `[any]` token ids that the row begins with; rows that share them have the same array.
        positions: int64 `[length]` positions of `ids`; None for those that follow from the order.
        answers: int64 `[any]` which targets have their tokens written behind their states; None for all.
        taken: int64 `[any]` item rows that the user's vector is folded from, see `ExampleBuilder`.
        user_at: Place in `ids` of the user's last token, where that vector enters; -1 for none.
        place: Place of the first target among the items of all histories, the others behind it; -1 without a history.
        labels: int64 `[targets]` item rows that have a part of each target's weight, -1 for none; None for none at all.
        decoded: int64 `[any]` token ids of an answer that a decoder writes, all of them supervised; none where the
            answer stands in `ids`.
        rated_at: Place of the state that the rating head reads; negative ones count from the end, as in Python.
    """

    ids: np.ndarray
    items: np.ndarray
    states: np.ndarray = NOTHING
    targets: np.ndarray = NOTHING
    text: np.ndarray = NOTHING
    rating: np.ndarray = NO_RATING
    words: np.ndarray = NOTHING
    positions: np.ndarray | None = None
    answers: np.ndarray | None = None
    taken: np.ndarray = NOTHING
    user_at: int = -1
    place: int = -1
    labels: np.ndarray | None = None
    decoded: np.ndarray = NOTHING
    rated_at: int = -1


class Run(NamedTuple):
    """Items one after the other.

    Attributes:
        ids: int64 `[length]` token ids, with those that stand before and behind the items.
        items: int64 `[length]` item rows at their last OOV tokens, else -1.
        begin: int64 `[n]` place where each item begins.
        tokens_end: int64 `[n]` place behind its OOV tokens.
        end: int64 `[n]` place behind it.
    """

    ids: np.ndarray
    items: np.ndarray
    begin: np.ndarray
    tokens_end: np.ndarray
    end: np.ndarray


class ExampleBuilder:
    """Builds examples of the ranking tasks.

    Args:
        encoder: Splices ids.
        max_history: Longest history in items; older items are dropped.
        answer_at: Position of what follows a history, however long that is; None where it follows from the order.
        user_vectors: What a prompt says of a user beside their tokens, where there is no history: "none"; "folded", the
            mean of the vectors of their items in place of their last token; "as_history", this mean behind all words,
            where the newest item of a history stands, at the place of one more token.
    """

    def __init__(
        self, encoder: PromptEncoder, max_history: int, answer_at: int | None = None, *, user_vectors: str = "none"
    ) -> None:
        self.encoder, self.max_history, self.answer_at = encoder, max_history, answer_at
        self.user_vectors = user_vectors

    def causal(
        self,
        template: Template,
        user_ids: np.ndarray | None,
        items: np.ndarray,
        first_target: int,
        taken: np.ndarray = NOTHING,
    ) -> Example:
        """One pass over `items`, supervised at `items[first_target:]`.

        Args:
            template: The words.
            user_ids: Token ids of the user, or None.
            items: Item rows, oldest first, targets included.
            first_target: Index into `items` of the first one that is a target.
            taken: Item rows, oldest first, that the user's vector is folded from; nothing leaves the token as it is.
        """
        words, begin, folded = self._begin(template, user_ids, taken)
        compact, titled = self.encoder.compact, self.encoder.titled
        run = self._run(begin, items, answered=compact)
        return Example(
            run.ids,
            run.items,
            # The state before item j stands where item j-1 ends, or at the last word for the first item.
            run.begin[first_target:] - 1,
            items[first_target:],
            _ranges(run.tokens_end[first_target:], run.end[first_target:]) if titled else NOTHING,
            words=words,
            positions=self._positions(len(words), len(begin), len(run.ids), int(run.begin[-1]) - len(begin), folded),
            answers=np.array([len(items) - first_target - 1]) if compact else None,
            **folded,
        )

    def prompt(
        self,
        template: Template,
        user_ids: np.ndarray | None,
        items: np.ndarray,
        target: int = -1,
        taken: np.ndarray = NOTHING,
    ) -> Example:
        """A prompt whose one target (or none, -1) is not part of it: inference, and encoder-decoder training."""
        encoder, items = self.encoder, items[max(0, len(items) - self.max_history) :]
        words, begin, folded = self._begin(template, user_ids, taken)
        if encoder.encoder_decoder:  # an encoder looks forward, too, so its words depend on what follows
            folded = {name: at + len(words) if name == "user_at" else at for name, at in folded.items()}
            words, begin = NOTHING, np.concatenate([words, begin])
        run = self._run(begin, items, encoder.end)
        state = 0 if encoder.encoder_decoder else len(run.ids) - 1
        return Example(
            run.ids,
            run.items,
            np.array([state]),
            np.array([target]),
            words=words,
            positions=self._positions(len(words), len(begin), len(run.ids), len(run.ids) - len(begin), folded),
            **folded,
        )

    def _begin(
        self, template: Template, user_ids: np.ndarray | None, taken: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """First words of a prompt, the ids behind them, and what a user's vector is folded from and where it enters.

        The last of the three is empty where no user is shown or there is nothing to fold.
        """
        words, begin, user_at = self.encoder.prompt_parts(template, user_ids)
        if self.user_vectors == "none" or user_ids is None or user_at < 0 or len(taken) == 0:
            return words, begin, {}
        if self.user_vectors == "as_history":
            begin, user_at = np.concatenate([begin, user_ids[-1:]]), len(begin)
        return words, begin, {"taken": taken[max(0, len(taken) - self.max_history) :], "user_at": user_at}

    def _run(
        self, before: np.ndarray, items: np.ndarray, behind: np.ndarray = NOTHING, *, answered: bool = False
    ) -> Run:
        """Items between ids; `answered`: the last one is written as an answer behind a compact history."""
        encoder = self.encoder
        rows, forms, lead, last = items.astype(np.int64), encoder.read, encoder.lead, len(items)
        if answered:
            forms, lead = encoder.forms, encoder.form_lead
            rows[-1] += encoder.n_items
            # No state behind an answer's last token is asked for, unless a title follows it: else it is left out.
            last -= not encoder.titled
        spelled = forms.gather(rows)
        ids = np.concatenate([before, spelled.values, behind])
        bounds = spelled.offsets + len(before)
        tokens_end = bounds[:-1] + lead[rows]
        at_items = np.full(len(ids), -1, dtype=np.int64)
        at_items[tokens_end[:last] - 1] = items[:last]
        return Run(ids, at_items, bounds[:-1], tokens_end, bounds[1:])

    def _positions(self, words: int, begin: int, length: int, history: int, folded: dict[str, Any]) -> np.ndarray:
        """Positions of a row's `length` ids, of which `begin` stand before `history` ids of items, behind `words` ids.

        Without a history an answer follows the words directly, unless a folded user stands for one.
        """
        if folded and self.user_vectors == "as_history":
            begin, history = begin - 1, history + 1
        behind = words + begin
        # Words that reach into the place of the items push them on.
        first = behind if self.answer_at is None or history == 0 else max(behind, self.answer_at - history)
        return order(words, begin, length, first)


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The numbers of several ranges, one after the other, int64."""
    lengths = end - begin
    before = np.cumsum(lengths) - lengths
    places: np.ndarray = np.arange(lengths.sum()) + np.repeat(begin - before, lengths)
    return places
