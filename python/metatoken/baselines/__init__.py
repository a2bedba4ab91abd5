"""Recommenders of others that a run is measured against, fitted on the same split and tuned on the same validation."""

from __future__ import annotations

from metatoken.baselines.baseline import Baseline
from metatoken.baselines.ease import EASE
from metatoken.baselines.item_knn import ItemKNN
from metatoken.baselines.sasrec import SASRec

# Each by its name in tables.
BASELINES: dict[str, type[Baseline]] = {one.name: one for one in (SASRec, ItemKNN, EASE)}

__all__ = ["BASELINES", "EASE", "Baseline", "ItemKNN", "SASRec"]
