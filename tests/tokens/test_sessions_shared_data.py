"""Gowalla and Diginetica from file to codes, on a cut of each: one command, as docs/walks.md shows it for the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metatoken.cli.app import main
from metatoken.data import Interactions, leave_last_out
from metatoken.tokens.quality.links import link_auc
from metatoken.tokens.vectors.skipgram import Embeddings
from metatoken.tokens.vocabulary import Vocabulary

pytestmark = pytest.mark.shared_data
FAST = ("--dim", "16", "--walks-per-node", "4", "--walk-length", "20")


def head(source: Path, to: Path, lines: int) -> Path:
    with source.open(encoding="utf-8") as text:
        to.write_text("".join(line for line, _ in zip(text, range(lines), strict=False)), encoding="utf-8")
    return to


def tokenize(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tokenize", *map(str, arguments)])
    assert not stopped.value.code


def test_gowalla(shared_data: Path, tmp_path: Path) -> None:
    log = head(shared_data / "gowalla" / "train.txt", tmp_path / "gowalla.txt", 1500)
    tokenize(log, "--format", "sequences", *FAST, "--epochs", "2", "-o", tmp_path / "v")
    vocabulary = Vocabulary.load(tmp_path / "v")
    split = leave_last_out(Interactions.read(log, "sequences"))
    assert len(np.unique(vocabulary.item_codes, axis=0)) == vocabulary.n_items
    made = Embeddings(vocabulary.vectors, vocabulary.n_users, vocabulary.n_items, vocabulary.trained)
    held, known = split.test, split.train.sequences()
    walked = vocabulary.trained[vocabulary.n_users :][held.items]
    assert link_auc(made, held.users[walked], held.items[walked], known=known) > 0.75


def test_diginetica(shared_data: Path, tmp_path: Path) -> None:
    log = head(shared_data / "diginetica" / "train_sessions.txt", tmp_path / "sessions.txt", 4000)
    paths = ("--meta-path", "item-user-item", "--meta-path", "item>item")
    tokenize(
        log, "--format", "sessions", "--kinds", "items", *paths, *FAST, "--cold", "neighbours", "-o", tmp_path / "v"
    )
    vocabulary = Vocabulary.load(tmp_path / "v")
    assert vocabulary.n_users == 0
    assert len(np.unique(vocabulary.item_codes, axis=0)) == vocabulary.n_items
    assert vocabulary.trained.mean() > 0.5
