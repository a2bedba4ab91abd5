"""Backbones from a folder, through the same code that a hub name takes; LoRA beside frozen weights."""

import numpy as np
import pytest
import torch

from metatoken import MetaTokenModule
from metatoken.errors import ArtifactError
from metatoken.model.backbone.passage import Passage
from metatoken.model.objective import loss_parts
from metatoken.model.settings import Weights
from metatoken.model.store.saving import load_model, save_model
from metatoken.tasks.batch import collate
from metatoken.tasks.task import find_template
from tests.prompting import moved, prompts


def _module(vocabulary, folder, **fields):
    return MetaTokenModule(vocabulary, backbone=str(folder), max_history=10, lora={"r": 4}, **fields).eval()


def _batch(module, n=4):
    builder, template = module.builder, find_template("seq-1")
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 100, 5) for _ in range(n)]
    if builder.encoder.encoder_decoder:
        examples = [builder.prompt(template, None, items[:-1], int(items[-1])) for items in rows]
    else:
        examples = [builder.causal(template, None, items, 1) for items in rows]
    return collate(examples, builder.encoder.pad_id)


def test_only_adapters_tokens_and_heads_train(vocabulary, folder):
    module = _module(vocabulary, folder)
    module.train()
    trained = {name for name, p in module.network.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained if name.startswith("backbone."))
    assert {"table.weight", "table.projection.weight", "items.residual", "items.projection.weight"} <= trained
    frozen = {n: p.detach().clone() for n, p in module.network.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        loss = loss_parts(module.network(_batch(module)), Weights())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    now = dict(module.network.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert all(now[n].grad is not None for n in trained if "lora_" in n)


def test_a_new_module_is_ready_to_train(vocabulary, folder):
    module = MetaTokenModule(vocabulary, backbone=str(folder), max_history=10)
    assert all(part.training for part in module.network.modules())


def test_text_logits_are_those_of_the_backbone(vocabulary, folder):
    """A fresh adapter is the identity, and nothing was resized, so words score as before."""
    from metatoken.model.backbone.pretrained import load_pretrained

    module = _module(vocabulary, folder)
    plain, tokenizer = load_pretrained(str(folder))
    ids = torch.tensor([tokenizer("what is next?")["input_ids"]])
    extra = {"decoder_input_ids": torch.tensor([[0, 5]])} if plain.config.is_encoder_decoder else {}
    with torch.no_grad():
        expected = plain.eval()(input_ids=ids, **extra).logits
        found = module.network.backbone.bare()(input_ids=ids, **extra).logits
    torch.testing.assert_close(found, expected)


def test_states_are_what_the_last_norm_makes_before_its_gain(vocabulary, folder):
    """A state times sqrt(d), gain and bias is what the backbone's own final norm puts out; its length is 1."""
    module = _module(vocabulary, folder)
    backbone, batch = module.network.backbone, _batch(module)
    bare, mask = backbone.bare(), batch.attention_mask
    with torch.no_grad():
        vectors = module.network.embed(batch.input_ids, batch.items, module.network.items())
        if backbone.is_encoder_decoder:
            ids = torch.tensor([[0, 5, 9]]).expand(len(vectors), -1)
            states = backbone.states(Passage(vectors, mask), ids)
            encoded = bare.get_encoder()(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
            out = bare.get_decoder()(input_ids=ids, encoder_hidden_states=encoded, encoder_attention_mask=mask)
        else:
            states = backbone.states(Passage(vectors, mask))
            out = bare.base_model(inputs_embeds=vectors, attention_mask=mask)
    norm = backbone.norm
    torch.testing.assert_close(out.last_hidden_state, states * backbone.dim**0.5 * norm.gain() + norm.bias())
    torch.testing.assert_close(states.norm(dim=-1), torch.ones(states.shape[:2]), atol=1e-2, rtol=0)


def test_saved_models_come_back_bit_equal(vocabulary, folder, tmp_path):
    module = moved(_module(vocabulary, folder), 0.02, 0.02)
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    batch = _batch(module)
    with torch.no_grad():
        one, two = module.network(batch), again.network(batch)
    assert torch.equal(one.item, two.item)
    assert torch.equal(one.shared, two.shared)
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_steps_with_a_cache_equal_reading_at_once(vocabularies, folder):
    from tests.model.test_network import _training_batch

    module = _module(vocabularies[3], folder)
    pairs = [(np.array([3, 9, 27]), 81), (np.array([5]), 25)]
    network = module.network
    with torch.no_grad():
        scores = network(_training_batch(module, pairs))
        prefix, rows = network.start(prompts(module, [history for history, _ in pairs])), network.table()
        targets = torch.tensor([81, 25])
        for level in range(2):
            children, ids = network.generation.children_scores(
                prefix.last, network.index.path[targets, level], level, rows
            )
            found = children.masked_fill(ids != network.index.path[targets, level + 1][:, None], -torch.inf).amax(1)
            torch.testing.assert_close(found, scores.tokens[level], rtol=1e-4, atol=1e-4)
            token = network.items.tokens[targets, level] + network.base
            prefix = network.backbone.step(prefix, torch.arange(2), token)


def test_weights_of_another_vocabulary_are_refused(vocabularies, tmp_path, make_module):
    save_model(make_module(), tmp_path / "model")
    with pytest.raises(ArtifactError, match="shape"):
        load_model(tmp_path / "model", vocabularies[3])
