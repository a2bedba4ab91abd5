"""The loss of compact rows by a slow oracle: one prompt per target, answers read token by token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metatoken import MetaTokenModule
from metatoken.errors import ConfigError
from metatoken.model.objective import loss_parts
from metatoken.model.settings import ModelSettings, Weights
from metatoken.model.store.saving import load_model, save_model
from metatoken.tasks.batch import collate
from metatoken.tasks.examples import NOTHING
from metatoken.tasks.task import find_task
from tests.conftest import SMALL

TINY_T5 = {"backbone": "t5-preset", "preset": {"dim": 32, "layers": 1, "heads": 2, "dropout": 0.1}}
# Histories with their answers, and how many of the first items are no targets.
ROWS = [([3, 50, 7, 20, 61], 1), ([9, 2], 1), ([44], 0), ([5, 5, 80, 13], 2)]
WEIGHTS = Weights(item=1.0, generation=0.5, shared=0.25, text=0.3)


def make(vocabularies, depth, titles=False, **fields):
    vocabulary = vocabularies[depth]
    if titles:
        names = ["" if row % 10 == 0 else f"Story of number {row}" for row in range(vocabulary.n_items)]
        vocabulary = dataclasses.replace(vocabulary, titles=names)
        fields = {"titles": True, "title_tokens": 4} | fields
    fields = {"preset": SMALL | {"positions": 512}, "max_history": 20} | fields
    module = MetaTokenModule(vocabulary, **fields).eval()
    torch.manual_seed(3)
    with torch.no_grad():  # items whose vectors are not yet told apart would hide which one was read
        module.network.items.residual.add_(torch.randn_like(module.network.items.residual))
    return module


def templates():
    return find_task("sequential").templates


def prompt_of(module, template, row, place):
    """The prompt before an item of a row, its items at the positions that they have in the row."""
    builder = module.builder
    prompt = builder.prompt(template, None, np.array(row[:place], dtype=np.int64))
    positions = prompt.positions.copy()
    later = builder.encoder.read.lengths[np.array(row[place:-1], dtype=np.int64)].sum()
    positions[prompt.items.argmax() if place == 0 else np.flatnonzero(prompt.items >= 0)[0] :] -= later
    return prompt._replace(positions=positions)


@torch.no_grad()
def expected_parts(module, normaliser=None):
    """The parts of the loss of `ROWS`, target by target."""
    network, builder, vocabulary = module.network, module.builder, module.vocabulary
    tokens, depth = vocabulary.item_tokens, vocabulary.depth
    units = F.normalize(network.table(), dim=-1) / 0.07
    items = F.normalize(network.items(), dim=-1) / 0.07
    found = {"item": [], "outer": [], "inner": [], "shared": [], "text": []}

    def choice(state, target, level):
        """Log-probability of a target's token among those of the items that begin alike."""
        alike = (tokens[:, :level] == tokens[target, :level]).all(axis=1)
        rivals = np.unique(tokens[alike, level])
        logits = units[torch.from_numpy(rivals)] @ state
        return torch.log_softmax(logits, 0)[rivals.tolist().index(tokens[target, level])]

    for (row, first), template in zip(ROWS, templates(), strict=False):
        for place in range(first, len(row)):
            target = row[place]
            prompt = prompt_of(module, template, row, place)
            prefix = network.start(collate([prompt], builder.encoder.pad_id))
            state = prefix.last[0]
            logits = items @ state
            found["item"].append(torch.log_softmax(logits, 0)[target])
            below = (tokens[:, :-1] == tokens[target, :-1]).all(axis=1)
            within = torch.log_softmax(logits.masked_fill(torch.from_numpy(~below), -torch.inf), 0)[target]
            found["outer"].append(choice(state, target, 0) + within)
            if place == len(row) - 1:
                for level in range(1, depth):
                    prefix = network.backbone.step(
                        prefix, torch.tensor([0]), torch.tensor([network.base + tokens[target, level - 1]])
                    )
                    name = "inner" if level < depth - 1 else "shared"
                    found[name].append(choice(prefix.last[0], target, level))
            if builder.encoder.titled:
                found["text"] += title_scores(module, template, row, place)
    counts = {"item": 0, "outer": 0, "inner": 3, "shared": 3, "text": 1}
    parts = {
        name: -torch.stack(values).sum() / (len(values) if normaliser is None else normaliser[counts[name]])
        for name, values in found.items()
        if values
    }
    generation = parts.pop("outer") + parts.pop("inner", torch.tensor(0.0))
    return {"item": parts["item"], "generation": generation, **{n: parts[n] for n in ("shared", "text") if n in parts}}


