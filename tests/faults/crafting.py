"""Crafted values in the place of sound ones: what an array, a number or a text can be that nobody means."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NUMBERS = (
    0, -1, 1, 2, 3, 7, 1025, 1 << 20, (1 << 20) + 1, 1 << 31, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
    1 << 64, -(1 << 31), -(1 << 63), -(1 << 70), 10**400, True, 1.5, math.nan, "3", None, b"3", [], np.int8(3),
)  # fmt: skip
REALS = (
    0.0, -0.0, -1.0, 1.0, 0.5, 5e-324, 1e-320, 1e-30, 1e20, 1e308, -1e308, math.nan, math.inf, -math.inf, 10**400, "x",
    None, 1,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "\0", "é", "\ud800", "a" * 100_000, "user-item-user", "item>item", "user-item-user restart=0.5",
    "user-item-user\u3000share=0.5", "user-item-user share=1e-320", "user-item-user share=nan", "\u2003=", "=", "-",
    ">", "user-item-" * 20_000 + "user", "item-item", "tree", "flat+rank", "residual", "cosine", "random", "none",
    "rank", "counter", "nearest", "portable", "avx2", "amx", 5, None, b"x", [],
)  # fmt: skip
SPECIAL = (math.nan, math.inf, -math.inf, 1e15, -1e16, 1e19, 1e20, -1e20, 3e38, -3e38, 1e-30, 1e-45, 0.0, -0.0)
WHOLE = (-1, -2, 0, 1, 2, 3, 127, 1 << 20, (1 << 31) - 1, -(1 << 31))


def crafted(value: Any, rng: random.Random) -> Any:
    """Another value in the place of one, by what that is."""
    if isinstance(value, np.ndarray):
        return rng.choice(ALL)(value, rng)
    if isinstance(value, tuple | list) and len(value) > 0 and rng.random() < 0.8:
        changed = list(value)
        place = rng.randrange(len(changed))
        how = rng.random()
        if how < 0.8:
            changed[place] = crafted(changed[place], rng)
        elif how < 0.9:
            del changed[place]
        else:
            changed.insert(place, changed[place])
        return type(value)(changed)
    if isinstance(value, bool):
        return rng.choice((not value, None, 5, "x"))
    kinds: tuple[tuple[type, tuple[Any, ...]], ...] = ((int, NUMBERS), (float, REALS), (str, TEXTS))
    for kind, values in kinds:
        if isinstance(value, kind):
            return rng.choice(values)
    return rng.choice((None, 5, "x", [], (), np.zeros(3, np.float32), object()))


def _one(array: Array, rng: random.Random) -> Array:
    """One value is another."""
    changed = array.copy()
    if changed.size:
        place = np.unravel_index(rng.randrange(changed.size), changed.shape)
        changed[place] = _some(array, rng)
    return changed


def _row(array: Array, rng: random.Random) -> Array:
    """A whole row is one value."""
    changed = array.copy()
    if len(changed):
        changed[rng.randrange(len(changed))] = _some(array, rng)
    return changed


def _all(array: Array, rng: random.Random) -> Array:
    """All values are one."""
    return np.full_like(array, _some(array, rng))


def _some(array: Array, rng: random.Random) -> Any:
    if array.dtype.kind == "f":
        return array.dtype.type(rng.choice(SPECIAL))
    if array.dtype.kind == "b":
        return rng.random() < 0.5
    wide = (*WHOLE, (1 << 63) - 1, -(1 << 63), 1 << 32) if array.dtype.itemsize == 8 else WHOLE
    return array.dtype.type(rng.choice(wide))


def _scaled(array: Array, rng: random.Random) -> Array:
    """All values by a power of ten; whole numbers wrap."""
    if array.dtype.kind != "f":
        return (array.astype(np.int64) * 10 ** rng.choice((1, 3, 9, 18))).astype(array.dtype)
    with np.errstate(all="ignore"):
        return np.asarray(
            array * array.dtype.type(10.0 ** rng.choice((-44, -38, -30, -20, -15, 8, 14, 16, 19, 20, 30)))
        )


def _shape(array: Array, rng: random.Random) -> Array:
    """Rows or columns that are none, too few, too many, or more than memory holds (of nothing)."""
    ways = (
        array[:0], array[..., :0], array[:1].copy(), array[:-1].copy(), np.concatenate([array, array]),
        np.repeat(array, 2, axis=-1), array[..., :1].copy(), array[None].copy(), array.ravel(),
        np.empty((0, *array.shape[1:-1], 1 << 40), array.dtype), np.empty((1 << 40, 0), array.dtype),
        np.array(3).astype(array.dtype),
    )  # fmt: skip
    return np.asarray(rng.choice(ways))


def _layout(array: Array, rng: random.Random) -> Array:
    """The same values, not one after the other, or not where a processor reads them."""
    crooked = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    ways = (
        np.repeat(array, 2, axis=0)[::2], np.repeat(array, 2, axis=-1)[..., ::2], array[::-1].copy()[::-1],
        np.asfortranarray(array), crooked, np.broadcast_to(array[:1], array.shape),
    )  # fmt: skip
    return rng.choice(ways)


def _dtype(array: Array, rng: random.Random) -> Array:
    """The same values of another type."""
    kinds = ("<f4", ">f4", "<f8", "f2", "<i4", ">i4", "<i8", "u8", "u1", "bool", "object", "U5", "c8", "M8[s]")
    with np.errstate(all="ignore"):
        return array.astype(rng.choice(kinds), casting="unsafe")


def _claimed(array: Array, rng: random.Random) -> Array:
    """A view of one value, or of one row, that claims more of them than any memory holds: its steps are 0."""
    most = 1 << 45
    if array.size == 0 or rng.random() < 0.3:
        array = np.ones((1,) * array.ndim, array.dtype)
    sides = (0,) if array.ndim == 1 else rng.choice(((0,), (array.ndim - 1,)))
    shape = tuple(most if side in sides else length for side, length in enumerate(array.shape))
    steps = tuple(0 if side in sides else step for side, step in enumerate(array.strides))
    return np.lib.stride_tricks.as_strided(array, shape, steps, writeable=False)


def _order(array: Array, rng: random.Random) -> Array:
    """The same values in another order."""
    return rng.choice((array[::-1].copy(), np.sort(array, axis=0)[::-1].copy(), np.roll(array, 1, axis=0)))


def _bytes(array: Array, rng: random.Random) -> Array:
    """Any bytes, which are no truth values where those are due."""
    return np.frombuffer(rng.randbytes(array.nbytes), array.dtype).reshape(array.shape).copy()


def _other_class(array: Array, rng: random.Random) -> Any:
    """The same values in what is an array by another name, in a file, or in no array at all."""
    ways: tuple[Callable[[], Any], ...] = (
        lambda: array.copy().view(np.recarray), lambda: np.ma.masked_array(array.copy()), lambda: _mapped(array),
        array.tolist, lambda: memoryview(array.copy()), array.astype(np.longdouble).copy, lambda: iter(array.tolist()),
    )  # fmt: skip
    return rng.choice(ways)()


def _mapped(array: Array) -> Array:
    """The values of a file that has no name any more."""
    with tempfile.TemporaryFile() as file:
        mapped: Array = np.memmap(file, array.dtype, "w+", shape=array.shape)
        mapped[...] = array
        return mapped


def _locked(array: Array, _: random.Random) -> Array:
    """The same, which cannot be written."""
    changed = array.copy()
    changed.flags.writeable = False
    return changed


ALL = (
    _one, _one, _row, _all, _scaled, _shape, _shape, _layout, _dtype, _order, _bytes, _locked, _claimed, _other_class,
)  # fmt: skip
