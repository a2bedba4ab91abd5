"""Hold single interactions out, for tasks whose answer is a rating or a text.

The usual split of rating and review work: 80 % train, 10 % validation, 10 % test at random, with every user and every
item in train. Pairs move whole: where a user met an item twice, both rows are on the same side, so that nothing held
out can be read from its copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metatoken.data.interactions import Interactions
from metatoken.data.split import Split
from metatoken.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class RowSplit:
    """A log in three parts, all over the same user and item rows.

    Attributes:
        train: What may be learned from.
        validation: For choices during development.
        test: For the numbers that are reported.
        seed: Of the draw.
    """

    train: Interactions
    validation: Interactions
    test: Interactions
    seed: int

    def part(self, name: str) -> Interactions:
        """The held-out part of that name.

        Raises:
            ArgumentError: The name is neither "validation" nor "test".
        """
        if name not in ("validation", "test"):
            raise ArgumentError("part", f"expected 'validation' or 'test', got {name!r}")
        return self.validation if name == "validation" else self.test


def random_split(
    source: Interactions | Split, *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> RowSplit:
    """Holds out random pairs of user and item, keeping every user and every item of the source in train.

    A pair may be held out only if train still has another pair of its user and another of its item. Pairs are offered
    in a random order; the first of a user or of an item stays, so in a sparse log fewer may be left to hold out than
    asked for. The parts say how many there are.

    Args:
        source: A log; or a `Split`, to hold out rows of its train: then what it holds out for ranking is in no part of
            the result, and `result.train` is what all tasks of the run may learn from.
        validation: Share of the pairs, at least 0.
        test: Share of the pairs, at least 0; the two sum to less than 1.
        seed: Of the draw, at least 0.

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
