"""Folding into plain weights, and exported folders used by a process without metatoken, for every family."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForSeq2SeqLM, GenerationConfig

from metatoken import MetaTokenModule
from metatoken.artifacts import read_manifest
from metatoken.decode.beam import beam_search
from metatoken.errors import ArtifactError, ConfigError
from metatoken.model.backbone.passage import Passage
from metatoken.model.backbone.pretrained import load_pretrained
from metatoken.model.folding import plain_model
from metatoken.model.store.export import export_model
from metatoken.predict.ranker import Reading
from metatoken.recommend import Recommender
from metatoken.tasks.task import find_template
from tests.files import ROOT
from tests.model.architectures import ARCHITECTURES, UNUSED
from tests.prompting import moved, prompts

K = 10
HISTORY = [3, 17, 42, 8, 60]
CHILD = ROOT / "tests" / "model" / "store" / "exported_child.py"


def trained(vocabulary, folder, **fields):
    """A module whose every trained weight differs from its start."""
    fields = {"max_history": 10} | fields
    return moved(MetaTokenModule(vocabulary, backbone=str(folder), **fields).eval())


def assert_same_prompt(found, expected):
    """Ids, items and positions of an exported prompt are those of the module's."""
    ids, own, order = found
    words = expected.words.tolist()
    assert ids == words + expected.ids.tolist()
    assert own == [-1] * len(words) + expected.items.tolist()
    assert order == [*range(len(words)), *expected.positions.tolist()]


def _close(found, expected):
    return float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.fixture(scope="module")
