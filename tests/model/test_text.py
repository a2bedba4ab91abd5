"""Text vectors of titles, on tiny models; the slow twin reads one title at a time."""

import numpy as np
import pytest
import torch

from metatoken import MetaTokenModule
from metatoken.errors import ArgumentError
from metatoken.model.backbone.pretrained import load_pretrained
from metatoken.model.features import title_features
from metatoken.model.store.saving import load_model, save_model
from metatoken.model.text import _batches, text_vectors, whiten
from metatoken.tokens.features import ItemFeatures
from tests.conftest import SMALL
from tests.model.architectures import write_backbone
from tests.model.test_titles import _pairs, _training_batch

TITLES = ["The next item", "", "a", "What would come after these items, then?", "The  next item", "list of items"] * 3


@pytest.fixture(scope="module", params=["llama-tied", "gpt2", "gemma", "t5-tied"])
def folder(request, tmp_path_factory):
    return write_backbone(request.param, tmp_path_factory.mktemp("text") / request.param)


def slow(title, folder, layer, max_tokens):
    """Mean over all positions but the begin mark of `hidden_states[layer]`, one title at a time, whole model."""
    model, tokenizer = load_pretrained(str(folder))
    ids = tokenizer(" ".join(title.split()), add_special_tokens=False)["input_ids"][:max_tokens]
    if not ids:
        return np.zeros(32, dtype=np.float32)
    body = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    with torch.no_grad():
        out = body.eval()(input_ids=torch.tensor([[tokenizer.bos_token_id, *ids]]), output_hidden_states=True)
    return out.hidden_states[layer][0, 1:].mean(0).numpy()


def test_vectors_are_mean_hidden_states(folder):
    seen = []
    vectors = text_vectors(
        TITLES, str(folder), layer=1, max_tokens=5, batch_tokens=16, precision="float32",
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    if "t5" in str(folder):  # of a single block, so its output is after the encoder's norm
        assert load_pretrained(str(folder))[0].config.num_layers == 1
    expected = np.stack([slow(title, folder, 1, 5) for title in TITLES])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)
    assert not vectors[1].any()
    assert np.array_equal(vectors[0], vectors[4])
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_bfloat16_is_close_and_batches_change_nothing(folder):
    exact = text_vectors(TITLES, str(folder), layer=1, precision="float32", batch_tokens=10_000)
    again = text_vectors(TITLES, str(folder), layer=1, precision="float32", batch_tokens=1)
    np.testing.assert_allclose(exact, again, rtol=1e-4, atol=1e-5)
    short = text_vectors(TITLES, str(folder), layer=1, precision="bfloat16")
    assert not np.array_equal(short, exact)
    for one, two in zip(short, exact, strict=True):
        assert one @ two >= 0.99 * np.linalg.norm(one) * np.linalg.norm(two)


def test_batches_hold_every_text_once_and_stay_small():
    ids = [[0] * n for n in (1, 5, 2, 9, 3, 3, 40, 2)]
    batches = _batches(ids, 12)
    assert sorted(row for batch in batches for row in batch) == [1, 2, 3, 4, 5, 6, 7]  # the empty one is left out
    assert all(len(batch) == 1 or len(batch) * max(len(ids[row]) for row in batch) <= 12 for batch in batches)


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ({"layer": 0}, "layer"),
        ({"layer": 9}, "layer"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"precision": "int8"}, "pr"),
    ],
)
def test_bad_parameters_are_refused(folder, fields, argument):
    with pytest.raises(ArgumentError, match=argument):
        text_vectors(TITLES, str(folder), **fields)


def test_whitened_components_are_those_of_a_singular_value_decomposition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)) * np.array([9, 7, 5, 3, 2, 1, 0.5, 0.1]) + 4
    x[[7, 30]] = 0
    found = whiten(x, 5)
    known = np.any(x != 0, axis=1)
    rows = x[known] - x[known].mean(0)
    u, _, _ = np.linalg.svd(rows, full_matrices=False)
    expected = u[:, :5] * np.sqrt(len(rows))
    signs = np.sign((expected * found[known]).sum(0))
    np.testing.assert_allclose(found[known], expected * signs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[known].std(0), 1, rtol=1e-4)
    assert not found[[7, 30]].any()
    for bad in (0, 9):
        with pytest.raises(ArgumentError, match="components: expected 1 to 8"):
            whiten(x, bad)
    with pytest.raises(ArgumentError, match="expected 1 to 0"):
        whiten(np.ones((3, 4)), 1)


def test_features_are_computed_once(folder, tmp_path):
    ids, calls = [f"i{row}" for row in range(len(TITLES))], []
    options = {"layer": 1, "components": 2, "cached": tmp_path / "text", "progress": lambda *_: calls.append(1)}
    first = title_features(ids, TITLES, str(folder), **options)
    first.save(tmp_path / "text")
    made = len(calls)
    assert made > 0
    assert first.vectors.shape == (len(TITLES), 2)
    again = title_features(ids, TITLES, str(folder), **options)
    assert len(calls) == made
    assert np.array_equal(again.vectors, first.vectors)
    title_features(ids, [*TITLES[:-1], "another"], str(folder), **options)
    assert len(calls) > made
    made = len(calls)
    title_features(ids, TITLES, str(folder), **options | {"components": 1})
    assert len(calls) > made
    model, tokenizer = load_pretrained(str(folder))
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    other = title_features(ids, TITLES, str(tmp_path / "other"), **options)
    assert other.source["backbone_sha256"] != first.source["backbone_sha256"]


@pytest.fixture
def features(vocabulary, tmp_path):
    """Features of all items but the first."""
    rng = np.random.default_rng(0)
    ids = vocabulary.items.raw[1:]
    features = ItemFeatures(list(ids), rng.normal(size=(len(ids), 6)).astype(np.float32))
    features.save(tmp_path / "features")
    return str(tmp_path / "features")


def make(vocabulary, **fields):
    return MetaTokenModule(vocabulary, preset=SMALL, max_history=20, **fields).eval()


def test_item_vectors_add_projected_features(vocabulary, features, split):
    module = make(vocabulary, item_features=features)
    items = module.network.items
    with torch.no_grad():
        own = items()
        weight = items.feature_projection.weight.clone()
        items.feature_projection.weight.zero_()
        unit = torch.nn.functional.normalize(torch.from_numpy(ItemFeatures.load(features).vectors), dim=1)
        torch.testing.assert_close(own[1:] - items()[1:], unit @ weight.T)
        assert torch.equal(own[0], items()[0])
        plain = make(vocabulary).network.items
        assert plain.features is None
    batch = _training_batch(module, _pairs(split))
    module.network(batch).item.mean().backward()
    assert items.feature_projection.weight.grad.abs().sum() > 0


def test_a_saved_model_carries_its_features(vocabulary, features, split, tmp_path):
    import shutil

    module = make(vocabulary, item_features=features)
    save_model(module, tmp_path / "model")
    shutil.rmtree(features)
    again = load_model(tmp_path / "model", vocabulary)
    with torch.no_grad():
        assert torch.equal(module.network.items(), again.network.items())
