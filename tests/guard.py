"""Shows that a refactoring changed nothing: small runs by the command line, recorded before and compared after.

    python tests/guard.py BEFORE.json --metatoken OLD/.venv/bin/metatoken    # records
    python tests/guard.py AFTER.json --against BEFORE.json                   # records and compares; 1 if they differ

Three runs (ranking tasks; ratings and texts; LoRA over a tiny Llama with titles in prompts) are trained, evaluated and
asked for recommendations and answers; a vocabulary is made and inspected alone. Recorded are the sums of every array
and tensor with its name, whole tables and settings, metrics, recommendations with their scores, and the fusion weights.
Only commands and plain readers are used, no module of metatoken, so modules can move.

Nothing is tolerated: the same code on the same machine gives the same bytes. Another kind of processor or another torch
does not, so a recording is no file for the repository: record and compare on one machine. Everything runs in one
thread. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
USERS, ITEMS, DIM = 60, 120, 32
LEVELS = "8,8,4"  # three: at the second there are more prefixes than beams, so a search must choose
RUNS = ("ranking", "answering", "lora")
MODELS = ("fused", "item_head", "generation")
QUESTIONS = {
    "rating": (), "rating_text": (), "explanation": ("rating",), "review_summary": ("review",),
    "review_rating": ("review",), "review_text": ("summary", "rating"),
}  # fmt: skip
COLUMNS = ("--user", "user", "--item", "item", "--time", "time")
TABLE = ("--items", "items.csv", "--item-id", "item", "--title", "title", "--categories", "categories")
LEARN = ("--dim", "8", "--walks-per-node", "4", "--walk-length", "10", "--threads", "1")
VOLATILE = {"seconds", "files", "checksum", "versions", "peft_version", "transformers_version"}
SHOWN = 200


def commands(seed: int) -> list[list[str]]:
    """Every command line, in order; paths are relative to the folder that all of them work in."""
    world = [str(HERE / "guard_world.py"), ".", *map(str, (USERS, ITEMS, DIM, seed)), LEVELS]
    tokenize = [
        "tokenize",
        "log.csv",
        *COLUMNS,
        *TABLE,
        *LEARN,
        "--levels",
        LEVELS,
        "--seed",
        str(seed),
        "-o",
        "vocabulary",
    ]
    lines = [tokenize, ["inspect", "vocabulary", "--json"]]
    for kind, raw in (("item", "item003"), ("user", "user003")):
        lines.append(["inspect", "vocabulary", "--id", raw, "--kind", kind, "--json"])
    for run in RUNS:
        lines += [["train", f"{run}.yaml", "-o", run], ["evaluate", run]]
        lines += [
            ["recommend", run, "--users", "users.txt", "--model", model, "-o", f"{run}-{model}.jsonl"]
            for model in MODELS
        ]
    filters = ("--where", "price < 25 and categories contains 'drama'", "--include-seen", "-k", "5")
    lines.append(["recommend", "ranking", "--history", "item001,item002,item003", *filters, "-o", "filtered.jsonl"])
    for task in QUESTIONS:
        asked = ["answer", "answering", task, "--questions", f"{task}.csv", "-o", f"{task}.jsonl"]
        lines += [asked, [*asked[:-1], f"{task}-unseen.jsonl", "--template", f"{task.replace('_', '-')}-unseen"]]
    return [world, *(["metatoken", *line] for line in lines)]


def write_questions(folder: Path) -> None:
    """The users to recommend for, and a table of questions for each task."""
    users = [f"user{row:03d}" for row in range(20)]
    (folder / "users.txt").write_text("\n".join(users) + "\n", encoding="utf-8")
    fields = {"rating": "4.5", "review": "I took Calm River 12 after work: warm colours.", "summary": "warm colours"}
    for task, names in QUESTIONS.items():
        pairs = [{"user": user, "item": f"item{(row * 7) % ITEMS:03d}"} for row, user in enumerate(users)]
        write_csv(folder / f"{task}.csv", [pair | {name: fields[name] for name in names} for pair in pairs])


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """A table whose columns are the keys of the first row."""
    pl.DataFrame(rows).write_csv(path)


def play(folder: Path, metatoken: Path | None, lines: list[list[str]]) -> None:
    """Runs command lines in a folder, in one thread; what they print goes to `said-<place>.txt`.

    Args:
        folder: Where they work.
        metatoken: The command of an environment, whose interpreter lies beside it; None takes this one's.
        lines: See `tests/guard_play.py`.

    Raises:
        SystemExit: A command failed; what it said went to stderr.
    """
    python = Path(sys.executable) if metatoken is None else metatoken.absolute().with_name("python")
    listed = [{"argv": argv, "out": f"said-{place}.txt"} for place, argv in enumerate(lines)]
    (folder / "commands.json").write_text(json.dumps(listed), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    environment |= {"POLARS_MAX_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "pycache"), "PYTHONWARNINGS": "ignore", "COLUMNS": "200"}
    line = [str(python), str(HERE / "guard_play.py"), "commands.json"]
    if subprocess.run(line, cwd=folder, env=environment, check=False).returncode:
        raise SystemExit("stopped at the first command that failed")


def record(folder: Path) -> dict[str, Any]:
    """What the commands left in a folder and said about the vocabulary."""
    found: dict[str, Any] = {"inputs": {path.name: hashed(path.read_bytes()) for path in sorted(folder.glob("*.csv"))}}
    found["inputs"]["llama"] = artifact(folder / "llama")
    found["vocabulary"] = artifact(folder / "vocabulary")
    for place, argv in enumerate(commands(0)):
        if argv[1] == "inspect":
            said = (folder / f"said-{place}.txt").read_text(encoding="utf-8")
            found[" ".join(argv)] = json.loads(said)
    for run in RUNS:
        found[run] = artifact(folder / run)
    for path in sorted(folder.glob("*.jsonl")):
        found[path.stem] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return found


def artifact(folder: Path) -> dict[str, Any]:
    """The content of every file of an artifact by its path, whatever bytes hold it; checkpoints are left out."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith("checkpoints/"):
            continue
        if path.suffix == ".safetensors":
            found[name] = tensors(path)
        elif path.suffix == ".parquet":
            frame = pl.read_parquet(path)
            found[name] = {column: series(frame[column]) for column in frame.columns}
        elif path.name == "tokenizer.json":
            found[name] = hashed(path.read_bytes())
        elif path.suffix == ".json":
            found[name] = stable(json.loads(path.read_text(encoding="utf-8")))
        else:
            found[name] = path.read_text(encoding="utf-8").splitlines()
    return found


