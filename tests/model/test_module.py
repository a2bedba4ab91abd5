import dataclasses

import lightning as L
import pytest
import torch

from metatoken import MetaTokenModule
from metatoken.errors import ArgumentError, ConfigError
from metatoken.model.model import PARTS
from metatoken.model.store.saving import load_model, save_model
from metatoken.tasks.datamodule import TaskDataModule


def _fit(module, split, epochs=1, **options):
    data = TaskDataModule(split, module.vocabulary, tasks=module.tasks, batch_size=32, validation_users=50)
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, data)
    return trainer


def test_training_beats_chance_in_a_users_own_trainer(make_module, split):
    module = make_module(learning_rate=3e-3, warmup_steps=5)
    trainer = _fit(module, split, epochs=4)
    # Chance is about 10 of 90 unseen items.
    assert float(trainer.callback_metrics["val/sequential/hr@10"]) > 0.25
    assert "val/direct/hr@10" in trainer.callback_metrics


@pytest.mark.parametrize("fields", [{"user_tokens": "prefix"}, {"leaf": False}, {"tasks": ["direct"]}])
def test_options_train(make_module, split, fields):
    trainer = _fit(make_module(**fields), split, limit_train_batches=3)
    assert torch.isfinite(trainer.callback_metrics["loss"])


class Looks(L.Callback):
    """Notes the loss of each step, and what a callback finds of it."""

    def __init__(self, monitor=None):
        self.found, self.monitor = [], monitor

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        self.found.append((float(outputs["loss"]), float(trainer.callback_metrics["train/loss"])))


@pytest.mark.parametrize("monitor", [None, "val/sequential/ndcg@10", "loss", "train/item"])
def test_losses_of_steps_are_logged_where_somebody_looks(make_module, split, monitor):
    looks = Looks(monitor)
    _fit(make_module(), split, limit_train_batches=4, callbacks=[looks])
    own, told = zip(*looks.found, strict=True)
    if monitor in ("loss", "train/item"):
        assert told == own
    else:
        assert told == (own[0], own[0], own[0], own[3])


def test_a_step_draws_by_its_place_alone(make_module):
    """Whatever was drawn before, as `torch.manual_seed` has it; a step of another number draws something else."""
    module, drawn = make_module(), []
    module.trainer = L.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    for number in (0, 1, 0):
        torch.rand(number + 1)
        module.on_train_batch_start(None, number)
        drawn.append((torch.initial_seed(), torch.rand(3)))
        torch.manual_seed(drawn[-1][0])
        assert torch.equal(torch.rand(3), drawn[-1][1])
    assert torch.equal(drawn[0][1], drawn[2][1])
    assert not torch.equal(drawn[0][1], drawn[1][1])


def test_t5_trains_on_one_prompt_a_target(make_module, split):
    module = make_module(backbone="t5-preset", preset={"dim": 32, "layers": 1})
    trainer = _fit(module, split, limit_train_batches=3, limit_val_batches=1)
    assert torch.isfinite(trainer.callback_metrics["loss"])


def test_one_seed_gives_one_model(make_module):
    one, two, other = make_module(seed=1), make_module(seed=1), make_module(seed=2)
    same = zip(one.parameters(), two.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(one.network.table.weight, other.network.table.weight)


def test_building_a_model_leaves_the_callers_random_state(make_module):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    make_module()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tasks": ["songs"]}, "unknown task 'songs'; expected some of"),
        ({"tasks": ["direct", "direct"]}, "expected each task once, got 'direct' 2 times"),
        ({"tasks": []}, "model.tasks"),
        ({"temperature": 0.0}, "model.temperature"),
        ({"max_history": 0}, "model.max_history"),
        ({"max_history": 400}, "use max_history <="),
        ({"lora": {"r": 4}}, "a preset has no pretrained weights"),
        ({"preset": {"width": 3}}, "unknown setting 'model.preset.width'"),
        ({"preset": {"dim": 33, "heads": 2}}, "multiple of heads"),
        ({"backbone": "no/such-folder-or-name", "preset": {}}, "cannot be loaded"),
    ],
)
def test_settings_are_checked(make_module, fields, message):
    with pytest.raises(ConfigError, match=message):
        make_module(**fields)


def test_an_odd_width_is_one_like_any_other(make_module):
    assert make_module(preset={"dim": 33, "layers": 1}).network.backbone.dim == 33


def test_settings_come_once(make_module, vocabulary):
    from metatoken import MetaTokenModule, ModelSettings

    with pytest.raises(ArgumentError, match="settings"):
        MetaTokenModule(vocabulary, ModelSettings(), alpha=2.0)
    with pytest.raises(ConfigError, match="unknown setting 'colour'"):
        MetaTokenModule(vocabulary, colour="red")


def test_checkpoints_miss_nothing_that_trains(make_module):
    module = make_module()
    checkpoint = {"state_dict": dict(module.state_dict())}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    del checkpoint["state_dict"]["network.items.residual"]
    with pytest.raises(ConfigError, match=r"network\.items\.residual"):
        module.on_load_checkpoint(checkpoint)


def test_the_length_at_the_input_is_saved_as_what_its_default_came_to(make_module, tmp_path):
    module = make_module(preset={"dim": 32, "layers": 1})
    assert module.settings.input_norm == module.network.input_norm == 32**0.5
    save_model(module, tmp_path / "model")
    again = load_model(tmp_path / "model", module.vocabulary)
    assert again.settings == module.settings
    given = make_module(input_norm=2.0)
    assert given.settings.input_norm == given.network.input_norm == 2.0


def test_a_model_of_0_1_that_left_the_length_open_has_a_quarter_of_it(make_module, tmp_path):
    module = make_module(preset={"dim": 32, "layers": 1})
    module.settings = dataclasses.replace(module.settings, input_norm=None)
    save_model(module, tmp_path / "model")
    assert load_model(tmp_path / "model", module.vocabulary).network.input_norm == 0.25 * 32**0.5


def test_a_loaded_model_is_trained_as_the_one_that_was_saved(make_module, split, tmp_path):
    module = make_module(preset={"dim": 16, "layers": 1})
    save_model(module, tmp_path / "model")
    loaded = load_model(tmp_path / "model", module.vocabulary)
    assert not isinstance(loaded, L.LightningModule)
    assert set(PARTS) == {"network"} | (vars(loaded).keys() - vars(torch.nn.Module()).keys())
    _fit(module.train(), split, limit_train_batches=3)
    _fit(MetaTokenModule.of(loaded), split, limit_train_batches=3)
    assert len(dict(module.named_parameters())) == len(dict(loaded.named_parameters()))
    for name, value in module.named_parameters():
        assert torch.equal(value, dict(loaded.named_parameters())[name]), name
