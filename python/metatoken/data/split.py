"""Hold interactions out. Everything that learns sees `Split.train` only.

Tasks that rank are judged by the last items of each user, tasks that rate or write by random pairs. A pair that is held
out for one task is in no other task's training data, in no graph and in no baseline: random pairs are taken from what
the ranking split lets everything learn from, and what is left is the train of both.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metatoken.config import expect
from metatoken.data.interactions import Interactions
from metatoken.data.parts import SHORTEST, TEST, TRAIN, VALIDATION
from metatoken.data.ragged import Sequences, offsets_of
from metatoken.data.settings import SplitName
from metatoken.errors import ArgumentError, ConfigError, MetatokenWarning

Part = Literal["validation", "test"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Held-out interactions, at most one per user, sorted by user: user rows and item rows, int32 `[m]`."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class RowSplit:
    """A log in three parts as in `Split`, all over the same user and item rows, and the seed of the draw."""

    train: Interactions
    validation: Interactions
    test: Interactions
    seed: int

    def part(self, name: str) -> Interactions:
        """The part of that name, "train", "validation" or "test"; else `ArgumentError`."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in parts:
            raise ArgumentError("part", f"expected one of {', '.join(parts)}, got {name!r}")
        return parts[name]


@dataclass(frozen=True, eq=False)
class Split:
    """A log and what is held out of it.

    Attributes:
        log: The whole log.
        train: What may be learned from; same users, items and item table as `log`.
        validation: For choices during development.
        test: For the numbers that are reported.
        name: One of `data.settings.SplitName`.
        train_only_users: Users of the log who have too few interactions to be held out.
        pairs: What is held out for tasks that rate or write, over the same train; None where nothing is.
        between: All rows that lie between train and test, several of a user perhaps; None where these are the
            validation targets alone.
    """

    log: Interactions
    train: Interactions
    validation: Targets
    test: Targets
    name: str
    train_only_users: int
    pairs: RowSplit | None = None
    between: Targets | None = None

    def __repr__(self) -> str:
        held = f"{len(self.train):,} train, {len(self.validation):,} validation, {len(self.test):,} test"
        return f"Split({self.name}, {held} of {self.log!r})"

    def with_pairs(self, *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Split:
        """Holds random pairs of train out as well, see `random_split`; everything learns from what is left."""
        pairs = random_split(self, validation=validation, test=test, seed=seed)
        return replace(self, train=pairs.train, pairs=pairs)

    def about(self, item_table: pl.DataFrame) -> Split:
        """The same with another item table, see `Interactions`."""
        log, train = (replace(one, item_table=item_table) for one in (self.log, self.train))
        return replace(self, log=log, train=train)

    def targets(self, part: Part) -> Targets:
        """Held-out interactions of a part, "validation" or "test"; else `ArgumentError`."""
        if part not in ("validation", "test"):
            raise ArgumentError("part", f"expected 'validation' or 'test', got {part!r}")
        return self.validation if part == "validation" else self.test

    def by_length(self, part: Part) -> tuple[Targets, NDArray[np.int64]]:
        """Targets of a part with histories of like length side by side, since a batch is padded to its longest.

        With them int64 `[m]` places that put what is computed for them back into the order of the part.
        """
        targets = self.targets(part)
        order = np.argsort(self.history(part).lengths[targets.users], kind="stable")
        return Targets(targets.users[order], targets.items[order]), np.argsort(order)

    def history(self, part: Part) -> Sequences:
        """What precedes the targets of a part, for all user rows: train, and for "test" the validation items too."""
        train = self.train.sequences()
        if self.targets(part) is self.validation:
            return train
        held = self.between or self.validation
        items = np.insert(train.items, train.offsets[held.users + 1], held.items)
        longer = np.bincount(held.users, minlength=len(train)).astype(np.int64)
        return Sequences(train.offsets + offsets_of(longer), items)

    def repeated_targets(self, part: Part) -> int:
        """Targets of a part that are already in their user's history; a filter of seen items makes them misses."""
        history, targets = self.history(part), self.targets(part)
        wanted = np.full(len(history), -1, dtype=np.int32)
        wanted[targets.users] = targets.items
        owners = history.owners
        return int(np.count_nonzero(np.bincount(owners[history.items == wanted[owners]])))


def leave_last_out(log: Interactions) -> Split:
    """Hold out each user's last interaction for test and the one before for validation.

    Users with fewer than three interactions are for training only, and so are rows that the log says were learned from
    (column `learned`), as `data.growth.keep_learned` marks them.
    """
    expect("log", log, Interactions)
    sequences = log.sequences()
    lengths, learned = sequences.lengths, np.zeros(len(log), dtype=np.bool_)
    if "learned" in log.frame.columns:
        learned = log.frame["learned"].to_numpy()
    last = sequences.offsets[1:][lengths >= SHORTEST] - 1
    test, validation = (rows[~learned[rows]] for rows in (last, last - 1))
    mask = np.ones(len(log), dtype=np.bool_)
    mask[test] = mask[validation] = False
    users = log.frame["user"].to_numpy()
    return Split(
        log=log,
        train=log.with_rows(mask),
        validation=Targets(users[validation], sequences.items[validation]),
        test=Targets(users[test], sequences.items[test]),
        name="leave-last-out",
        train_only_users=int(((lengths > 0) & (lengths < SHORTEST)).sum()),
    )


def split_by_part(log: Interactions, name: SplitName = "part") -> Split:
    """Hold out the rows that the column `part` of a log says are not for training.

    A user's target is the first of their rows in a part, and what is known of the user before is all that precedes it:
    training rows, and for test those of validation. Users without any are not evaluated.

    Args:
        log: A log with the column `part`.
        name: Of the split.

    Raises:
        ConfigError: The log has no such column, or no row is for training.

    Warns:
        MetatokenWarning: Some training rows are later than what is held out of the same user.
    """
    if "part" not in log.frame.columns:
        raise ConfigError(f"data.split: {name} needs a log whose rows say train, validation or test")
    frame = log.frame.select("user", "item", "part")
    rows = {part: frame.filter(pl.col("part") == part) for part in (TRAIN, VALIDATION, TEST)}
    if rows[TRAIN].height == 0:
        raise ConfigError(f"data.split: {name} leaves no row to train on")
    steps = frame["part"].replace_strict({TRAIN: 0, VALIDATION: 1, TEST: 2}, return_dtype=pl.Int8).diff() < 0
    if back := int((steps & (frame["user"].diff() == 0)).sum()):
        said = f"{back:,} rows stand behind rows of a later part of the same user: a model learns from the future"
        warnings.warn(MetatokenWarning(said), stacklevel=2)
    known, targets = rows[TRAIN]["user"], {}
    for part in (VALIDATION, TEST):
        first = rows[part].unique("user", keep="first", maintain_order=True)
        targets[part] = _targets(first.filter(pl.col("user").is_in(known.implode())))
        known = pl.concat([known, rows[part]["user"]])
    trained = set(rows[TRAIN]["user"].unique()) - set(targets[VALIDATION].users) - set(targets[TEST].users)
    return Split(
        log=log,
        train=log.with_rows(log.frame["part"] == TRAIN),
        validation=targets[VALIDATION],
        test=targets[TEST],
        name=name,
        train_only_users=len(trained),
        between=_targets(rows[VALIDATION]),
    )


def _targets(frame: pl.DataFrame) -> Targets:
    return Targets(frame["user"].to_numpy(), frame["item"].to_numpy())


def split_log(log: Interactions, name: SplitName) -> Split:
    """The split of that name; all but leave-last-out and none need a log that was read for it."""
    if name == "none":
        return no_split(log)
    return leave_last_out(log) if name == "leave-last-out" else split_by_part(log, name)


def no_split(log: Interactions) -> Split:
    """Hold nothing out: for a vocabulary or model that is to be used, not measured."""
    expect("log", log, Interactions)
    none = Targets(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))
    return Split(log, log, none, none, "none", int((log.sequences().lengths > 0).sum()))


