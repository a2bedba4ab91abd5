from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from metatoken.recommend import Recommender
from tests.cli.conftest import Refuse, Run
from tests.conftest import TrainedRun

ALONE = """
import runpy, sys
sys.modules["metatoken"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], {}, "__main__")
"""


def test_a_run_becomes_a_folder_that_recommends_alone(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    folder = trained_run.run.folder
    result = run("export", folder, "-o", tmp_path / "hf")
    assert result.code == 0, result.err
    card = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")
    assert "`generate` alone cannot be used with this model" in card  # since its histories are compact
    assert "users.jsonl" not in card
    assert "does not answer them" not in card  # a model of tasks that rank
    files = {line.split("`")[1] for line in card.splitlines() if line.startswith("| `")}
    assert files <= {path.name for path in (tmp_path / "hf").iterdir()}
    assert "recommend.py --history" in result.out
    history = list(trained_run.run.split.log.items.raw[3:8])
    expected = Recommender.load(folder).recommend(history=history, k=5, model="generation")
    given = [*history[:2], ",".join(history[2:])]  # in both forms
    done = subprocess.run(
        [sys.executable, "-c", ALONE, tmp_path / "hf" / "recommend.py", "--json", "-k", "5", "--history", *given],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["rank"], one["item"], one["title"]) for one in found] == [(e.rank, e.item, e.title) for e in expected]


def test_nothing_is_overwritten_unasked(
    run: Run, refuse: Callable[..., str], trained_run: TrainedRun, tmp_path: Path
) -> None:
    assert run("export", trained_run.run.folder, tmp_path / "hf").code == 0
    assert "hf exists" in refuse("export", trained_run.run.folder, tmp_path / "hf")
    assert run("export", trained_run.run.folder, tmp_path / "hf", "--overwrite").code == 0


def test_a_folder_that_is_no_run(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "is not a run folder" in refuse("export", tmp_path / "nothing", tmp_path / "hf")


class LocalHub:
    """Stands for the hub: repositories are folders."""

    root: Path
    public: tuple[str, ...] = ()

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        (self.root / name).mkdir(parents=True, exist_ok=True)
        if not private:
            type(self).public = (*self.public, name)
        return f"hub:{name}"

    def repo_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(private=name not in self.public)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        assert commit_message
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[LocalHub]:
    import huggingface_hub

    found = type("Hub", (LocalHub,), {"root": tmp_path / "hub"})
    monkeypatch.setattr(huggingface_hub, "HfApi", found)
    return found


def test_an_export_is_pushed_with_its_card(
    run: Run, hub: type[LocalHub], trained_run: TrainedRun, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    result = run("export", trained_run.run.folder, tmp_path / "hf", "--push", "me/shop")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "pushed to hub:me/shop"
    pushed = {path.name: path.read_bytes() for path in (hub.root / "me" / "shop").iterdir() if path.is_file()}
    assert pushed == {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir() if path.is_file()}
    card = ModelCard.load(hub.root / "me" / "shop" / "README.md")
    known = card.data.to_dict()
    assert known["library_name"] == "transformers"
    assert "recommendation" in known["tags"]
    assert "base_model" not in known
    row = next(row for row in trained_run.metrics["rows"] if row["model"] == "generation")
    values = {one.metric_type: one.metric_value for one in card.data.eval_results or ()}
    assert values == {name: round(row[name], 6) for name in ("hr@10", "ndcg@10")}
    baselines = [row for row in trained_run.metrics["rows"] if (row["task"], row["template"]) == ("sequential", "-")]
    best = max(baselines, key=lambda row: row["ndcg@10"])
    assert f"The best baseline, `{best['model']}`: HR@10 {best['hr@10']:.4f}" in card.text
    assert str(tmp_path) not in card.content


def test_nobody_else_sees_it_unless_that_is_said(
    run: Run, hub: type[LocalHub], trained_run: TrainedRun, tmp_path: Path
) -> None:
    folder = trained_run.run.folder
    hub.public = ("me/shop",)
    result = run("export", folder, tmp_path / "hf", "--push", "me/shop")
    assert result.code == 2
    assert "everybody can see me/shop" in result.err
    assert not list((hub.root / "me" / "shop").iterdir())
    result = run("export", folder, tmp_path / "hf", "--overwrite", "--push", "me/shop", "--public")
    assert result.code == 0, result.err


@pytest.mark.parametrize("name", ["shop", "a/b/c", "a//b", "", "a b/c", "../x"])
def test_names_that_the_hub_cannot_have(name: str, refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    assert "expected OWNER/NAME" in refuse("export", trained_run.run.folder, tmp_path / "hf", "--push", name)


def test_a_hub_that_cannot_be_reached(run: Run, trained_run: TrainedRun, tmp_path: Path) -> None:
    result = run("export", trained_run.run.folder, tmp_path / "hf", "--push", "me/shop")  # tests are offline
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("error: me/shop: the hub did not take it (")
    assert (tmp_path / "hf" / "config.json").is_file()


def test_public_is_about_the_hub(refuse: Refuse, trained_run: TrainedRun, tmp_path: Path) -> None:
    assert "is about --push" in refuse("export", trained_run.run.folder, tmp_path / "hf", "--public")
