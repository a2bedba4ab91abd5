"""`Recommender`: from users or histories to items, with titles, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from metatoken.bounds import check_integer
from metatoken.config import expect
from metatoken.data import Catalogue, Interactions, Ragged, Sequences
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.predict.fusion import Fusion
from metatoken.predict.partners import Partners
from metatoken.predict.ranker import DEPTH, WIDTH, Reading
from metatoken.recommend.answerer import Answerer
from metatoken.recommend.questions import Answering
from metatoken.recommend.requests import Answer, Model, Prepared, Recommendation, Request, check_ids, user_row
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.ranker import Lists
    from metatoken.tasks.batch import Batch


class Recommender(Answering):
    """Recommends with a trained model, and answers questions where it has tasks that rate or write.

    Args:
        module: The model.
        history: What every user has seen; it makes the prompts, the seen filter and the transition prior.
        fusion: Weights of `model="fused"`; the stored ones of a run when it was loaded.
        catalogue: Titles and what else filters may ask for; by default from the history and the vocabulary.
        version: A name for all of this, see `run.manifest.version_of`.
        answerer: Answers questions; by default with the same model, as `Answerer` does.
        partners: Further models, whose item heads have a say in `model="fused"`.

    Raises:
        ArgumentError: The history's items are not those of the vocabulary, or a partner cannot be one.
    """

    def __init__(
        self,
        module: MetaTokenModel,
        history: Interactions,
        fusion: Fusion | None = None,
        catalogue: Catalogue | None = None,
        version: str = "unsaved",
        answerer: Answerer | None = None,
        partners: Sequence[MetaTokenModel] = (),
    ) -> None:
        expect("history", history, Interactions)
        if history.items.raw != module.vocabulary.items.raw:
            raise ArgumentError("history", "expected the items of the vocabulary; read the log that it was fitted on")
        super().__init__(answerer or Answerer(module))
        self.module, self.history, self.fusion, self.version = module.eval(), history, fusion or Fusion(), version
        self.catalogue = catalogue or Catalogue.of(history, module.vocabulary.titles)
        self._sequences = history.sequences()
        self.partners = Partners(partners, history.items.raw)
        self._prior = self.fusion.fit_prior(history)
        self._lists: dict[int, tuple[tuple[str, ...], tuple[NDArray[np.int32], tuple[str, ...]]]] = {}

    def __repr__(self) -> str:
        users, items = len(self.history.users), len(self.catalogue.items)
        return f"Recommender({self.module.settings.backbone}, {users:,} users, {items:,} items)"

    @classmethod
    def load(cls, run: str | Path) -> Recommender:
        """Loads a run folder.

        Raises:
            ArtifactError: A part is missing or altered, or another run took its place while it was read.
        """
        from metatoken.run import load_run
        from metatoken.run.folder import RunFolder
        from metatoken.run.manifest import version_of

        RunFolder(run).check_finished()
        version = version_of(RunFolder(run))
        loaded = load_run(run)
        if version_of(RunFolder(run)) != version:
            raise ArtifactError(f"{run}: was replaced while it was read; load it again")
        answerer = Answerer.of(loaded)
        return cls(loaded.module, loaded.split.log, loaded.fusion, loaded.catalogue, version, answerer, loaded.partners)

    def recommend(
        self,
        user: str | None = None,
        *,
        history: Sequence[str] | None = None,
        k: int = 10,
        model: Model = "fused",
        exclude_seen: bool = True,
        where: str | None = None,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
    ) -> list[Recommendation]:
        """The k best items for a known user, or for anybody with a history; fewer only where no more are allowed.

        The arguments are those of `Request`.

        Raises:
            UnknownIdError: The user or an item is unknown; `answer` reports unknown items instead.
            ConditionError: `where` cannot be used.
            ArgumentError: Neither user nor history, or k below 1.
        """
        one = self.prepare(Request(user, history, k, model, exclude_seen, where, allow, deny))
        self._refuse_unknown(one)
        return self.run([one])[0].items

    def recommend_many(
        self,
        users: Iterable[str],
        *,
        k: int = 10,
        model: Model = "fused",
        batch_size: int = 256,
        exclude_seen: bool = True,
        where: str | None = None,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
    ) -> dict[str, list[Recommendation]]:
        """The same for many known users, in their order, `batch_size` at a time.

        Raises:
            ArgumentError: `users` is no list, or see `recommend`.
            UnknownIdError: A user or a listed item is unknown.
            ConditionError: `where` cannot be used.
        """
        check_ids("users", users)
        check_integer("batch_size", batch_size)
        prepared = [self.prepare(Request(u, None, k, model, exclude_seen, where, allow, deny)) for u in users]
        for one in prepared[:1]:
            self._refuse_unknown(one)
        parts = (prepared[at : at + batch_size] for at in range(0, len(prepared), batch_size))
        return {str(answer.user): answer.items for part in parts for answer in self.run(part)}

    def history_of(self, user: int) -> NDArray[np.int32]:
        """Item rows of a user row, oldest first, int32 `[any]`."""
        return self._sequences[user]

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers any mixture of requests in one batch; unknown items of histories and lists are reported.

        Raises:
            UnknownIdError: A user without a history is unknown.
            ConditionError: A filter cannot be used.
            ArgumentError: A request has neither user nor history, k below 1, or an unknown model.
        """
        return self.run([self.prepare(request) for request in requests])

    def prepare(self, request: Request) -> Prepared:
        """Checks one request and turns its ids into rows; cheap, and safe beside a running batch.

        Raises:
            UnknownIdError: See `answer`; so are the other errors.
        """
        expect("request", request, Request)
        request.check()
        if "sequential" not in self.module.tasks:
            said = "recommending from a history needs the task sequential among the model's tasks"
            raise ArgumentError("model", said)
        if request.where is not None:
            self.catalogue.parse(request.where)
        user: int | None = None
        unknown: tuple[str, ...] = ()
        if request.history is not None:
            history, unknown = self._rows(request.history)
        else:
            user = user_row(self.history.users, cast("str", request.user))
            history = self._sequences[user]
        allow, unlisted = (None, ()) if request.allow is None else self._listed(request.allow)
        deny, undenied = self._listed(() if request.deny is None else request.deny)
        return Prepared(request, user, history, allow, deny, unknown, unlisted + undenied)

    @torch.no_grad()
    def run(self, prepared: Sequence[Prepared]) -> list[Answer]:
        """Answers prepared requests, those that need the same search in one pass through the model.

        An answer does not depend on what else is in the batch: the same items come in the same order, where scores that
        differ by less than `metatoken.model.heads.top.TOLERANCE` of them are ties, in the order of the catalogue;
        scores agree within that tolerance.
        """
        groups: dict[tuple[Model, int], list[int]] = {}
        for place, one in enumerate(prepared):
            width = _width(min(one.request.k, len(self.catalogue.items)))
            groups.setdefault((one.request.model, width), []).append(place)
        answers: dict[int, Answer] = {}
        for (model, width), places in groups.items():
            part = [prepared[place] for place in places]
            answers |= dict(zip(places, self._group(part, model, width), strict=True))
        return [answers[place] for place in range(len(prepared))]

    def _group(self, part: list[Prepared], model: Model, width: int) -> list[Answer]:
        """Answers to requests of one model and beam width."""
        sequences = Sequences.of(one.history for one in part)
        gone, only = zip(*(self._filter(one) for one in part), strict=True)
        seen = [one.history for one in part]
        depth = max(DEPTH, width) if model == "generation" else DEPTH
        prompts = self._prompts(sequences, part)
        reading = Reading(self.module.network, prompts, gone, only, width=width, depth=depth, seen=seen)
        k = min(max(one.request.k for one in part), len(self.catalogue.items))
        rows, scores = LISTS[model](self, reading, sequences, k)
        return [self._answer(*each) for each in zip(part, rows, scores, strict=True)]

    def _fused(self, reading: Reading, sequences: Sequences, k: int) -> Lists:
        self.fusion.warn()  # one place in the code, which Python's own filter shows once
        users = np.arange(len(sequences))
        others = self.partners.scores(sequences, users)
        return reading.fused(self.fusion, self._prior.scores(sequences, users), k, others)

    def _filter(self, one: Prepared) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
        """Excluded item rows, and the only eligible ones, or None where no filter says so."""
        gone = np.concatenate([one.deny, one.history if one.request.exclude_seen else one.history[:0]])
        if one.allow is None and one.request.where is None:
            return gone.astype(np.int32), None
        allowed = np.ones(len(self.catalogue.items), dtype=bool)
        if one.allow is not None:
            allowed[:] = False
            allowed[one.allow] = True
        if one.request.where is not None:
            allowed &= self.catalogue.mask(one.request.where)
        return gone.astype(np.int32), np.flatnonzero(allowed).astype(np.int32)

    def _prompts(self, sequences: Sequences, part: Sequence[Prepared]) -> Batch:
        """Sequential prompts; where the model reads user tokens, strangers get theirs from their items."""
        builder, template = self.module.builder, find_task("sequential").templates[0]
        encoder, vocabulary = builder.encoder, self.module.vocabulary
        tokens: list[NDArray[Any] | None] = [None] * len(part)
        if self.module.user_tokens != "none":
            strangers = [place for place, one in enumerate(part) if one.user is None]
            codes = vocabulary.user_codes_of(sequences.take(strangers))
            folded = iter(Ragged.padded(vocabulary.tokens_of_codes(codes), encoder.base))
            tokens = [next(folded) if one.user is None else encoder.users[one.user] for one in part]
        examples = [builder.prompt(template, own, items) for own, items in zip(tokens, sequences, strict=True)]
        return collate(examples, encoder.pad_id)

    def _answer(self, one: Prepared, rows: NDArray[Any], scores: NDArray[Any]) -> Answer:
        raw, titles, k = self.catalogue.items.raw, self.catalogue.titles, one.request.k
        items = [
            Recommendation(rank, raw[row], titles[row], float(score))
            for rank, (row, score) in enumerate(zip(rows[:k].tolist(), scores[:k].tolist(), strict=True), 1)
            if row >= 0
        ]
        return Answer(one.request.user, items, one.unknown_history, one.unknown_listed)

    def _rows(self, raw: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Rows of the known ids, and the unknown ones, both in their order."""
        items, raw = self.catalogue.items, list(raw)
        rows = np.array([items.row(name) for name in raw if name in items], dtype=np.int32)
        return rows, tuple(name for name in raw if name not in items)

    def _listed(self, raw: Sequence[str]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The same; a tuple, which cannot change, is looked up once for all requests that share it."""
        if not isinstance(raw, tuple):
            return self._rows(raw)
        known = self._lists.get(id(raw))
        if known is None or known[0] is not raw:
            if len(self._lists) >= 4:
                self._lists.clear()
            known = self._lists[id(raw)] = raw, self._rows(raw)
        return known[1]

    def _refuse_unknown(self, one: Prepared) -> None:
        for raw in (*one.unknown_history, *one.unknown_listed):
            self.catalogue.items.row(raw)  # raises


def _width(k: int) -> int:
    """Beams for k items, rounded up to 20, 50, 100, 200, ...: few sizes, so that requests share a batch.

    The number depends on k alone, never on the other requests of a batch, which therefore cannot change an answer.
    """
    width, steps = WIDTH, cycle((2.5, 2, 2))
    while width < k:
        width = int(width * next(steps))
    return width


LISTS: dict[Model, Callable[[Recommender, Reading, Sequences, int], Lists]] = {
    "fused": Recommender._fused,  # noqa: SLF001
    "item_head": lambda _, reading, _sequences, k: _probabilities(reading.item_head(k)),
    "generation": lambda _, reading, _sequences, k: _probabilities(reading.generation(k)),
}


def _probabilities(lists: Lists) -> Lists:
    """Lists of log-probabilities with probabilities."""
    return lists[0], torch.from_numpy(lists[1]).exp().numpy()
