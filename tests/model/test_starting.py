"""A model that starts from the item vectors of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken import MetaTokenModule, Vocabulary
from metatoken.data import IdMap
from metatoken.errors import ConfigError
from metatoken.model.starting import KnownItems, start_items
from metatoken.model.store.saving import load_model, save_model
from metatoken.run import load_config, load_run, train_run
from tests.conftest import TrainedRun

WIDE = {"dim": 40, "layers": 1, "heads": 2, "dropout": 0.0}


def wide(vocabulary: Vocabulary, run: Path | str, **fields: object) -> MetaTokenModule:
    return MetaTokenModule(vocabulary, preset=WIDE, max_history=10, items_from=str(run), **fields).eval()


def test_items_begin_at_their_vectors_in_a_wider_model(trained_run: TrainedRun) -> None:
    folder = trained_run.run.folder
    old = load_run(folder).module
    new = wide(old.vocabulary, folder)
    dim = old.network.backbone.dim
    assert new.settings.item_dim == dim != new.network.backbone.dim
    assert new.settings.items_from is None  # its own from here on: a saved model needs the run no longer
    assert new.settings.beta == 0
    with torch.no_grad():
        torch.testing.assert_close(new.network.items(), old.network.items(), atol=1e-5, rtol=1e-4)
        # Tokens are written where their items are asked for, so that generation is no worse than by chance.
        rows, narrow = new.network.table(), new.network.narrow()
        torch.testing.assert_close(rows, new.network.bridge.outputs(narrow), atol=1e-6, rtol=1e-5)


def test_the_same_width_needs_no_maps(trained_run: TrainedRun) -> None:
    old = load_run(trained_run.run.folder).module
    size = {"dim": old.network.backbone.dim, "layers": 1, "heads": 1}
    new = MetaTokenModule(old.vocabulary, preset=size, items_from=str(trained_run.run.folder))
    assert not new.network.bridge.maps
    with torch.no_grad():
        torch.testing.assert_close(new.network.items(), old.network.items(), atol=1e-5, rtol=1e-4)


def test_items_are_found_by_their_ids_and_others_start_from_their_tokens(trained_run: TrainedRun) -> None:
    old = load_run(trained_run.run.folder).module
    raw = list(old.vocabulary.items.raw)
    strangers = {3, 7}
    ids = [f"new {row}" if row in strangers else one for row, one in enumerate(raw)]
    new = wide(replace(old.vocabulary, items=IdMap(ids)), trained_run.run.folder)
    kept = [row for row in range(len(raw)) if row not in strangers]
    with torch.no_grad():
        found, expected = new.network.items(), old.network.items()
        torch.testing.assert_close(found[kept], expected[kept], atol=1e-5, rtol=1e-4)
        composed = new.network.narrow()[new.network.items.tokens[sorted(strangers)]].sum(dim=1)
        torch.testing.assert_close(found[sorted(strangers)], composed, atol=1e-5, rtol=1e-4)


def test_first_tokens_are_the_means_of_their_items(trained_run: TrainedRun) -> None:
    old = load_run(trained_run.run.folder).module
    network = wide(old.vocabulary, trained_run.run.folder).network
    with torch.no_grad():
        vectors, tokens = network.items(), network.narrow()
    for token in network.items.tokens[:, 0].unique().tolist():
        own = network.items.tokens[:, 0] == token
        torch.testing.assert_close(tokens[token], vectors[own].mean(dim=0), atol=1e-4, rtol=1e-3)


def test_it_is_saved_and_loaded_without_the_run(trained_run: TrainedRun, tmp_path: Path) -> None:
    vocabulary = load_run(trained_run.run.folder).module.vocabulary
    module = wide(vocabulary, trained_run.run.folder, dropout=None)
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    with torch.no_grad():
        assert torch.equal(again.network.items(), module.network.items())


def test_a_part_of_the_items_alone_is_a_part_of_the_vectors(make_module) -> None:
    network = make_module(item_dim=5).network
    rows = torch.tensor([4, 9, 2])
    wanted = F.normalize(torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)), dim=1)
    start_items(network, KnownItems(rows, wanted))
    with torch.no_grad():
        torch.testing.assert_close(network.items(rows), wanted, atol=1e-5, rtol=1e-4)


def test_what_it_cannot_start_from(trained_run: TrainedRun, tmp_path: Path) -> None:
    folder, vocabulary = trained_run.run.folder, load_run(trained_run.run.folder).module.vocabulary
    with pytest.raises(ConfigError, match=r"items_from: expected the folder of a finished run, .*nowhere; no such"):
        wide(vocabulary, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"items_from: expected the folder of a finished run, .*; it has no vocab"):
        wide(vocabulary, tmp_path)
    with pytest.raises(ConfigError, match=r"model.item_dim: .* has item vectors of width \d+, got 3; leave item_dim"):
        wide(vocabulary, folder, item_dim=3)
    others = replace(vocabulary, items=IdMap([f"other {row}" for row in range(vocabulary.n_items)]))
    with pytest.raises(ConfigError, match="knows none of the items of this log"):
        wide(others, folder)


def test_a_training_asks_for_the_run_before_it_learns_tokens(trained_run: TrainedRun, tmp_path: Path) -> None:
    config = load_config(trained_run.yaml, [f"model.items_from={tmp_path / 'nowhere'}"])
    said: list[str] = []
    with pytest.raises(ConfigError, match="no such folder"):
        train_run(config, tmp_path / "run", say=said.append)
    assert said == []
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_another_one(trained_run: TrainedRun, tmp_path: Path) -> None:
    """All the way: the configuration, a wider preset, what is saved and loaded again."""
    asked = [f"model.items_from={trained_run.run.folder}", "model.preset.dim=32"]
    run = train_run(load_config(trained_run.yaml, asked), tmp_path / "run", say=lambda _: None)
    again = load_run(tmp_path / "run")
    assert again.module.settings.item_dim == trained_run.run.module.network.backbone.dim == 16
    with torch.no_grad():
        torch.testing.assert_close(again.module.network.items(), run.module.network.items())
    assert "items_from" in (tmp_path / "run" / "config.yaml").read_text()
