"""What trains in each mode, options of PEFT, and what saves memory, for every family."""

import copy
from dataclasses import replace

import lightning as L
import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.pytorch_utils import Conv1D

from metatoken import MetaTokenModule
from metatoken.errors import ConfigError
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.model.store.saving import load_model, save_model
from tests.model.backbone.test_pretrained import _batch
from tests.prompting import moved

OWN = {"table.weight", "table.projection.weight", "table.projection.bias", "items.residual", "items.projection.weight"}


def _module(vocabulary, folder, **fields):
    return MetaTokenModule(vocabulary, backbone=str(folder), max_history=10, **fields)


def _backward(module, batch):
    torch.manual_seed(0)
    loss = loss_parts(module.network(batch), Weights())["loss"]
    loss.backward()
    return float(loss.detach())


def _gradients(module):
    return {name: p.grad for name, p in module.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tuning", ["frozen", "full"])
def test_frozen_and_full(vocabulary, folder, tuning, tmp_path):
    module = _module(vocabulary, folder, tuning=tuning)
    _backward(module, _batch(module))
    reached = set(_gradients(module))
    inside = {name for name in reached if name.startswith("backbone.")}
    assert reached >= OWN
    blocks = {name for name, p in module.network.backbone.named_parameters() if p.ndim == 2 and p.requires_grad}
    assert bool(inside) == bool(blocks) == (tuning == "full")
    assert not any("lora" in name for name, _ in module.network.named_parameters())
    moved(module, 0.05)
    save_model(module.eval(), tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    batch = _batch(module)
    with torch.no_grad():
        one, two = module.network(batch), again.network(batch)
    assert torch.equal(one.item, two.item)
    assert torch.equal(one.shared, two.shared)


def test_lora_reaches_every_linear_layer_of_the_blocks_and_no_other(vocabulary, folder):
    module = _module(vocabulary, folder)
    bare = module.network.backbone.bare()
    adapted = {name for name, part in bare.named_modules() if isinstance(part, LoraLayer)}
    linear = {name for name, part in bare.named_modules() if isinstance(part, torch.nn.Linear | Conv1D)}
    plain = {name for name in linear - adapted if ".base_layer" not in name and ".lora_" not in name}
    assert len(adapted) >= 4
    assert plain == {"lm_head"}


def _in_front(batch):
    """The batch with the words of each row among its own ids, which every model reads in one pass."""
    n, words = batch.words.shape[1], batch.words[batch.words_of]
    return replace(
        batch, input_ids=torch.cat([words, batch.input_ids], 1), items=F.pad(batch.items, (n, 0), value=-1),
        attention_mask=torch.cat([batch.words_mask[batch.words_of], batch.attention_mask], 1),
        positions=torch.cat([torch.arange(n).expand(len(words), -1), batch.positions], 1),
        state_position=batch.state_position + n,
        words=batch.words[:, :0], words_mask=batch.words_mask[:, :0],
    )  # fmt: skip


def test_gradient_checkpointing_computes_blocks_twice_and_changes_no_gradient(vocabulary, folder):
    modules = [_module(vocabulary, folder, gradient_checkpointing=on) for on in (False, True)]
    calls, losses = [], []
    for module in modules:
        for part in module.network.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0  # a GPT-2 is read by another pass where its blocks are checkpointed, with other draws
        count = []
        layer = next(part for part in module.network.modules() if isinstance(part, LoraLayer))
        layer.register_forward_hook(lambda *_, count=count: count.append(1))
        losses.append(_backward(module, _in_front(_batch(module))))
        calls.append(len(count))
    assert calls[1] == 2 * calls[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    plain, checkpointed = map(_gradients, modules)
    assert set(plain) == set(checkpointed)
    assert any("lora_" in name for name in plain)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-5, atol=1e-6)


def test_bf16_autocast_stays_close_to_float32(vocabulary, folder):
    module = _module(vocabulary, folder).eval()
    batch = _batch(module)
    exact = _backward(module, batch)
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_parts(module.network(batch), Weights())["loss"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(exact, rel=0.05)
    assert all(torch.isfinite(gradient).all() for gradient in _gradients(module).values())
    assert all(p.dtype == torch.float32 for p in module.parameters())


def test_options_go_to_peft(vocabulary, backbones):
    options = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "use_rslora": True, "use_dora": True}
    module = _module(vocabulary, backbones["llama-tied"], lora={**options, "target_modules": ["q_proj", "v_proj"]})
    layers = {n: part for n, part in module.network.backbone.named_modules() if isinstance(part, LoraLayer)}
    assert {name.rsplit(".", 1)[1] for name in layers} == {"q_proj", "v_proj"}
    config = module.network.backbone.model.peft_config["default"]
    assert all(getattr(config, name) == value for name, value in options.items())
    assert next(iter(layers.values())).scaling["default"] == 8 / 4**0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lora": {"target_modules": ["embed_tokens"]}}, "cannot be adapted"),
        ({"lora": {"target_modules": ["q_proj", "lm_head"]}}, "cannot be adapted"),
        ({"lora": {"modules_to_save": ["embed_tokens"]}}, "cannot be adapted"),
        ({"lora": {"trainable_token_indices": [3]}}, "trainable_token_indices: leave it out"),
        ({"lora": {"rank": 3}}, "model.lora: .*rank"),
        ({"lora": {"target_modules": "q_proj"}}, r"a text is a regular expression of whole names; say \[q_proj\]"),
        ({"lora": {"target_modules": "*.q_proj"}}, "is no regular expression"),
        ({"lora": {"target_modules": [3]}}, r"expected names of layers such as \[q_proj, v_proj\], got \[3\]"),
        ({"lora": {"target_modules": ["self_attn"]}}, "model.lora: Target module .*; the model has .*q_proj"),
        ({"lora": {"layers_to_transform": [9], "target_modules": ["q_proj"]}}, "not found.*; the model has .*q_proj"),
        ({"lora": {"modules_to_save": "norm"}}, "modules_to_save: expected names of layers"),
        ({"lora": {"bias": "some"}}, "model.lora: .*bias: some"),
        ({"lora": {"lora_alpha": float("nan")}}, "model.lora.lora_alpha: expected a number that is finite, got nan"),
        ({"tuning": "frozen", "lora": {"r": 4}}, "only for tuning lora"),
        ({"tuning": "half"}, "expected one of lora, full, frozen"),
    ],
)
def test_options_are_checked(vocabulary, backbones, fields, message):
    with pytest.raises(ConfigError, match=message):
        _module(vocabulary, backbones["llama-untied"], **fields)