def title_scores(module, template, row, place):
    """Log-probabilities of the words of a target's title behind its tokens."""
    network, encoder = module.network, module.builder.encoder
    history = prompt_of(module, template, row, place)
    item, last = row[place], place == len(row) - 1
    title = encoder.written[item][len(encoder.items[item]) :]
    own = encoder.items[item] if last else encoder.items[item][-1:]
    ids = np.concatenate([history.words, history.ids, own, title])
    rows = np.full(len(ids), -1)
    rows[len(history.words) : len(history.words) + len(history.ids)] = history.items
    rows[-len(title) - 1] = item
    new = len(own) + len(title)
    begin = history.positions[-1] + 1
    order = np.concatenate([np.arange(len(history.words)), history.positions, np.arange(begin, begin + new)])
    vectors = network.embed(torch.from_numpy(ids)[None], torch.from_numpy(rows)[None], network.items())
    out = network.backbone.bare()(
        inputs_embeds=vectors, attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
        position_ids=torch.from_numpy(order)[None],
    )  # fmt: skip
    scores = torch.log_softmax(out.logits[0, -len(title) - 1 : -1, : network.base], 1)
    return list(scores[torch.arange(len(title)), torch.from_numpy(title)])


@pytest.mark.parametrize("normaliser", [None, torch.tensor([11.0, 5.0, 1.0, 3.0])], ids=["means", "epoch"])
@pytest.mark.parametrize("titles", [False, True], ids=["plain", "titles"])
@pytest.mark.parametrize("depth", [2, 3])
def test_the_loss_is_that_of_one_prompt_for_each_target(vocabularies, depth, titles, normaliser):
    module = make(vocabularies, depth, titles)
    assert module.settings.history == "compact"
    examples = [
        module.builder.causal(template, None, np.array(row), first)
        for (row, first), template in zip(ROWS, templates(), strict=False)
    ]
    assert [len(example.targets) for example in examples] == [4, 1, 1, 2]
    with torch.no_grad():
        scores = module.network(collate(examples, module.builder.encoder.pad_id))
        parts = loss_parts(scores, WEIGHTS, normaliser)
    expected = expected_parts(module, normaliser)
    assert parts.keys() - {"loss"} == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-4, msg=f"{name}: {parts[name]} {value}")
    total = sum(getattr(WEIGHTS, name) * value for name, value in expected.items())
    torch.testing.assert_close(parts["loss"], total, rtol=1e-4, atol=1e-4)


def test_an_encoder_reads_a_compact_history(vocabularies):
    module = make(vocabularies, 3, **TINY_T5)
    assert module.settings.history == "compact"
    encoder, items = module.builder.encoder, np.array([3, 50, 7])
    example = module.builder.prompt(templates()[0], None, items, 9)
    read = example.items >= 0
    assert example.items[read].tolist() == items.tolist()
    assert example.ids[read].tolist() == [int(encoder.items[row][-1]) for row in items]
    words = encoder.prompt(templates()[0], None)
    assert len(example.ids) == len(words) + len(items) + 1
    # Every item counts: with another one in its place the prompt is another.
    with torch.no_grad():
        states = [
            module.network.start(collate([module.builder.prompt(templates()[0], None, one)], encoder.pad_id)).last
            for one in (items, np.array([4, 50, 7]), np.array([3, 50, 8]))
        ]
    assert not torch.allclose(states[0], states[1], atol=1e-3)
    assert not torch.allclose(states[0], states[2], atol=1e-3)


def cut(vocabulary):
    """The vocabulary with one item of fewer tokens."""
    codes = vocabulary.item_codes.copy()
    codes[5, 1:] = -1
    codes[5, 0] = codes[:, 0].max()
    return dataclasses.replace(vocabulary, item_codes=codes)


def test_a_history_is_compact_where_it_can_be(vocabularies, make_module):
    assert make_module(vocabularies[3]).settings.history == "compact"
    assert make_module(vocabularies[3], history="written").settings.history == "written"
    assert make_module(vocabularies[3], leaf=False).settings.history == "written"
    ragged = make_module(cut(vocabularies[3]))
    assert ragged.settings.history == "written"
    assert not ragged.builder.encoder.compact
    with pytest.raises(ConfigError, match=r"model\.history: .* leaf"):
        make_module(leaf=False, history="compact")
    with pytest.raises(ConfigError, match=r"model\.history: .* equally many tokens"):
        make_module(cut(vocabularies[3]), history="compact")
    with pytest.raises(ConfigError, match=r"model\.history"):
        make_module(history="short")
    one = vocabularies[2].item_tokens[:, :1]
    assert ModelSettings().reading(one).history == "written"


