"""Hostile content behind right checksums: a run whose parts somebody made, or an older version, or a broken program.

Each value of each part is changed, the checksums are made anew, and the run is used: it answers with numbers, or
refuses in a line.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tests.faults.judging import Call, Found, in_processes, make_calls

if TYPE_CHECKING:
    from tests.faults.zygote import Zygote

PARTS = ("vocabulary", "items", "model", ".")
OTHERS: tuple[Any, ...] = (None, -1, 0, 1 << 40, 1e308, "x", "", [], {}, [None], True, "\0", "a" * 10_000, {"x": [1]})
TYPES = (pl.String, pl.Int64, pl.Float32, pl.Boolean, pl.List(pl.Int32))


def resealed(_: Zygote, base: Path, folder: Path, tries: int) -> Found:
    """Uses changed runs in processes of their own."""
    return in_processes("tests.faults.resealed", base, folder, tries)


def changes(base: Path) -> list[Call]:
    """Every change of every value, in an order that mixes them."""
    run = base / "run"
    kinds = {"*.safetensors": _of_tensors, "*.parquet": _of_tables, "*.json": _of_json}
    found: list[Call] = []
    for pattern, of in kinds.items():
        for path in sorted(run.rglob(pattern)):
            name = path.relative_to(run).as_posix()
            if path.name not in ("metrics.json", "predictions.parquet"):
                found += [(f"{name}, {what}", partial(_use, base, name, change)) for what, change in of(path)]
    random.Random(0).shuffle(found)  # noqa: S311 (an order, no secret)
    return found


def _use(base: Path, name: str, change: Callable[[Path], None]) -> None:
    from metatoken.recommend import Recommender

    copy = base.parent / "resealed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(base / "run", copy)
    change(copy / name)
    for part in PARTS:
        _seal(copy / part)
    users = (base / "users.txt").read_text().split()[:5]
    for answer in Recommender.load(copy).recommend_many(users, k=3).values():
        assert all(math.isfinite(one.score) for one in answer), "a score is no number"


def _seal(folder: Path) -> None:
    """Makes the checksums of an artifact anew."""
    from metatoken.artifacts.formats import sha256
    from metatoken.artifacts.manifest import MANIFEST, OWN_SUM, own_sum

    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.pop(OWN_SUM, None)
    files = manifest.get("files")
    if isinstance(files, dict):
        files |= {name: sha256(folder / name) for name in files if (folder / name).is_file()}
    manifest[OWN_SUM] = own_sum(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _of_tensors(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    from safetensors.numpy import load_file

    for tensor, values in load_file(path).items():
        for way in (*_arrays(values), "removed", "renamed"):
            yield f"{tensor} {way}", partial(_change_tensor, tensor=tensor, way=way)


def _change_tensor(path: Path, tensor: str, way: str) -> None:
    from safetensors.numpy import load_file, save_file

    all_of = load_file(path)
    values = all_of.pop(tensor)
    if way == "renamed":
        all_of["other"] = values
    elif way != "removed":
        all_of[tensor] = np.ascontiguousarray(_arrays(values)[way])
    save_file(all_of, path)


def _arrays(values: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """An array, changed in every way."""

    def filled(value: float, *, all_of: bool = False) -> np.ndarray[Any, Any]:
        changed = values.copy()
        changed.reshape(-1)[slice(None) if all_of else slice(0, 1)] = value
        return changed

    found = {
        "empty": values[:0], "flat": values.reshape(-1), "deeper": values[None], "twice": np.concatenate([values] * 2),
        "one less": values[:-1], "of float64": values.astype(np.float64), "of int64": values.astype(np.int64),
        "of uint8": values.astype(np.uint8), "turned": values.T, "reversed": values[::-1],
    }  # fmt: skip
    if values.dtype.kind == "f":
        found |= {f"with {value}": filled(value) for value in (math.nan, math.inf, -1e30, 1e38)}
        found |= {"of nan": filled(math.nan, all_of=True), "of 1e20": filled(1e20, all_of=True)}
    elif values.dtype.kind == "i":
        found |= {f"with {value}": filled(value) for value in (-1, -2, 1 << 20, 2**31 - 1)}
        found |= {"of 0": filled(0, all_of=True), "of -1": filled(-1, all_of=True)}
    return found


def _of_tables(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    frame = pl.read_parquet(path)
    for way in _tables(frame):
        yield way, partial(_change_table, way=way)


def _change_table(path: Path, way: str) -> None:
    _tables(pl.read_parquet(path))[way].write_parquet(path)


def _tables(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A table, changed in every way."""
    found = {
        "no rows": frame[:0], "no columns": pl.DataFrame(), "rows twice": pl.concat([frame, frame]),
        "one row": frame[:1], "reversed": frame.reverse(), "one column more": frame.with_columns(x=pl.lit(1)),
    }  # fmt: skip
    first = pl.int_range(pl.len()) == 0
    for name in frame.columns:
        column = pl.col(name)
        found[f"{name} removed"] = frame.drop(name)
        found[f"{name} renamed"] = frame.rename({name: "other"})
        found[f"{name} of nulls"] = frame.with_columns(pl.lit(None, frame[name].dtype).alias(name))
        found[f"{name} with a null"] = frame.with_columns(pl.when(~first).then(column).alias(name))
        for kind in TYPES:
            found[f"{name} as {kind}"] = frame.with_columns(_cast(frame[name], kind))
        if frame[name].dtype.is_numeric():
            for value in (-1, 1 << 20, 2**31 - 1):
                changed = pl.when(first).then(pl.lit(value)).otherwise(column).cast(frame[name].dtype, strict=False)
                found[f"{name} with {value}"] = frame.with_columns(changed.alias(name))
    return found


def _cast(series: pl.Series, kind: Any) -> pl.Series:
    try:
        return series.cast(kind, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series(series.name, [None] * len(series), dtype=kind)


def _of_json(path: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    rng = random.Random(path.name)  # noqa: S311
    places = list(_places(json.loads(path.read_text()), ()))
    for place in rng.sample(places, min(len(places), 60)):
        for way, value in enumerate((*OTHERS, ...)):
            yield f"{'.'.join(map(str, place))} is {repr(value)[:30]}", partial(_change_json, place=place, way=way)


def _places(value: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Where a value stands, four levels deep."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*above, key)
        if len(above) < 3:
            yield from _places(child, (*above, key))


def _change_json(path: Path, place: tuple[Any, ...], way: int) -> None:
    whole = json.loads(path.read_text())
    inner = whole
    for key in place[:-1]:
        inner = inner[key]
    if way == len(OTHERS):
        del inner[place[-1]]
    else:
        inner[place[-1]] = OTHERS[way]
    path.write_text(json.dumps(whole))


if __name__ == "__main__":
    _use(Path(sys.argv[1]), "fusion.json", lambda _: None)  # what is imported at first use is imported
    make_calls(changes(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]))
