"""Letters that a pipe cannot spell are escaped: it may be one of Windows, or of the locale C."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from metatoken.cli.app import main
from metatoken.model.store import standalone


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What is written to a stdout that knows ASCII alone."""
    found = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(found, encoding="ascii", newline="", write_through=True))
    return found


def test_commands_escape_them(pipe: io.BytesIO, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("user,item,event\nü,a,北\nv,b,buy\n", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["inspect", str(tmp_path / "l.csv")])
    assert not left.value.code
    assert b"\\u5317 1" in pipe.getvalue()


def test_the_script_of_an_export_escapes_them(pipe: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
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
