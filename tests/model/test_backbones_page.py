"""The table of docs/backbones.md says what the tests of each family check, and the example configs are usable."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest
import torch

from metatoken import MetaTokenModule
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.run.config import load_config
from tests.files import ROOT
from tests.model import test_pairs
from tests.model.architectures import ARCHITECTURES
from tests.model.backbone import test_adaptation, test_pretrained
from tests.model.backbone.test_pretrained import _batch
from tests.model.store import test_export

FEATURES = {
    "old logits unchanged": [
        test_pretrained.test_text_logits_are_those_of_the_backbone,
        test_export.test_text_ids_score_after_folding_as_before,
    ],
    "gradients where promised": [test_pretrained.test_only_adapters_tokens_and_heads_train],
    "train = decode": [test_pretrained.test_steps_with_a_cache_equal_reading_at_once],
    "save and load": [test_pretrained.test_saved_models_come_back_bit_equal],
    "fold and merge": [test_export.test_folded_logits_are_those_of_training_with_identical_beams],
    "plain transformers": [test_export.test_plain_transformers_generate_the_same_items],
    "recommend.py": [test_export.test_recommend_py_recommends_the_same_items],
    "lora, full, frozen": [
        test_adaptation.test_lora_reaches_every_linear_layer_of_the_blocks_and_no_other,
        test_adaptation.test_frozen_and_full,
    ],
    "checkpointing": [test_adaptation.test_gradient_checkpointing_computes_blocks_twice_and_changes_no_gradient],
    "bf16": [test_adaptation.test_bf16_autocast_stays_close_to_float32],
    "memory": [test_adaptation.test_new_rows_cost_their_own_size_and_no_copy_of_the_table],
    "rate and write": [
        test_pairs.test_the_loss_of_a_text_is_that_of_the_model_itself,
        test_pairs.test_rows_of_other_tasks_change_nothing,
        test_pairs.test_what_is_written_is_the_likeliest_token_after_the_other,
        test_pairs.test_columns_without_a_token_are_never_written,
        test_pairs.test_gradients_of_all_kinds_reach_every_trained_weight,
        test_pairs.test_a_saved_model_answers_the_same,
        test_pairs.test_a_folded_model_writes_as_it_was_trained_to,
    ],
}
CONFIGS = ROOT / "configs" / "backbones"


def test_every_cell_of_the_table_is_a_test():
    page = (ROOT / "docs" / "backbones.md").read_text()
    table = re.search(r"^\| family \|.*?\n\n", page, re.MULTILINE | re.DOTALL)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].strip().splitlines()]
    assert head == ["family", *FEATURES]
    assert [row[0] for row in rows] == list(ARCHITECTURES)
    assert {cell for row in rows for cell in row[1:]} == {"yes"}
    for name, tests in FEATURES.items():
        assert f"**{name}**" in page
        for test in tests:
            # Both fixtures run over all families.
            assert {"folder", "architecture"} & set(inspect.signature(test).parameters), test.__name__


def test_there_is_one_example_config_a_family():
    assert sorted(path.stem for path in CONFIGS.iterdir()) == sorted(ARCHITECTURES)


def test_the_example_config_trains_its_family(vocabulary, architecture, folder):
    """As it stands, but for the weights, which come from the tiny model of the family."""
    config = load_config(CONFIGS / f"{architecture}.yaml", [f"model.backbone={folder}"])
    module = MetaTokenModule(vocabulary, replace(config.model, seed=config.seed))
    with torch.autocast("cpu", torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed"):
        loss = loss_parts(module.network(_batch(module)), Weights())["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None for name, p in module.named_parameters() if "lora_" in name)


@pytest.mark.parametrize("path", sorted(CONFIGS.iterdir()), ids=lambda path: path.stem)
def test_the_example_config_names_a_backbone_and_how_to_run_it(path):
    text = path.read_text()
    assert f"metatoken train configs/backbones/{path.name}" in text
    assert load_config(path).model.backbone.count("/") == 1
