"""`metatoken text-vectors` and a run that uses what it wrote."""

from dataclasses import replace

import pytest
import torch

from metatoken.errors import ConfigError
from metatoken.model.backbone import smollm2
from metatoken.run import load_run, train_run
from metatoken.run.config import dump_config, load_config
from metatoken.tokens.features import ItemFeatures
from tests.files import write_movies, write_run_config
from tests.model.architectures import write_backbone

COLUMNS = ("--item-id", "movieId", "--title", "title")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(write_backbone("llama-tied", tmp_path_factory.mktemp("backbone")))


def test_titles_become_vectors_with_neighbours(run, tmp_path, backbone):
    movies, out = write_movies(tmp_path / "movies.csv"), tmp_path / "text"
    options = (movies, *COLUMNS, "--backbone", backbone, "--layer", 1, "--components", 4, "-o", out)
    result = run("text-vectors", *options, "--near", 7, "-k", 3)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    at = lines.index("7  Film 7")
    assert len(lines[at + 1 : at + 4]) == 3
    assert all(line.startswith("  ") and "Film" in line for line in lines[at + 1 : at + 4])
    features = ItemFeatures.load(out)
    assert features.vectors.shape == (40, 4)
    assert features.titles[features.ids.index("12")] == "Film 12"
    before = (out / "vectors.safetensors").read_bytes()
    assert run("text-vectors", *options).code == 0
    assert (out / "vectors.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--near", "x"), "no item 'x'"),
        (("--title", "name"), "no column 'name'"),
        (("--layer", 5), "layer: expected 1 to 2"),
        (("--components", 33), "components: expected 1 to"),
    ],
)
def test_mistakes_are_one_line(refuse, tmp_path, backbone, options, message):
    movies = write_movies(tmp_path / "movies.csv")
    line = refuse("text-vectors", movies, *COLUMNS, "--backbone", backbone, "-o", tmp_path / "text", *options)
    assert message in line


def test_a_place_that_holds_something_else_is_refused_before_any_work(run, tmp_path):
    movies = write_movies(tmp_path / "movies.csv")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "mine.txt").write_text("mine")
    result = run("text-vectors", movies, *COLUMNS, "--backbone", "no-such-model", "-o", tmp_path / "text")
    assert result.code == 2
    assert "choose another place" in result.err
    assert (tmp_path / "text" / "mine.txt").read_text() == "mine"


def test_a_run_trains_with_titles_and_text_vectors(run, tmp_path, backbone):
    """LoRA on a pretrained backbone, titles in prompts, text vectors in items: train, load, evaluate, recommend."""
    yaml = write_run_config(tmp_path)
    config = load_config(yaml)
    items, out = config.data.items, tmp_path / "text"
    assert run("text-vectors", items, "--backbone", backbone, "--layer", 1, "--components", 4, "-o", out).code == 0
    model = {
        "backbone": backbone, "layers": 1, "preset": {}, "titles": True, "item_features": str(out), "max_history": 10,
        "lora": {"r": 2}, "title_tokens": 4,
    }  # fmt: skip
    config = replace(config, model=replace(config.model, **model))
    trained = train_run(config, tmp_path / "run", say=lambda _: None)
    loaded = load_run(tmp_path / "run")
    assert len(loaded.module.network.backbone.bare().model.layers) == 1
    with torch.no_grad():
        assert torch.equal(loaded.module.network.items(), trained.module.network.items())
    result = run("evaluate", tmp_path / "run", "--no-unseen")
    assert result.code == 0, result.err
    assert "item_head" in result.out
    user = trained.split.log.users.raw[0]
    for ranked in ("item_head", "generation", "fused"):
        assert run("recommend", tmp_path / "run", "--user", user, "-k", 3, "--model", ranked).code == 0


@pytest.mark.slow
def test_the_real_model_trains_resumes_evaluates_and_recommends(run, tmp_path):
    """SmolLM2, one block: LoRA, tokens and titles through the commands that a person types."""
    try:
        smollm2.locate()
    except ConfigError as error:
        pytest.skip(str(error))
    model = {"backbone": "smollm2-135m", "layers": 1, "titles": True, "max_history": 6, "lora": {"r": 2}}
    yaml = write_run_config(tmp_path, n_users=24, n_items=40, trainer={"batch_size": 16})
    config = load_config(yaml, [*(f"model.{key}={value}" for key, value in model.items()), "model.preset={}"])
    yaml.write_text(dump_config(config))
    out = tmp_path / "run"
    assert run("train", yaml, "-o", out).code == 0
    resumed = run("train", yaml, "-o", out, "--resume", "--set", "trainer.max_epochs=2")
    assert resumed.code == 0, resumed.err
    assert "epoch 2/2" in resumed.out
    assert "epoch 1/2" not in resumed.out
    assert run("evaluate", out, "--no-unseen").code == 0
    user = load_run(out).split.log.users.raw[0]
    assert len(run("recommend", out, "--user", user, "-k", 3, "--model", "generation").out.splitlines()) >= 3
