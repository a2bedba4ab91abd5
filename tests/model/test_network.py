"""Training and decoding must give a target the same score at every position (docs/design.md, decision 4)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken.decode.beam import beam_search
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_template
from tests.prompting import prompts

TINY_T5 = {"backbone": "t5-preset", "preset": {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.1}}


def _pairs(split, n=6):
    sequences = split.train.sequences()
    return [(sequences[u][:-1], int(sequences[u][-1])) for u in range(n)]


def _training_batch(module, pairs):
    builder, template = module.builder, find_template("seq-1")
    if builder.encoder.encoder_decoder:
        examples = [builder.prompt(template, None, history, target) for history, target in pairs]
    else:
        rows = [np.append(history, target) for history, target in pairs]
        examples = [builder.causal(template, None, items, len(items) - 1) for items in rows]
    return collate(examples, builder.encoder.pad_id)


def _prompts(module, pairs):
    return prompts(module, [history for history, _ in pairs])


@pytest.mark.parametrize(("leaf", "history"), [(True, "compact"), (True, "written"), (False, "written")])
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("fields", [{}, TINY_T5], ids=["gpt2", "t5"])
def test_training_scores_equal_decoding_scores_at_every_position(
    make_module, vocabularies, split, fields, depth, leaf, history
):
    module = make_module(vocabularies[depth], leaf=leaf, history=history, **fields)
    network, index = module.network, module.network.index
    pairs = _pairs(split)
    targets = torch.tensor([target for _, target in pairs])
    with torch.no_grad():
        scores = network(_training_batch(module, pairs))
        prefix, rows = network.start(_prompts(module, pairs)), network.table()
        start = prefix.last
        item = torch.log_softmax(network.item_head(start, network.leaf_vectors()), 1)
        torch.testing.assert_close(item.gather(1, index.leaf_of[targets][:, None])[:, 0], scores.item)
        for level in range(depth):
            node = index.path[targets, level]
            children, ids = network.generation.children_scores(prefix.last, node, level, rows)
            last = level == depth - 1
            child = (
                len(index.code) - len(index.leaf_items) + index.leaf_of[targets]
                if last
                else index.path[targets, level + 1]
            )
            found = children.masked_fill(ids != child[:, None], -torch.inf).amax(1)
            if not last:
                torch.testing.assert_close(found, scores.tokens[level])
                token = network.items.tokens[targets, level] + network.base
                prefix = network.backbone.step(prefix, torch.arange(len(pairs)), token)
            else:
                torch.testing.assert_close(found, scores.shared)
        # The beam reports the same path score, by leaf vectors and by shared tokens.
        wide = beam_search(network, _prompts(module, pairs), [np.zeros(0, int)] * len(pairs), k=100, width=500)
        alone = beam_search(
            network, _prompts(module, pairs), [np.zeros(0, int)] * len(pairs), k=100, width=500, leaf=False
        )
    for beams, expected in ((alone, sum(scores.tokens[:-1]) + scores.shared), (wide, sum(scores.tokens))):
        if beams is wide and not leaf:
            continue
        own = torch.where(beams.items == targets[:, None], beams.scores, -torch.inf).amax(1)
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [2, 3])
def test_probabilities_of_all_items_sum_to_one(make_module, vocabularies, split, depth):
    module = make_module(vocabularies[depth])
    none = [np.zeros(0, int)] * 6
    for leaf in (True, False):
        beams = beam_search(module.network, _prompts(module, _pairs(split)), none, k=100, width=500, leaf=leaf)
        torch.testing.assert_close(beams.scores.exp().sum(1), torch.ones(6))


def test_padding_does_not_change_a_prompt(make_module, split):
    module = make_module()
    pairs = _pairs(split)
    with torch.no_grad():
        together = module.network.start(_prompts(module, pairs)).last
        alone = torch.cat([module.network.start(_prompts(module, [pair])).last for pair in pairs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_leaf_vector_is_what_stands_at_the_last_token_of_an_item(make_module, split):
    module = make_module()
    network = module.network
    batch = _prompts(module, _pairs(split, 1))
    with torch.no_grad():
        vectors = network.embed(batch.input_ids, batch.items, network.items())
        plain = network.backbone.embed(batch.input_ids)
        own = F.normalize(network.items(), dim=-1) * network.input_norm
    at = batch.items[0] >= 0
    torch.testing.assert_close(vectors[0][at], own[batch.items[0][at]])
    torch.testing.assert_close(vectors[0][~at], plain[0][~at])


def test_gradients_reach_every_trained_weight_and_no_other(make_module, split):
    module = make_module()
    module.train()
    scores = module.network(_training_batch(module, _pairs(split)))
    (-(scores.item.mean() + sum(scores.tokens).mean() + scores.shared.mean())).backward()
    # The text head is not used; it is tied to the table, whose words are.
    idle = [name for name, p in module.network.named_parameters() if p.requires_grad and p.grad is None]
    # The gain and bias of the final norm stand behind the cosine, which leaves them out.
    assert all("ln_f" in name for name in idle), idle
