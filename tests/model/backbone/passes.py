"""Fast passes of ours beside a model's own: batches to read, which pass is taken, and how to leave it out."""

from __future__ import annotations

from metatoken.tasks.batch import collate
from tests.model.test_passage import MIXTURES, rows


def batch_of(module, mixture="several"):
    return collate(rows(module, MIXTURES[mixture]), module.builder.encoder.pad_id)


def passage_of(module, mixture="several"):
    return module.network.passage(batch_of(module, mixture), module.network.items())


def slowly(monkeypatch, quick):
    """From here on, bodies that the module `quick` reads are read by their own pass."""
    monkeypatch.setattr(quick, "readable", lambda _body, _passage: False)


def counted(monkeypatch, quick):
    """The passages that the module `quick` reads."""
    found, read = [], quick.read

    def call(body, passage):
        found.append(passage)
        return read(body, passage)

    monkeypatch.setattr(quick, "read", call)
    return found