def exported(backbones, vocabularies, split, tmp_path_factory):
    """Every family with and without leaf vectors: what the package recommends, and what one plain process does."""
    root, raw = tmp_path_factory.mktemp("exported"), split.log.items.raw
    jobs, expected = [], {}
    for name, folder in backbones.items():
        for leaf in (False, True):
            module = trained(vocabularies[3], folder, leaf=leaf)
            place = root / f"{name}-{leaf}"
            export_model(module, place)
            jobs.append([str(place), [raw[row] for row in HISTORY], K])
            beams = beam_search(module.network, prompts(module, [HISTORY]), [np.zeros(0, int)], k=K, width=K)
            listed = Recommender(module, split.log).recommend(history=jobs[-1][1], k=K, model="generation")
            expected[name, leaf] = module, place, beams, listed
    done = subprocess.run(
        [sys.executable, str(CHILD)], input=json.dumps(jobs), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {key: (*value, row) for (key, value), row in zip(expected.items(), found, strict=True)}


def test_folded_logits_are_those_of_training_with_identical_beams(vocabularies, folder):
    module = trained(vocabularies[3], folder, leaf=False)
    network, batch = module.network, prompts(module, [HISTORY, [1, 2]])
    before = beam_search(network, batch, [np.zeros(0, int)] * 2, k=K, width=K, leaf=False)
    plain = plain_model(network)
    base, n = network.base, vocabularies[3].n_tokens
    units = F.normalize(network.table(), dim=-1) / 0.07
    with torch.no_grad():
        if network.backbone.is_encoder_decoder:
            ids = torch.tensor([[0, base + 3, base + 11]] * 2)
            vectors = network.backbone.embed(batch.input_ids)
            states = network.backbone.states(Passage(vectors, batch.attention_mask), ids)
            logits = plain(batch.input_ids, attention_mask=batch.attention_mask, decoder_input_ids=ids).logits
        else:
            states = network.backbone.states(Passage(network.backbone.embed(batch.input_ids), batch.attention_mask))
            logits = plain(batch.input_ids, attention_mask=batch.attention_mask).logits
            real = batch.attention_mask.bool()
            states, logits = states[real], logits[real]
        assert _close(logits[..., base : base + n], states @ units.T)
    # The network was copied, not taken apart.
    after = beam_search(network, batch, [np.zeros(0, int)] * 2, k=K, width=K, leaf=False)
    assert torch.equal(before.items, after.items)
    assert torch.equal(before.scores, after.scores)
    assert not any(part._forward_pre_hooks for part in plain.modules())


def test_text_ids_score_after_folding_as_before(vocabulary, folder):
    module = MetaTokenModule(vocabulary, backbone=str(folder), max_history=10).eval()  # a fresh adapter changes nothing
    original, tokenizer = load_pretrained(str(folder))
    plain = plain_model(module.network, inplace=True)
    ids = torch.tensor([tokenizer("what is next?")["input_ids"]])
    extra = {"decoder_input_ids": torch.tensor([[0, 5]])} if plain.config.is_encoder_decoder else {}
    with torch.no_grad():
        expected, found = original.eval()(input_ids=ids, **extra).logits, plain(input_ids=ids, **extra).logits
    base = len(tokenizer)
    assert expected.shape[-1] == base + UNUSED
    assert _close(found[..., :base], expected[..., :base])


def test_plain_transformers_generate_the_same_items(architecture, exported, vocabularies):
    _, _, beams, _, found = exported[architecture, False]
    raw, vocabulary = vocabularies[3].items.raw, vocabularies[3]
    expected = [vocabulary.tokens_of(item=raw[row]) for row in beams.items[0].tolist()]
    assert found["tokens"] == expected
    assert found["scores"] == pytest.approx(beams.scores[0].tolist(), abs=1e-4)
    assert found["same_ids"]  # the tokenizer reads the words and tokens of a prompt as training spliced them


@pytest.mark.parametrize("family", ["gpt2", "t5-tied"])
def test_what_a_backbone_says_of_writing_stays_behind(family, backbones, vocabulary, tmp_path):
    """Such settings would make of `generate` under the prefix table other lists than the model's."""
    module = trained(vocabulary, backbones[family], leaf=False)
    says = GenerationConfig(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=0)
    module.network.backbone.bare().generation_config = says
    says.update(repetition_penalty=1.3, no_repeat_ngram_size=2, forced_eos_token_id=2, min_length=9, top_k=7)
    export_model(module, tmp_path / "hf")
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    written = json.loads((tmp_path / "hf" / "generation_config.json").read_text())
    assert {name: value for name, value in written.items() if not name.startswith(("_", "transformers"))} == ids


@pytest.mark.parametrize("leaf", [False, True], ids=["shared", "leaf"])
def test_recommend_py_recommends_the_same_items(architecture, exported, leaf):
    module, place, _, listed, found = exported[architecture, leaf]
    assert [item for item, _, _ in found["recommended"]] == [one.item for one in listed]
    assert [title for _, title, _ in found["recommended"]] == [one.title for one in listed]
    assert [score for _, _, score in found["recommended"]] == pytest.approx([one.score for one in listed], rel=1e-3)
    history = {module.vocabulary.items.raw[row] for row in HISTORY}
    assert not history & {one.item for one in listed}
    assert (place / "leaf.safetensors").exists() == leaf
    raw = module.vocabulary.items.raw
    assert found["again"] == [raw[row] for row in _wide(module)]


def _wide(module):
    reading = Reading(module.network, prompts(module, [HISTORY]), [np.zeros(0, int)], width=K)
    return reading.generation(K)[0][0].tolist()


def test_the_separate_head_of_a_t5_survives_loading_resizing_and_export(vocabulary, backbones, tmp_path):
    """transformers 5 calls every T5 tied; a resize then replaces a separate head by the table."""
    folder = backbones["t5-separate"]
    model, tokenizer = load_pretrained(str(folder))
    head, table = model.lm_head.weight.detach().clone(), model.shared.weight.detach().clone()
    assert not torch.equal(head, table)
    base, rows = len(tokenizer), len(table)
    export_model(MetaTokenModule(vocabulary, backbone=str(folder), max_history=10), tmp_path / "hf")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf")
    assert torch.equal(again.lm_head.weight[:base], head[:base])
    assert torch.equal(again.shared.weight[:base], table[:base])
    assert again.encoder.embed_tokens.weight is again.shared.weight
    assert again.config.scale_decoder_outputs is False
    model.resize_token_embeddings(rows + 5, mean_resizing=False)
    assert torch.equal(model.lm_head.weight[:rows], head)
    assert torch.equal(model.shared.weight[:rows], table)


def test_what_the_folder_holds(exported, vocabularies):
    vocabulary = vocabularies[3]
    _, place, *_ = exported["gpt2", True]
    read_manifest(place, "export", 1)
    lines = [json.loads(line) for line in (place / "items.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines] == list(vocabulary.items.raw)
    assert [line["title"] for line in lines] == list(vocabulary.titles or [""] * vocabulary.n_items)
    assert lines[5]["tokens"] == vocabulary.tokens_of(item=vocabulary.items.raw[5])
    assert len({tuple(line["ids"]) for line in lines}) == vocabulary.n_items
    assert not [path for path in place.rglob("*") if path.suffix in {".bin", ".pt", ".ckpt"}]
    code = (place / "recommend.py").read_text()
    assert "import metatoken" not in code
    assert "from metatoken" not in code


def test_the_readme_of_an_export_runs(architecture, exported):
    """Its python blocks, in the folder, in a process without metatoken."""
    for leaf in (False, True):
        _, place, *_, found = exported[architecture, leaf]
        assert not re.search(r"@[A-Z]+@", (place / "README.md").read_text())
        assert len([line for line in found["readme"].splitlines() if line[:1].isdigit()]) == 5
        # Where histories are compact, `generate` cannot read them.
        assert ("<a_" in found["readme"]) == (not leaf)


def test_user_tokens_go_into_the_prompt(backbones, vocabulary, tmp_path):
    from metatoken.model.store.standalone import Recommender as Standalone

    module = trained(vocabulary, backbones["llama-tied"], user_tokens="prefix")
    export_model(module, tmp_path / "hf")
    plain = Standalone(tmp_path / "hf")
    user = vocabulary.users.raw[7]
    ids, own, order = plain.prompt(HISTORY, user)
    tokens = module.builder.encoder.users[7]
    expected = module.builder.prompt(find_template("seq-1"), tokens, np.array(HISTORY))
    assert_same_prompt((ids, own, order), expected)
    raw = [vocabulary.items.raw[row] for row in HISTORY]
    assert len(plain.recommend(raw, 5, user=user)) == 5
    with pytest.raises(KeyError):
        plain.recommend(raw, 5, user="nobody")


@pytest.mark.parametrize("history", ["compact", "written"])
def test_a_preset_with_learned_positions_recommends_the_same_items(make_module, split, tmp_path, history):
    """In the compact form the positions of the items do not follow those of the words."""
    from metatoken.model.store.standalone import Recommender as Standalone

    module = moved(make_module(history=history), 0.2, 0.2)
    export_model(module, tmp_path / "hf")
    plain, raw = Standalone(tmp_path / "hf"), split.log.items.raw
    for items in (HISTORY, HISTORY[:1], list(range(40))):
        expected = module.builder.prompt(find_template("seq-1"), None, np.array(items))
        assert_same_prompt(plain.prompt(items), expected)
        found = plain.recommend([raw[row] for row in items], K)
        listed = Recommender(module, split.log).recommend(history=[raw[row] for row in items], k=K, model="generation")
        assert [one.item for one in found] == [one.item for one in listed]
        assert [one.score for one in found] == pytest.approx([one.score for one in listed], rel=1e-3)
    assert_same_prompt(plain.prompt([]), module.builder.prompt(find_template("seq-1"), None, np.array([], dtype=int)))


@pytest.mark.parametrize("title_tokens", [3, 12])
def test_titles_stand_in_the_prompt(backbones, vocabulary, tmp_path, title_tokens):
    """Cut short all titles have one length; whole ones do not, and neither have the prompts."""
    from metatoken.model.store.standalone import Recommender as Standalone

    words = [" ".join(["steel"] * (1 + row % 4)) for row in range(vocabulary.n_items)]
    vocabulary = replace(vocabulary, titles=words)
    module = trained(vocabulary, backbones["llama-tied"], titles=True, max_history=4, title_tokens=title_tokens)
    export_model(module, tmp_path / "hf")
    ids, own, order = Standalone(tmp_path / "hf").prompt(HISTORY)
    expected = module.builder.prompt(find_template("seq-1"), None, np.array(HISTORY))
    assert_same_prompt((ids, own, order), expected)


def test_what_cannot_be_exported(backbones, vocabulary, tmp_path):
    with pytest.raises(ConfigError, match="task sequential"):
        export_model(trained(vocabulary, backbones["gpt2"], tasks=["direct"]), tmp_path / "hf")
    module = trained(vocabulary, backbones["llama-tied"])
    module.network.backbone.bare().config.logits_scaling = 2.0
    with pytest.raises(ConfigError, match="logits_scaling"):
        export_model(module, tmp_path / "hf")
    module = trained(vocabulary, backbones["llama-tied"])
    head = module.network.backbone.bare().lm_head
    head.register_forward_hook(lambda _module, _inputs, out: out * 1.1)
    with pytest.raises(ArtifactError, match="scores differently"):
        export_model(module, tmp_path / "hf")
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_only_an_export(backbones, vocabulary, tmp_path):
    module = trained(vocabulary, backbones["gpt2"])
    export_model(module, tmp_path / "hf")
    export_model(module, tmp_path / "hf")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError):
        export_model(module, tmp_path / "other")


def test_every_family_is_exported(exported):
    assert {name for name, _ in exported} == set(ARCHITECTURES)
