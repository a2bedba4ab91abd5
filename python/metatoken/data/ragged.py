"""Item sequences of users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sequences:
    """Items of each user, oldest first, as compressed rows.

    Attributes:
        offsets: int64 `[n_users + 1]`; user row u owns `items[offsets[u]:offsets[u + 1]]`.
        items: int32 `[n]`, item rows.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, user: int) -> NDArray[np.int32]:
        """Item rows of one user row, int32 `[length]`, a view."""
        if not 0 <= user < len(self):
            raise IndexError(f"user row {user} is not in 0..{len(self) - 1}")
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[user] for user in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items of each user, int64 `[n_users]`."""
        return np.diff(self.offsets)