@pytest.mark.parametrize("history", ["compact", "written"])
def test_a_saved_model_reads_as_it_did(make_module, tmp_path, history):
    import json

    from metatoken.artifacts import write_json, write_manifest
    from metatoken.model.store.saving import KIND, SCHEMA

    module = make_module(history=history)
    save_model(module, tmp_path / "model")
    saved = json.loads((tmp_path / "model" / "settings.json").read_text())
    assert saved["history"] == history
    again = load_model(tmp_path / "model", module.vocabulary)
    assert again.settings.history == history
    assert again.builder.encoder.compact == (history == "compact")
    # One of before the setting wrote its histories.
    del saved["history"], saved["user_vectors"], saved["generated_by"], saved["reworded"]
    write_json(tmp_path / "model" / "settings.json", saved)
    write_manifest(tmp_path / "model", KIND, SCHEMA, backbone="gpt2-preset")
    before = load_model(tmp_path / "model", module.vocabulary)
    found = before.settings
    assert (found.history, found.user_vectors, found.generated_by) == ("written", "none", "tokens")
    assert found.reworded == before.reader.reworded == 0
    assert before.builder.user_vectors == "none"


def test_too_long_histories_are_refused_with_what_fits(make_module):
    with pytest.raises(ConfigError, match=r"use max_history <= 14$"):
        make_module(preset=SMALL | {"positions": 80}, max_history=15)
    module = make_module(preset=SMALL | {"positions": 80}, max_history=14)
    longest = module.builder.causal(templates()[0], None, np.arange(15), 1)
    assert longest.positions.max() < 80
    with torch.no_grad():
        module.network(collate([longest], module.builder.encoder.pad_id))
    with pytest.raises(ConfigError, match=r"has 60; use more \(model\.preset\.positions\)"):
        make_module(preset=SMALL | {"positions": 60}, max_history=2)


def test_tokens_follow_states_without_dropout(vocabularies):
    """What the first token and the choice below it are scored by is what inference reads, and learns nothing there."""
    module = make(vocabularies, 2, preset=SMALL | {"positions": 512, "dropout": 0.5})
    network, builder = module.network.train(), module.builder
    rows = [builder.causal(templates()[0], None, np.array(row), first) for row, first in ROWS]
    batch = collate(rows, builder.encoder.pad_id)
    torch.manual_seed(0)
    noisy = network(batch, follow=False)
    torch.manual_seed(0)
    followed = network(batch, follow=True)
    assert network.backbone.training
    with torch.no_grad():
        calm = network.eval()(batch)
    assert torch.equal(followed.item, noisy.item)
    assert not torch.allclose(noisy.tokens[0], calm.tokens[0], atol=1e-3)
    # One row of these four is read twice, and stands for all of them.
    assert (len(followed.tokens[0]), followed.share) == (4, 4 / len(batch.targets))
    torch.testing.assert_close(followed.tokens[0], calm.tokens[0][:4])
    parts = loss_parts(dataclasses.replace(followed, tokens=[followed.tokens[0], 0 * followed.tokens[-1]]), WEIGHTS)
    assert parts["generation"].item() == pytest.approx(-followed.tokens[0].mean().item())
    torch.stack([followed.tokens[0].sum(), followed.tokens[-1].sum()]).sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in network.backbone.parameters())
    assert network.items.residual.grad is None or not network.items.residual.grad.any()
    assert network.table.weight.grad.any()


def test_rows_without_targets_may_stand_in_front(vocabularies):
    module = make(vocabularies, 2, preset=SMALL | {"positions": 512, "dropout": 0.5})
    network, builder = module.network.train(), module.builder
    empty = [builder.prompt(templates()[0], None, np.array([3]))._replace(states=NOTHING, targets=NOTHING)] * 4
    rows = [builder.causal(templates()[0], None, np.array(row), first) for row, first in ROWS]
    empty = [one._replace(answers=NOTHING) for one in empty]
    scores = network(collate([*empty, *rows], builder.encoder.pad_id), follow=True)
    assert (len(scores.tokens[0]), scores.share) == (len(scores.item), 1.0)
    assert torch.isfinite(loss_parts(scores, WEIGHTS)["loss"])
