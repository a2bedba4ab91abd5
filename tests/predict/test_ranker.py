"""The generated list: beams find items, the item head ranks them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metatoken.decode.beam import beam_search
from metatoken.errors import ConfigError
from metatoken.model.heads.ranking import item_scores
from metatoken.model.heads.top import TOLERANCE, top_k
from metatoken.predict.ranker import Reading
from metatoken.tasks.ranking import Evaluation, EvaluationBatches
from metatoken.tasks.task import find_template
from tests.conftest import TrainedRun

DEPTH, WIDTH = 12, 2  # far fewer than the items, so that beams are cut


def prompts(module: Any, split: Any) -> Evaluation:
    users = np.arange(8)
    nothing = np.zeros_like(users)
    histories = split.history("test")
    return EvaluationBatches(module.reader, find_template("seq-1"), users, nothing, histories, batch_size=8)[0]


def ranked_by_hand(module: Any, one: Evaluation, **asked: Any) -> np.ndarray:
    """The item head's ten best among what the beams find: all other items of the catalogue are taken out of it."""
    with torch.no_grad():
        found = beam_search(module.network, one.batch, one.seen, k=DEPTH, width=WIDTH, **asked).items
        logs = item_scores(module.network, one.batch)
    for row, items in zip(logs, found.tolist(), strict=True):
        row[[item for item in range(len(row)) if item not in items]] = -torch.inf
    return top_k(logs, None, 10, tolerance=TOLERANCE, log=True)[0]


def test_what_beams_find_is_ranked_by_the_item_head(trained_run: TrainedRun) -> None:
    module = trained_run.run.module
    one = prompts(module, trained_run.run.split)
    reading = Reading(module.network, one.batch, one.seen, width=WIDTH, depth=DEPTH)
    items, scores = reading.generation(10)
    assert items.tolist() == ranked_by_hand(module, one).tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(reading.item.numpy(), items.astype(np.int64), axis=1))
    assert items.tolist() != reading.beams.items[:, :10].tolist()  # the beams have another order, so this tells


def test_a_list_of_what_may_changes_no_order(trained_run: TrainedRun) -> None:
    module = trained_run.run.module
    one = prompts(module, trained_run.run.split)
    only = [np.arange(0, 60, 3) if row % 2 else np.array([7, 3]) for row in range(8)]
    items, scores = Reading(module.network, one.batch, one.seen, only, width=WIDTH, depth=DEPTH).generation(10)
    assert items.tolist() == ranked_by_hand(module, one, allowed=only).tolist()
    assert np.isneginf(scores[items < 0]).all()
    assert set(items[0].tolist()) <= {3, 7, -1}


@pytest.mark.parametrize("fields", [{"weights": {"item": 0}}, {"leaf": False}, {"generated_by": "tokens"}])
def test_a_model_that_only_writes_has_the_order_of_its_beams(
    fields: dict[str, Any], make_module: Any, split: Any
) -> None:
    module = make_module(tasks=["sequential"], **fields)
    one = prompts(module, split)
    reading = Reading(module.network, one.batch, one.seen, width=WIDTH, depth=DEPTH)
    items, scores = reading.generation(10)
    with torch.no_grad():
        found = beam_search(module.network, one.batch, one.seen, k=DEPTH, width=WIDTH)
    assert items.tolist() == found.items[:, :10].tolist()
    np.testing.assert_array_equal(scores, found.scores[:, :10].numpy())


def test_items_need_vectors_of_their_own(make_module: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.generated_by: items .* leaf=true"):
        make_module(generated_by="items", leaf=False)
