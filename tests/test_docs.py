"""README.md and every page of docs/ run: their console and Python blocks, in order, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metatoken.cli.app import main
from tests.files import ROOT, write_movies, write_ratings
from tests.test_layers import LAYERS

NEED_DATASETS = {"performance.md", "reproduction.md"}  # numbers of real datasets, measured by hand
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in NEED_DATASETS),
]


class Block(NamedTuple):
    kind: str  # "console", "python" or "yaml"
    text: str
    line: int  # of the opening fence, from 1


def runnable_blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a page that a test executes.

    ```console (its `$ ` lines, each a `metatoken` command), ```python, and ```yaml whose first line is a comment with
    a file name: it becomes that file. Blocks under any other word (`sh`, `text`) are only shown.
    """
    found = re.finditer(r"^```(console|python|yaml)\n(.*?)^```$", markdown, flags=re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], markdown.count("\n", 0, m.start()) + 1) for m in found]


def shell_commands(text: str) -> list[str]:
    """The `$ ` lines of a console block, with their continuation lines; what else it holds is output."""
    joined = text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def test_blocks_are_found() -> None:
    page = "a\n```console\n$ one \\\n  two\noutput\n$ three\n```\n```sh\n$ no\n```\n```python\nx = 1\n```\n"
    assert [(block.kind, block.line) for block in runnable_blocks(page)] == [("console", 2), ("python", 11)]
    assert shell_commands(runnable_blocks(page)[0].text) == ["one    two", "three"]


def run_console(block: Block) -> None:
    commands = shell_commands(block.text)
    assert commands, f"the block at line {block.line} has no `$ ` line"
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "metatoken", f"line {block.line}: only metatoken commands are run, got {command}"
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code in (0, None), f"line {block.line}: {command}"


def run_block(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    if block.kind == "console":
        run_console(block)
    elif block.kind == "python":
        # Blank lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)  # noqa: S102
    elif name := re.match(r"# (\w+\.yaml)\n", block.text):
        Path(name[1]).write_text(block.text, encoding="utf-8")


FILMS = {"39": "260", "40": "1196"}  # items that README names by their ids in MovieLens


def rename_films(path: Path, column: int) -> None:
    """Gives two items of a table the ids that README names."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row[column] = FILMS.get(row[column], row[column])
    path.write_text("\n".join(map(",".join, rows)) + "\n", encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of a reader: a log and its item table. Torch keeps to one thread; the models are tiny."""
    import torch

    write_ratings(tmp_path / "ratings.csv")
    write_movies(tmp_path / "movies.csv")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda _count: None)
        yield tmp_path
    torch.set_num_threads(threads)


def test_a_block_that_fails_is_noticed(place: Path) -> None:
    with pytest.raises(AssertionError, match="line 7: metatoken inspect nothing"):
        run_console(Block("console", "$ metatoken inspect nothing/\n", 7))
    with pytest.raises(ZeroDivisionError):
        run_block(Block("python", "1 / 0\n", 1), place, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_runs(page: Path, place: Path) -> None:
    blocks = runnable_blocks(page.read_text(encoding="utf-8"))
    assert {block.kind for block in blocks} & {"console", "python"}, "every page shows one thing that runs"
    if page.stem == "README":
        rename_films(place / "ratings.csv", 1)
        rename_films(place / "movies.csv", 0)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        run_block(block, page, namespace)


def test_readme_shows_both_ways() -> None:
    assert {block.kind for block in runnable_blocks(PAGES[0].read_text(encoding="utf-8"))} >= {"console", "python"}


def test_links_lead_somewhere() -> None:
    """Every relative link of a page names a file of the repository."""
    link = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
    links = [(page, target) for page in PAGES for target in link.findall(page.read_text(encoding="utf-8"))]
    assert not [(page.name, to) for page, to in links if "://" not in to and not (page.parent / to).exists()]


def test_the_picture_of_the_stages_is_that_of_the_layers() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    arrows = re.findall(r"^ +(\w+)(?:\[.*?\])? -->(?:\|.*?\|)? (\w+)", page, flags=re.MULTILINE)
    assert [arrows[0][0], *(to for _, to in arrows)] == [*LAYERS[LAYERS.index("data") : LAYERS.index("cli") + 1]]
    assert all(left == to for (_, to), (left, _) in pairwise(arrows))


def test_decisions_that_the_code_cites_are_there() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    numbers = re.findall(r"^(\d+)\. \*\*", page, flags=re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    sources = [path for folder in ("python", "tests") for path in (ROOT / folder).rglob("*.py")]
    cited = {
        number
        for path in sources
        for number in re.findall(r"design\.md,\s+decision\s+(\d+)", path.read_text(encoding="utf-8"))
    }
    assert cited
    assert cited <= set(numbers)
