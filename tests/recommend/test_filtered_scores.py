"""A filter never changes a score, nor the order of what it lets pass; with fusion weights of older runs, too."""

from __future__ import annotations

from typing import Any

import pytest

from metatoken.predict.fusion import Fusion
from metatoken.recommend import Recommender
from tests.conftest import TrainedRun


@pytest.fixture(scope="module")
def recommender(trained_run: TrainedRun) -> Recommender:
    run = trained_run.run
    return Recommender(run.module, run.split.log, Fusion(0.2, 0.6, 0.2, form="sum"), run.catalogue)


def scores(recommender: Recommender, user: str, **options: Any) -> dict[str, float]:
    return {one.item: one.score for one in recommender.recommend(user, k=60, **options)}


@pytest.mark.parametrize("model", ["fused", "item_head"])
def test_scores_with_and_without_a_filter(model: Any, recommender: Recommender) -> None:
    items = recommender.catalogue.items.raw
    for user in recommender.history.users.raw[:15]:
        whole = scores(recommender, user, model=model)
        for filtered in (
            scores(recommender, user, model=model, allow=items[::3]),
            scores(recommender, user, model=model, deny=list(whole)[:20]),
            scores(recommender, user, model=model, exclude_seen=False),
        ):
            common = [item for item in filtered if item in whole]
            assert len(common) > 5
            assert [filtered[item] for item in common] == pytest.approx([whole[item] for item in common], rel=1e-4)
            order = [item for item in whole if item in filtered]
            assert [whole[item] for item in common] == pytest.approx([whole[item] for item in order], rel=1e-4)
