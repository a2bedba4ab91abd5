"""A model cut to its first blocks is the model that those blocks make."""

import pytest
import torch

from metatoken.errors import ConfigError
from metatoken.model.backbone.pretrained import keep_layers
from tests.model.architectures import ARCHITECTURES

IDS = torch.tensor([[1, 5, 9, 4]])


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "t5" not in name])
def test_a_cut_model_computes_the_first_blocks_and_the_final_norm(name, tmp_path):
    torch.manual_seed(0)
    model = ARCHITECTURES[name](50).eval()
    with torch.no_grad():
        hidden = model(IDS, output_hidden_states=True).hidden_states[1]  # after the first block
        body = model.base_model
        norm = next(
            getattr(body, at) for at in ("ln_f", "norm", "final_layer_norm", "final_layernorm") if hasattr(body, at)
        )
        expected = model.get_output_embeddings()(norm(hidden))
        keep_layers(model, 1)
        torch.testing.assert_close(model(IDS).logits, expected)
    assert model.config.num_hidden_layers == 1
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(IDS).logits, expected)


@pytest.mark.parametrize(
    ("name", "n", "message"), [("gpt2", 3, "1 to 2"), ("gpt2", 0, "1 to 2"), ("t5-tied", 1, "causal")]
)
def test_what_cannot_be_cut_is_refused(name, n, message):
    with pytest.raises(ConfigError, match=message):
        keep_layers(ARCHITECTURES[name](50), n)


def test_a_preset_has_its_own_setting(vocabulary):
    from metatoken import MetaTokenModule

    with pytest.raises(ConfigError, match=r"model\.preset"):
        MetaTokenModule(vocabulary, backbone="gpt2-preset", layers=1)