def hold_out(
    log: Interactions, needs: Mapping[str, frozenset[str]], seed: int, name: SplitName = "leave-last-out"
) -> Split:
    """Splits a log for all tasks of a run; those that rate or write need a value in some columns of each row.

    Args:
        log: The log.
        needs: These columns by task.
        seed: Seed of the random pairs that are held out for such tasks.
        name: "none" holds nothing out: neither items nor pairs.

    Raises:
        ConfigError: The log lacks a column that a task needs, or has nothing in it.
    """
    split, share = split_log(log, name), 0.0 if name == "none" else 0.1
    if not needs:
        return split
    for task, columns in needs.items():
        for column in sorted(columns - set(log.frame.columns)):
            raise ConfigError(f"model.tasks: {task} needs the column {column}; name it as data.{column} of the log")
    try:
        split = split.with_pairs(validation=share, test=share, seed=seed)
    except ArgumentError as error:
        raise ConfigError(f"model.tasks: {next(iter(needs))} has no rows to learn from ({error})") from error
    for task, columns in needs.items():
        if split.train.having(columns).frame.is_empty():
            raise ConfigError(f"model.tasks: {task} finds no training row that has a {' and a '.join(sorted(columns))}")
    return split


def random_split(
    source: Interactions | Split, *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> RowSplit:
    """Holds out random pairs of user and item, keeping every user and every item of the source in train.

    The usual split of rating and review work: 80 % train, 10 % validation, 10 % test. Pairs move whole: where a user
    met an item twice, both rows are on the same side, so that nothing held out can be read from its copy.

    A pair may be held out only if train still has another pair of its user and another of its item. Pairs are offered
    in a random order; the first of a user or of an item stays, so in a sparse log fewer may be left to hold out than
    asked for. The parts say how many there are.

    Args:
        source: A log; or a `Split`, to hold out rows of its train: then what it holds out for ranking is in no part of
            the result, and `result.train` is what all tasks of the run may learn from.
        validation: Share of the pairs, at least 0.
        test: Share of the pairs, at least 0; the two sum to less than 1.
        seed: Seed of the draw, at least 0.

    Raises:
        ArgumentError: A share is out of range, or there are no interactions.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ArgumentError(name, f"expected a share of at least 0 and below 1, got {share}")
    if validation + test >= 1:
        raise ArgumentError("test", f"expected validation and test to sum to less than 1, got {validation + test:g}")
    if seed < 0:
        raise ArgumentError("seed", f"expected at least 0, got {seed}")
    log = source.train if isinstance(source, Split) else source
    if len(log) == 0:
        raise ArgumentError("source", "expected at least one interaction, got none")
    users, items = (log.frame[name].to_numpy().astype(np.int64) for name in ("user", "item"))
    keys, pair_of_row = np.unique(users * log.n_items + items, return_inverse=True)
    free = _free_pairs(keys // log.n_items, keys % log.n_items, np.random.default_rng([seed, len(keys)]))
    n_test, n_validation = round(test * len(keys)), round(validation * len(keys))
    side = np.zeros(len(keys), dtype=np.int8)
    side[free[:n_test]] = 2
    side[free[n_test : n_test + n_validation]] = 1
    side_of_row = side[pair_of_row]
    train, middle, last = (log.with_rows(side_of_row == number) for number in range(3))
    return RowSplit(train, middle, last, seed)


def _free_pairs(users: NDArray[np.int64], items: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Pairs, in random order, that are neither the first of their user nor of their item in that order."""
    order = rng.permutation(len(users))
    needed = np.zeros(len(users), dtype=np.bool_)
    for side in (users, items):
        needed[np.unique(side[order], return_index=True)[1]] = True
    return order[~needed]