def tensors(path: Path) -> dict[str, str]:
    """Type, shape and sum of the content of each tensor, and the metadata of the file."""
    with safe_open(path, framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in sorted(file.keys())}
        about = file.metadata() or {}
    sums = {name: f"{value.dtype} {list(value.shape)} {hashed(value.tobytes())}" for name, value in found.items()}
    return sums | {f"metadata {name}": value for name, value in about.items()}


def series(values: pl.Series) -> str:
    """Type, length and sum of the content of a column."""
    return f"{values.dtype} [{len(values)}] {hashed(json.dumps(values.to_list(), default=str).encode())}"


def hashed(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def stable(value: Any, name: str = "") -> Any:
    """JSON without what differs from day to day; PEFT writes a set of modules in any order."""
    if isinstance(value, dict):
        return {key: stable(part, key) for key, part in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return sorted(value) if name == "target_modules" else [stable(part) for part in value]
    return value


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """A line `path: before -> after` for every leaf that is not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        names, gone = [*before, *(name for name in after if name not in before)], "(missing)"
        pairs = [(name, before.get(name, gone), after.get(name, gone)) for name in names]
        return [line for name, one, other in pairs for line in differences(one, other, f"{path}/{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for place, (one, other) in pairs for line in differences(one, other, f"{path}/{place}")]
    return [] if before == after else [f"{path}: {_short(before)} -> {_short(after)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def main() -> int:
    """Records, and compares if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="JSON file of the recording")
    parser.add_argument("--against", type=Path, help="older recording to compare with")
    parser.add_argument("--metatoken", type=Path, help="command of another environment; by default this interpreter's")
    parser.add_argument("--seed", type=int, default=0, help="of the log and the runs; another one must be noticed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        write_questions(Path(work))
        play(Path(work), asked.metatoken, commands(asked.seed))
        found = record(Path(work))
    asked.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if asked.against is None:
        print(f"recorded in {asked.out}")
        return 0
    lines = differences(json.loads(asked.against.read_text(encoding="utf-8")), json.loads(asked.out.read_text("utf-8")))
    print("\n".join(lines[:SHOWN]))
    print(f"{len(lines)} differences" if lines else "no difference")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
