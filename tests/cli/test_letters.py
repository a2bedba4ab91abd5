"""Letters that a pipe cannot spell are escaped: it may be one of Windows, or of the locale C."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metatoken import Interactions, Vocabulary
from metatoken.cli.app import main
from metatoken.model.store import standalone
from metatoken.run import extend_run
from tests.conftest import TrainedRun

NAMES = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def narrow_stdout(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Lets stdout know ASCII alone, and gives what will be written there."""
    # In the test, not in a fixture: between these pytest puts its own in place.
    found = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(found, encoding="ascii", newline="", write_through=True))
    return found


def test_commands_escape_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = narrow_stdout(monkeypatch)
    (tmp_path / "l.csv").write_text("user,item,event\nü,a,北\nv,b,buy\n", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["inspect", str(tmp_path / "l.csv")])
    assert not left.value.code
    assert b"\\u5317 1" in pipe.getvalue()


def test_recommendations_escape_them(trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, later = tmp_path / "run", tmp_path / "later.csv"
    raw = trained_run.run.split.log
    time = int(raw.frame["timestamp"].max()) + 1  # type: ignore[arg-type]
    later.write_text(f"user_id,item_id,timestamp\né,北\x1b[2J,{time}\né,{raw.items.raw[0]},{time}\n", encoding="utf-8")
    extend_run(trained_run.run.folder, Interactions.read(later, **NAMES), run, say=lambda _: None)
    for model in ("item_head", "fused"):
        pipe = narrow_stdout(monkeypatch)
        everything = ["--user", "é", "-k", "1000", "--include-seen", "--model", model]
        with pytest.raises(SystemExit) as left:
            main(["recommend", str(run), *everything])
        assert not left.value.code
        lines = pipe.getvalue().decode("ascii").split("\n")
        assert lines[0] == "\\xe9:"
        assert sum(line.endswith("  \\u5317\\x1b[2J") for line in lines) == 1


def test_neighbours_spell_what_moves_a_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"i{n}\x1b[2J" for n in range(8)]
    vectors = np.random.default_rng(0).normal(size=(8, 4))
    Vocabulary.from_embeddings(ids, vectors, levels=[2, 4], titles=["a\x9bb"] * 8).save(tmp_path / "vocabulary")
    with pytest.raises(SystemExit) as left:
        main(["inspect", str(tmp_path / "vocabulary"), "--id", ids[0]])
    assert not left.value.code
    out = capsys.readouterr().out
    assert "\\x1b[2J" in out
    assert "a\\x9bb" in out
    assert not set("\x1b\x9b") & set(out)


def test_the_script_of_an_export_escapes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = narrow_stdout(monkeypatch)

    class Fake:
        def __init__(self, _: Any) -> None:
            self.rows = {"a": 0}
            self.users: dict[str, Any] = {}

        def recommend(self, *_: Any, **__: Any) -> list[standalone.Recommendation]:
            return [standalone.Recommendation(1, "é", "北海道", 0.5)]

    monkeypatch.setattr(standalone, "Recommender", Fake)
    monkeypatch.setattr(sys, "argv", ["recommend.py", "--history", "a"])
    standalone.main()
    assert pipe.getvalue().decode().split() == ["1", "\\xe9", "0.5", "\\u5317\\u6d77\\u9053"]
