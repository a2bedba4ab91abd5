from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from metatoken.decode.settings import TextOptions
from metatoken.recommend.answerer import Answerer
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun


@pytest.fixture
def answering(answering_run: TrainedRun) -> Path:
    folder: Path = answering_run.run.folder
    return folder


@pytest.fixture
def pair(answering: Path) -> tuple[str, str]:
    frame = pl.read_parquet(answering / "history.parquet")
    return frame["user"][0], frame["item"][0]


def test_a_rating_is_a_number_and_an_explanation_a_text(run: Run, answering: Path, pair: tuple[str, str]) -> None:
    asked = ("--user", pair[0], "--item", pair[1])
    rated = run("answer", answering, "rating", *asked)
    assert rated.code == 0, rated.err
    assert 1 <= float(rated.out) <= 5
    told = run("answer", answering, "explanation", *asked, "--rating", "5", "--template", "explanation-9")
    assert told.code == 0, told.err
    assert len(told.out.splitlines()) == 1


def test_a_text_is_written_otherwise(
    run: Run, refuse: Refuse, answering: Path, pair: tuple[str, str], answering_run: TrainedRun
) -> None:
    asked = ("explanation", "--user", pair[0], "--item", pair[1])
    drawn = [
        f"evaluate.writing.{one}" for one in ("do_sample=true", "temperature=3", "consensus=4", "max_new_tokens=7")
    ]
    told = run("answer", answering, *asked, *(part for one in drawn for part in ("--set", one)))
    assert told.code == 0, told.err
    options = TextOptions(do_sample=True, temperature=3.0, consensus=4, max_new_tokens=7)
    other = Answerer.of(answering_run.run, options).answer("explanation", [pair[0]], [pair[1]])
    assert told.out.strip() == other[0] != run("answer", answering, *asked).out.strip()
    for wrong, said in (
        ("evaluate.users=3", "expected a key of evaluate.writing, e.g. evaluate.writing.num_beams=4; the rest is as"),
        ("evaluate.writing.consensus=4", "set do_sample"),
        ("evaluate.writing.num_beams=0", "--set evaluate.writing.num_beams=0: evaluate.writing.num_beams: expected"),
    ):
        assert said in refuse("answer", answering, *asked, "--set", wrong)


def test_a_table_of_questions(run: Run, answering: Path, pair: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "asked.csv").write_text("user,item\n" + f"{pair[0]},{pair[1]}\n" * 3)
    printed = run("answer", answering, "rating", "--questions", tmp_path / "asked.csv")
    assert len(printed.out.splitlines()) == 3, printed.err
    written = run("answer", answering, "rating", "--questions", tmp_path / "asked.csv", "-o", tmp_path / "told.csv")
    assert "3 answers written" in written.out, written.err
    assert pl.read_csv(tmp_path / "told.csv")["answer"].n_unique() == 1


def test_mistakes_are_one_line(refuse: Refuse, answering: Path, pair: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "asked.csv").write_text(f"user,item\n{pair[0]},{pair[1]}\n")
    asked = ("--user", pair[0], "--item", pair[1])
    assert "--questions" in refuse("answer", answering, "rating")
    assert "--questions" in refuse("answer", answering, "rating", *asked, "--questions", tmp_path / "asked.csv")
    assert "--questions" in refuse("answer", answering, "rating", *asked, "-o", tmp_path / "told.csv")
    assert "ends in" in refuse(
        "answer", answering, "rating", "--questions", tmp_path / "asked.csv", "-o", tmp_path / "told.xls"
    )
    assert "is the file that --questions reads" in refuse(
        "answer", answering, "rating", "--questions", tmp_path / "asked.csv", "-o", tmp_path / "asked.csv"
    )
    assert "did you mean 'rating'" in refuse("answer", answering, "ratng", *asked)
    assert "not trained on" in refuse("answer", answering, "review_text", *asked)
    assert "explanation-9" in refuse("answer", answering, "explanation", *asked, "--rating", "5")
    assert "nobody" in refuse("answer", answering, "rating", "--user", "nobody", "--item", pair[1])


def test_evaluate_prints_a_table_for_each_kind_of_answer(run: Run, answering: Path) -> None:
    shown = run("evaluate", answering)
    assert shown.code == 0, shown.err
    assert shown.out.count("┃ template") == 3
    assert "rmse" in shown.out
    assert "rouge1" in shown.out
    assert "…" not in shown.out