@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_prj"]},
        {"target_modules": {"q_prj"}},
        {"target_modules": r".*\.q_prj"},
        {"target_modules": "all_linear"},
        {"exclude_modules": ["q_prj"]},
        {"modules_to_save": ["q_prj"]},
        {"rank_pattern": {"q_prj": 4}},
        {"alpha_pattern": {"q_prj": 4}},
        {"target_parameters": ["q_prj.weight"]},
    ],
    ids=str,
)
def test_a_layer_that_is_not_there_is_an_error_that_lists_those_that_are(vocabulary, architecture, backbones, lora):
    bare = _module(vocabulary, backbones[architecture], tuning="frozen").network.backbone.bare()
    linear = {n.rsplit(".", 1)[-1] for n, part in bare.named_modules() if isinstance(part, torch.nn.Linear | Conv1D)}
    with pytest.raises(ConfigError, match=rf"^model\.lora\.{next(iter(lora))}: no layer is called ") as caught:
        _module(vocabulary, backbones[architecture], lora=lora)
    listed = set(str(caught.value).rpartition("the model has ")[2].split(", "))
    assert listed >= linear - {"lm_head"}
    assert "lm_head" not in listed
    assert len(listed & linear) >= 3


class _Largest(TorchDispatchMode):
    """Records the most rows of any tensor that an operation newly makes."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.found = rows, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for t in tree_leaves(out):
            large = isinstance(t, torch.Tensor) and t.ndim == 2 and t.shape[0] >= self.rows
            if large and t.untyped_storage().data_ptr() not in given:
                self.found.append(str(func))
        return out


def test_new_rows_cost_their_own_size_and_no_copy_of_the_table(vocabulary, folder):
    """Neither forward nor backward makes anything as long as the backbone's own table."""
    module = _module(vocabulary, folder)
    network = module.network
    added = {name: p.numel() for name, p in network.named_parameters() if not name.startswith("backbone.")}
    n, d = vocabulary.n_tokens, network.backbone.dim
    assert added["table.weight"] == n * d
    assert added["table.projection.weight"] == vocabulary.dim * d
    batch = _batch(module)
    table = network.backbone.bare().get_input_embeddings().weight
    with _Largest(len(table)) as largest:
        _backward(module, batch)
    assert largest.found == []
    assert table.grad is None


def test_the_recorder_sees_a_copy_of_a_table():
    table = torch.zeros(50, 4, requires_grad=True)
    with _Largest(50) as largest:
        table[torch.tensor([1])].sum().backward()
    assert largest.found != []


class _Plain(MetaTokenModule):
    """Steps of plain gradient descent, so that weights compare as gradients do."""

    def configure_optimizers(self):
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


def test_two_accumulated_batches_are_one_of_twice_the_size(vocabulary, backbones):
    from metatoken.tasks.batch import collate
    from metatoken.tasks.task import find_template

    start = _Plain(vocabulary, backbone=str(backbones["llama-tied"]), max_history=10)
    builder, rows = start.builder, torch.randint(0, 100, (8, 5), generator=torch.Generator().manual_seed(0)).numpy()
    examples = [builder.causal(find_template("seq-1"), None, items, 1) for items in rows]
    whole = collate(examples, builder.encoder.pad_id)
    halves = [collate(part, builder.encoder.pad_id) for part in (examples[:4], examples[4:])]
    trained = []
    for batches in ([whole], halves):
        module = copy.deepcopy(start)
        trainer = L.Trainer(
            max_epochs=1, accelerator="cpu", accumulate_grad_batches=len(batches), logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
        assert trainer.global_step == 1
        trained.append(module)
    moved = 0
    weights = [dict(module.named_parameters()) for module in (start, *trained)]
    for name, before in weights[0].items():
        torch.testing.assert_close(weights[1][name], weights[2][name], rtol=1e-5, atol=1e-6)
        moved += not torch.equal(before, weights[1][name])
    assert moved > 5
