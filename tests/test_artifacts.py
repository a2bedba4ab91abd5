from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metatoken import artifacts
from metatoken.errors import ArtifactError


def save(path: Path, kind: str = "thing", schema: int = 1, text: str = "x") -> None:
    with artifacts.atomic_folder(path, kind=kind) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text(text)
        artifacts.write_manifest(folder, kind, schema, seed=3)


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_folder_round_trip_and_replacement(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "thing"
    save(place, text="one")
    assert artifacts.read_manifest(place, "thing", 1)["seed"] == 3
    save(place, text="two")
    assert (place / "sub" / "a.txt").read_text() == "two"
    artifacts.read_manifest(place, "thing", 1)
    assert names(place.parent) == ["thing"]


def test_error_inside_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with artifacts.atomic_folder(tmp_path / "a" / "b" / "thing", kind="thing") as folder:
            (folder / "x").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_error_inside_keeps_what_was_there(tmp_path: Path) -> None:
    save(tmp_path / "thing", text="one")

    def broken() -> None:
        with artifacts.atomic_folder(tmp_path / "thing", kind="thing") as folder:
            (folder / "x").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert names(tmp_path) == ["thing"]
    artifacts.read_manifest(tmp_path / "thing", "thing", 1)


@pytest.mark.parametrize("manifest", [None, "{}", '{"name": "a web app"}', "[1]", "not json"])
def test_foreign_folder_is_not_replaced(tmp_path: Path, manifest: str | None) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (place / artifacts.MANIFEST).write_text(manifest)
    with pytest.raises(ArtifactError, match=r"not a thing of metatoken"):
        save(place)
    assert (place / "thesis.tex").read_text() == "years of work"


def test_own_folder_with_a_strange_file_or_another_kind_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "thing"
    save(place)
    with pytest.raises(ArtifactError, match=r"is a thing, not a vocabulary"):
        save(place, kind="vocabulary")
    (place / "sub" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"sub/notes\.txt"):
        save(place)
    assert (place / "sub" / "notes.txt").read_text() == "mine"


def test_empty_folder_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="is a file"):
        save(tmp_path / "file")
    with pytest.raises(ArtifactError, match="cannot make this folder"):
        save(tmp_path / "file" / "thing")


def test_manifest_checks(tmp_path: Path) -> None:
    place = tmp_path / "thing"
    with pytest.raises(ArtifactError, match="no such folder"):
        artifacts.read_manifest(place, "thing", 1)
    save(place, schema=2)
    with pytest.raises(ArtifactError, match="is a thing, expected a run"):
        artifacts.read_manifest(place, "run", 2)
    with pytest.raises(ArtifactError, match=r"schema 2 .* newer .* reads up to 1"):
        artifacts.read_manifest(place, "thing", 1)
    file = place / "sub" / "a.txt"
    file.write_text("y")
    with pytest.raises(ArtifactError, match=r"a\.txt: altered"):
        artifacts.read_manifest(place, "thing", 2)
    file.unlink()
    with pytest.raises(ArtifactError, match=r"a\.txt: missing"):
        artifacts.read_manifest(place, "thing", 2)
    (place / artifacts.MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"no manifest\.json"):
        artifacts.read_manifest(place, "thing", 2)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../x"])
def test_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    place = tmp_path / "thing"
    save(place)
    manifest = json.loads((place / artifacts.MANIFEST).read_text())
    manifest["files"][name] = "0"
    (place / artifacts.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="is not a manifest"):
        artifacts.read_manifest(place, "thing", 1)


def test_atomic_file(tmp_path: Path) -> None:
    place = tmp_path / "new" / "report.html"
    with artifacts.atomic_file(place) as work:
        assert work.suffix == ".html"
        work.write_text("one")
        assert not place.exists()
    assert place.read_text() == "one"

    def broken() -> None:
        with artifacts.atomic_file(place) as work:
            work.write_text("two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert place.read_text() == "one"
    assert names(place.parent) == ["report.html"]
    with pytest.raises(ArtifactError, match="is a folder"), artifacts.atomic_file(tmp_path):
        pass


arrays = hnp.arrays(
    dtype=st.sampled_from([np.int32, np.int64, np.float32, np.float64, np.bool_]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@settings(max_examples=50, deadline=None)
@given(value=st.dictionaries(st.text("abcdef", min_size=1), arrays, max_size=4), flip=st.booleans())
def test_tensors_round_trip_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, np.ndarray], flip: bool
) -> None:
    folder = tmp_path_factory.mktemp("tensors")
    value = {name: x.T if flip else x for name, x in value.items()}
    meta = {"b": [1, 2], "a": "x", "c": None, "d": 0.5}
    artifacts.write_tensors(folder / "one", value, meta)
    artifacts.write_tensors(folder / "two", dict(reversed(value.items())), dict(reversed(meta.items())))
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    back, back_meta = artifacts.read_tensors(folder / "one", value)
    assert back_meta == meta
    assert set(back) == set(value)
    for name, x in value.items():
        assert back[name].dtype == x.dtype
        np.testing.assert_array_equal(back[name], x)


def test_files_of_tensors_have_ordinary_rights(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    artifacts.write_tensors(tmp_path / "tensors", {"x": np.zeros(2)})
    assert (tmp_path / "tensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_unreadable_files(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"\x80\x04pickle")
    for read in (artifacts.read_json, artifacts.read_tensors, lambda p: artifacts.read_frame(p, {})):
        with pytest.raises(ArtifactError, match="bad"):
            read(bad)
        with pytest.raises(ArtifactError, match="absent"):
            read(tmp_path / "absent")
    artifacts.write_tensors(bad, {"x": np.zeros(2)})
    with pytest.raises(ArtifactError, match="no array y, z"):
        artifacts.read_tensors(bad, ["z", "y", "x"])


def test_frame_round_trip(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["b", "a", None], "codes": [[1, 2], [], [3]]})
    artifacts.write_frame(tmp_path / "one", frame)
    artifacts.write_frame(tmp_path / "two", pl.concat([frame[:1], frame[1:]], rechunk=False))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert artifacts.read_frame(tmp_path / "one", {"id": pl.String()}).equals(frame)
    with pytest.raises(ArtifactError, match="column id is String, expected Int64"):
        artifacts.read_frame(tmp_path / "one", {"id": pl.Int64})
    with pytest.raises(ArtifactError, match="column title is None"):
        artifacts.read_frame(tmp_path / "one", {"title": pl.String})


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "x", {"score": float("nan")})
