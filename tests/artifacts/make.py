"""Makes the artifacts of a version, and what that version answered from them.

    git worktree add ../old v0.1 && (cd ../old && make install)
    python tests/artifacts/make.py tests/artifacts/v0.1 --metatoken ../old/.venv/bin/metatoken

The folder must be new. It gets a vocabulary, a tiny Llama, three runs without checkpoints (ranking; ratings and texts;
LoRA over that Llama, which it knows by the relative path `llama`), and `expected.json`. Only the command line of the
version is used. Artifacts of a released version are never made again: that they open is what they are for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import guard

USERS, ITEMS, DIM, LEVELS = 24, 24, 16, "8,8"
ASKED = [f"user{row:03d}" for row in (0, 5, 10, 15)]
INSPECTED = (("item", "item003"), ("item", "item017"), ("user", "user010"))
K = 5
FIELDS = {"rating": "4.5", "review": "I took Calm River 12 after work: warm colours.", "summary": "warm colours"}
KEPT = ("vocabulary", "llama", *guard.RUNS)


def questions() -> dict[str, list[dict[str, str]]]:
    """Rows to answer for each task."""
    pairs = [{"user": user, "item": f"item{(place * 7) % ITEMS:03d}"} for place, user in enumerate(ASKED)]
    return {
        task: [pair | {name: FIELDS[name] for name in names} for pair in pairs]
        for task, names in guard.QUESTIONS.items()
    }


def commands() -> list[list[str]]:
    """Every command line, in order."""
    world = [str(guard.HERE / "guard_world.py"), ".", *map(str, (USERS, ITEMS, DIM, 0)), LEVELS]
    lines = [
        ["tokenize", "log.csv", *guard.COLUMNS, *guard.TABLE, *guard.LEARN, "--levels", LEVELS, "-o", "vocabulary"]
    ]
    for kind, raw in INSPECTED:
        lines.append(["inspect", "vocabulary", "--id", raw, "--kind", kind, "--json"])
    for run in guard.RUNS:
        lines.append(["train", f"{run}.yaml", "-o", run])
        users = [part for user in ASKED for part in ("--user", user)]
        lines += [
            ["recommend", run, *users, "-k", str(K), "--model", model, "-o", f"{run}-{model}.jsonl"]
            for model in guard.MODELS
        ]
    lines += [
        ["answer", "answering", task, "--questions", f"{task}.csv", "-o", f"{task}.jsonl"] for task in questions()
    ]
    return [world, *(["metatoken", *line] for line in lines)]


def expected(folder: Path) -> dict[str, Any]:
    """What the version answered."""
    said = [folder / f"said-{place}.txt" for place, argv in enumerate(commands()) if argv[1] == "inspect"]
    return {
        "inspected": [json.loads(path.read_text(encoding="utf-8")) for path in said],
        "recommendations": {
            run: {
                model: {row["user"]: _scores(row["items"]) for row in _rows(folder / f"{run}-{model}.jsonl")}
                for model in guard.MODELS
            }
            for run in guard.RUNS
        },
        "questions": questions(),
        "answers": {task: [row["answer"] for row in _rows(folder / f"{task}.jsonl")] for task in questions()},
    }


def _scores(items: list[dict[str, Any]]) -> dict[str, float]:
    return {one["item"]: one["score"] for one in items}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Makes the folder that the first argument names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--metatoken", type=Path, help="command of the version; by default this interpreter's")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        for task, rows in questions().items():
            guard.write_csv(work / f"{task}.csv", rows)
        guard.play(work, asked.metatoken, commands())
        for name in KEPT:
            shutil.copytree(work / name, asked.out / name, ignore=shutil.ignore_patterns("checkpoints"))
        text = json.dumps(expected(work), indent=1, ensure_ascii=False)
    (asked.out / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
