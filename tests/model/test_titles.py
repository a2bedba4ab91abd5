"""Titles in prompts: what is spliced, what is supervised, and that the text loss is the backbone's own."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken import MetaTokenModule
from metatoken.errors import ConfigError
from metatoken.evaluate.losses import held_out_losses
from metatoken.evaluate.runner import Runner
from metatoken.model.heads.ranking import item_scores, target_ranks
from metatoken.model.heads.text_loss import BLOCK, STEP, linear_cross_entropy
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.model.store.saving import load_model, save_model
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_template
from tests.conftest import SMALL
from tests.model.test_network import _pairs, _prompts, _training_batch

ITEMS = np.array([3, 50, 7, 20])


@pytest.fixture(scope="module")
def titled(vocabulary):
    """The vocabulary with a title for most items."""
    titles = ["" if row % 10 == 0 else f"Story of the  item number {row}" for row in range(vocabulary.n_items)]
    return dataclasses.replace(vocabulary, titles=titles)


def make(titled, **fields):
    fields.setdefault("preset", SMALL | {"positions": 512})
    return MetaTokenModule(titled, **({"titles": True, "title_tokens": 6, "max_history": 20} | fields)).eval()


def test_a_history_reads_tokens_then_titles_and_predicts_titles_of_targets(titled):
    module = make(titled, history="written")
    encoder, tokenizer = module.builder.encoder, module.tokenizer
    example = module.builder.causal(find_template("seq-1"), None, ITEMS, 1)
    words = len(encoder.prompt(find_template("seq-1"), None)) - len(example.words)
    expected, starts, title_places = [], [], []
    for item in ITEMS.tolist():
        starts.append(words + len(expected))
        expected += encoder.items[item].tolist()
        begin = words + len(expected)
        # A title is tokenised as its own string, blanks tidied, cut to six tokens, closed by a line end.
        text = f" {' '.join(titled.titles[item].split())}" if titled.titles[item] else ""
        expected += tokenizer(text, add_special_tokens=False)["input_ids"][:6] + tokenizer("\n")["input_ids"]
        title_places.append(range(begin, words + len(expected)))
    assert example.ids[words:].tolist() == expected
    assert example.states.tolist() == [start - 1 for start in starts[1:]]
    assert example.targets.tolist() == ITEMS[1:].tolist()
    assert example.text.tolist() == [place for places in title_places[1:] for place in places]
    assert np.flatnonzero(example.items >= 0).tolist() == [start + 1 for start in starts]
    assert example.items[example.items >= 0].tolist() == ITEMS.tolist()
    prompt = module.builder.prompt(find_template("seq-1"), None, ITEMS)
    assert prompt.ids.tolist() == example.ids.tolist()
    assert not len(prompt.text)


@pytest.mark.parametrize("leaf", [True, False])
def test_training_scores_equal_decoding_scores_with_titles(titled, split, leaf):
    module = make(titled, leaf=leaf)
    network, pairs = module.network, _pairs(split)
    targets = torch.tensor([target for _, target in pairs])
    with torch.no_grad():
        scores = network(_training_batch(module, pairs))
        prefix, rows = network.start(_prompts(module, pairs)), network.table()
        item = torch.log_softmax(network.item_head(prefix.last, network.leaf_vectors()), 1)
        torch.testing.assert_close(item.gather(1, network.index.leaf_of[targets][:, None])[:, 0], scores.item)
        for level in range(2):
            node = network.index.path[targets, level]
            children, ids = network.generation.children_scores(prefix.last, node, level, rows)
            if level == 0:
                found = children.masked_fill(ids != network.index.path[targets, 1][:, None], -torch.inf).amax(1)
                torch.testing.assert_close(found, scores.tokens[0])
                token = network.items.tokens[targets, 0] + network.base
                prefix = network.backbone.step(prefix, torch.arange(len(pairs)), token)
            else:
                child = len(network.index.code) - len(network.index.leaf_items) + network.index.leaf_of[targets]
                found = children.masked_fill(ids != child[:, None], -torch.inf).amax(1)
                torch.testing.assert_close(found, scores.shared)


def test_the_text_loss_is_that_of_the_plain_model(titled, split):
    """Slow twin: all logits of the Hugging Face model over its own columns, cross-entropy at the title tokens."""
    module = make(titled)
    batch = _training_batch(module, _pairs(split))
    network = module.network
    with torch.no_grad():
        loss = network(batch).text
        read = network.passage(batch, network.items()).inline()
        inputs = {"inputs_embeds": read.vectors, "attention_mask": read.mask, "position_ids": read.positions}
        logits = network.backbone.bare()(**inputs).logits[:, batch.words.shape[1] :]
    wanted = batch.input_ids[batch.text_row, batch.text_position + 1]
    assert torch.equal(wanted, batch.text_ids)
    assert int(batch.text_ids.max()) < network.base
    expected = F.cross_entropy(logits[batch.text_row, batch.text_position, : network.base], wanted)
    torch.testing.assert_close(loss, expected)
    parts = loss_parts(network(batch), Weights(item=0, generation=0, shared=0, text=2.0))
    torch.testing.assert_close(parts["loss"], 2 * parts["text"])


@pytest.mark.parametrize("n", [1, 5, BLOCK + 3])
@pytest.mark.parametrize("frozen", [True, False])
def test_blockwise_cross_entropy_equals_the_plain_one(n, frozen):
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, 8, generator=generator, requires_grad=True)
    weight = torch.randn(31, 8, generator=generator).requires_grad_(not frozen)
    targets = torch.randint(0, 31, (n,), generator=generator)
    found = 3 * linear_cross_entropy(hidden, weight, targets)
    expected = 3 * F.cross_entropy(hidden @ weight.T, targets)
    torch.testing.assert_close(found, expected)
    leaves = [hidden] if frozen else [hidden, weight]
    for one, two in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("n", [1, STEP, BLOCK + STEP + 3])
def test_under_autocast_the_products_are_short_and_the_sums_are_not(n):
    """Positions are filled up to whole steps, which leaves no trace."""
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, 16, generator=generator, requires_grad=True)
    weight = torch.randn(300, 16, generator=generator, requires_grad=True)
    targets = torch.randint(0, 300, (n,), generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(hidden, weight, targets)
    assert found.dtype == torch.float32
    expected = F.cross_entropy(hidden @ weight.T, targets)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
    assert found != linear_cross_entropy(hidden, weight, targets)
    by_found = torch.autograd.grad(found, [hidden, weight])
    for one, two in zip(by_found, torch.autograd.grad(expected, [hidden, weight]), strict=True):
        assert float((one - two).norm()) < 2e-2 * float(two.norm())


def test_titles_are_learned(titled, split):
    module = make(titled)
    before = held_out_losses(module, split)
    assert set(before) == {"item", "generation", "text", "hr@10", "ndcg@10"}
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    batch = _training_batch(module, _pairs(split, 16))
    module.train()
    for _ in range(30):
        optimizer.zero_grad()
        loss_parts(module.network(batch), Weights())["loss"].backward()
        optimizer.step()
    assert held_out_losses(module, split)["text"] < 0.7 * before["text"]


def _batches(runner):
    return list(runner.batches(find_template("seq-1")))


def test_held_out_losses_equal_one_prompt_at_a_time(titled, split):
    module = make(titled)
    many, one = held_out_losses(module, split, batch_size=64), held_out_losses(module, split, batch_size=1)
    assert many == pytest.approx(one, rel=1e-4)
    few = held_out_losses(module, split, limit=20)
    assert few == held_out_losses(module, split, limit=20) != many
    assert held_out_losses(module, split, limit=10_000) == pytest.approx(many, rel=1e-4)
    runner = Runner(module, split, "validation")
    ranks = torch.cat([target_ranks(item_scores(module.network, e.batch), e.targets, e.seen) for e in _batches(runner)])
    assert many["hr@10"] == pytest.approx(float((ranks <= 10).float().mean()))
    assert set(held_out_losses(make(titled, titles=False), split)) == {"item", "generation", "hr@10", "ndcg@10"}


def test_an_encoder_reads_titles_and_learns_none(titled, split):
    module = make(titled, backbone="t5-preset", preset={"dim": 32, "layers": 1, "heads": 2, "dropout": 0.1})
    batch = _training_batch(module, _pairs(split))
    assert len(batch.text_ids) == 0
    assert "text" not in loss_parts(module.network(batch), Weights())
    assert set(held_out_losses(module, split)) == {"item", "generation", "hr@10", "ndcg@10"}


def test_a_saved_model_reads_the_same_titles(titled, split, tmp_path):
    module = make(titled)
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", titled)
    one, two = (_training_batch(m, _pairs(split)) for m in (module, again))
    assert torch.equal(one.input_ids, two.input_ids)
    with torch.no_grad():
        assert torch.equal(module.network(one).text, again.network(two).text)


def test_weight_zero_computes_no_text_loss(titled, split):
    module = make(titled)
    assert module.network(_training_batch(module, _pairs(split)), text=False).text is None


def test_a_batch_without_titles_has_no_text(make_module, split):
    module = make_module()
    batch = _training_batch(module, _pairs(split)).to("cpu")
    assert len(batch.text_ids) == 0
    assert collate([module.builder.causal(find_template("seq-1"), None, ITEMS, 1)], 0).text_row.shape == (0,)


def test_settings_that_cannot_be_used_are_refused(vocabulary, titled):
    with pytest.raises(ConfigError, match="the vocabulary has no titles"):
        MetaTokenModule(dataclasses.replace(vocabulary, titles=None), titles=True)
    with pytest.raises(ConfigError, match="title_tokens"):
        make(titled, title_tokens=0)
    with pytest.raises(ConfigError, match="items of 8 tokens"):
        make(titled, max_history=60)
