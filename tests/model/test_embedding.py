import torch
from torch import nn

from metatoken.model.backbone.presets import build_preset
from metatoken.model.embedding import MetaEmbedding, TokenTable, install


def _table(dim=32):
    return TokenTable(torch.randn(6, 5), dim, alpha=0.5, norm=2.0)


def test_rows_are_free_row_plus_projected_centroid():
    table = _table()
    expected = table.weight + 0.5 * (table.centroids @ table.projection.weight.T + table.projection.bias)
    torch.testing.assert_close(table(), expected)
    torch.testing.assert_close(table.inputs().norm(dim=1), torch.full((6,), 2.0))


def test_centroids_are_frozen_and_saved():
    table = _table()
    assert "centroids" in table.state_dict()
    assert "centroids" not in dict(table.named_parameters())


def test_generate_reads_the_same_rows_as_training():
    """The rows live inside the embedding layer, so `input_ids` and `inputs_embeds` cannot differ."""
    for name in ("gpt2-preset", "t5-preset"):
        model = build_preset(name, 50, {"dim": 32, "layers": 1}).eval()
        table = _table()
        install(model, table, base=50)
        ids = torch.tensor([[3, 50, 55, 7]])
        expected = torch.stack([model.get_input_embeddings().weight[3], *table.inputs()[[0, 5]]])
        embedded = model.get_input_embeddings()(ids)[0]
        torch.testing.assert_close(embedded[:3], expected)
        extra = {"decoder_input_ids": torch.tensor([[0, 52]])} if name == "t5-preset" else {}
        with torch.no_grad():
            by_ids = model(input_ids=ids, **extra).logits
            by_vectors = model(inputs_embeds=model.get_input_embeddings()(ids), **extra).logits
        torch.testing.assert_close(by_ids, by_vectors)
        assert by_ids.shape[-1] == 50  # nothing was resized


def test_text_rows_and_ties_are_untouched():
    model = build_preset("gpt2-preset", 50, {"dim": 32, "layers": 1})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    install(model, _table(), base=50)
    assert isinstance(model.get_input_embeddings(), MetaEmbedding)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert set(model.state_dict()) == set(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_module_over_a_shared_table_is_swapped():
    model = build_preset("t5-preset", 50, {"dim": 32, "layers": 1})
    install(model, _table(), base=50)
    over = [m for m in model.modules() if isinstance(m, nn.Embedding) and len(m.weight) == 50]
    assert len(over) >= 1
    assert all(isinstance(m, MetaEmbedding) for m in over)
