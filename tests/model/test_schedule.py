"""Which weights decay, and how the learning rate moves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metatoken.errors import ConfigError
from metatoken.model.schedule import decaying, make_optimizer, rate
from metatoken.model.settings import ModelSettings
from metatoken.run import train_run
from metatoken.run.config import load_config
from tests.files import write_run_config


def names(module: Any, weights: Any) -> set[str]:
    wanted = {id(weight) for weight in weights}
    return {name for name, weight in module.named_parameters() if id(weight) in wanted}


@pytest.mark.parametrize("backbone", ["gpt2-preset", "t5-preset"])
def test_only_matrices_that_multiply_decay(backbone: str, make_module: Any) -> None:
    module = make_module(backbone=backbone, weight_decay=0.1)
    decays = names(module, decaying(module))
    rest = {name for name, p in module.named_parameters() if p.requires_grad} - decays
    assert {"network.items.projection.weight", "network.table.projection.weight"} <= decays
    assert {"network.items.residual", "network.table.weight", "network.items.projection.bias"} <= rest
    backbones = {name.removeprefix("network.backbone.model.") for name in decays if "backbone" in name}
    assert backbones
    assert not [name for name in backbones if "wte" in name or "wpe" in name or "norm" in name or "ln_" in name
                or "shared" in name or "relative_attention_bias" in name or "embed" in name]  # fmt: skip
    parts = dict(module.named_modules())
    for name in rest:
        owner = name.rpartition(".")[0]
        table = isinstance(parts[owner], torch.nn.Embedding) or name in (
            "network.items.residual",
            "network.table.weight",
        )
        assert table or dict(module.named_parameters())[name].ndim == 1, name


def test_every_trainable_weight_is_in_one_group(make_module: Any) -> None:
    module = make_module(weight_decay=0.1)
    next(iter(module.network.backbone.parameters())).requires_grad_(requires_grad=False)
    groups = make_optimizer(module, module.settings, fused=False).param_groups
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters() if p.requires_grad)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


def test_a_step_without_gradient_shrinks_matrices_alone(make_module: Any) -> None:
    module = make_module(weight_decay=0.5, learning_rate=0.1)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    decays = names(module, decaying(module))
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    make_optimizer(module, module.settings, fused=True).step()
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if name in decays else 1.0))


@given(st.integers(0, 300), st.integers(0, 200), st.integers(1, 400))
def test_the_rate_rises_then_stays_or_falls_to_zero(step: int, warmup: int, total: int) -> None:
    step = min(step, total)
    constant = rate(ModelSettings(warmup_steps=warmup, schedule="constant"), step, total)
    cosine = rate(ModelSettings(warmup_steps=warmup, schedule="cosine"), step, total)
    warm = min(warmup, total / 10)
    assert constant == pytest.approx(1.0 if step + 1 >= warm else (step + 1) / warm)
    assert cosine == pytest.approx(constant * (1 + math.cos(math.pi * step / total)) / 2)
    assert rate(ModelSettings(warmup_steps=warmup, schedule="cosine"), total, total) == pytest.approx(0.0)


def test_without_a_known_end_the_rate_stays() -> None:
    settings = ModelSettings(warmup_steps=10, schedule="cosine")
    assert [rate(settings, step, math.inf) for step in (0, 9, 10**6)] == [0.1, 1.0, 1.0]


def test_a_checkpoint_of_a_version_with_other_groups(tmp_path: Path) -> None:
    config = load_config(write_run_config(tmp_path))
    run = train_run(config, tmp_path / "run", say=lambda _: None)
    last = run.folder / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    first, second = content["optimizer_states"][0]["param_groups"]
    first["params"], second["params"] = first["params"] + second["params"][:1], second["params"][1:]
    torch.save(content, last)
    longer = load_config(tmp_path / "config.yaml", ["trainer.max_epochs=2"])
    with pytest.raises(ConfigError, match="--resume: an older version made this checkpoint"):
        train_run(longer, run.folder, resume=True, say=lambda _: None)
