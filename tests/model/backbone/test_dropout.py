"""Quick dropout: the right share, the right scale, its own gradient, and the same draws for the same seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metatoken.model.backbone.dropout import QuickDropout, quicken


@pytest.mark.parametrize("p", [0.1, 0.5, 0.65])
def test_share_scale_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 251, requires_grad=True)
    y = QuickDropout(p)(x)
    kept = y != 0
    assert float((~kept).float().mean()) == pytest.approx(p, abs=0.005)
    torch.testing.assert_close(y[kept].detach(), torch.full((int(kept.sum()),), 1 / (1 - p)), rtol=1e-4, atol=0)
    y.backward(torch.full_like(x, 3.0))
    torch.testing.assert_close(x.grad, 3 * y.detach())
    # No row, column or lane of a draw is favoured.
    for dim in (0, 1):
        assert float((~kept).float().mean(dim).std()) < 3 * (p * (1 - p) / x.shape[dim]) ** 0.5
    lanes = (~kept).flatten()[: 4 * 25_000].view(-1, 4).float().mean(0)
    torch.testing.assert_close(lanes, torch.full((4,), p), rtol=0, atol=0.02)


def test_the_seed_decides() -> None:
    x, drop = torch.randn(9, 7), QuickDropout(0.3)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(drop(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_nothing_is_dropped_outside_of_training() -> None:
    x = torch.randn(5, 5)
    assert QuickDropout(0.5).eval()(x) is x
    assert torch.equal(QuickDropout(0.0)(x), x)
    assert torch.equal(QuickDropout(1.0)(x), torch.zeros(5, 5))


def test_every_dropout_of_a_model_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.ModuleDict({"inner": nn.Dropout(0.4)}))
    quicken(model)
    found = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    assert [(type(m), m.p) for m in found] == [(QuickDropout, 0.2), (QuickDropout, 0.4)]


def test_a_pretrained_backbone_reads_with_dropout_while_it_trains(backbones, vocabulary, split) -> None:
    """A share of the values behind the words is zero, and nothing of the words."""
    from metatoken import MetaTokenModule
    from metatoken.tasks.batch import collate
    from metatoken.tasks.task import find_template

    module = MetaTokenModule(vocabulary, backbone=str(backbones["llama-tied"]), max_history=10, dropout=0.4)
    network, builder, template = module.network, module.builder, find_template("seq-1")
    rows = [builder.causal(template, None, split.train.sequences()[user][:8], 1) for user in range(6)]
    batch = collate(rows, builder.encoder.pad_id)
    with torch.no_grad():
        noisy = network.train().passage(batch, network.items())
        plain = network.eval().passage(batch, network.items())
    real = batch.attention_mask.bool()
    gone = (noisy.vectors == 0) & (plain.vectors != 0)
    assert float(gone[real].float().mean()) == pytest.approx(0.4, abs=0.05)
    assert noisy.words is not None
    assert torch.equal(noisy.words, plain.words)


def test_a_preset_has_its_own() -> None:
    from metatoken.errors import ConfigError
    from metatoken.model.settings import ModelSettings

    with pytest.raises(ConfigError, match=r"model.dropout: a preset has its dropout under model.preset"):
        ModelSettings.of(None, {"dropout": 0.1})
