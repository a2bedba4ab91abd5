"""Histories in shards: each process reads its own, and several learn what one does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metatoken import MetaTokenModule, TaskDataModule, Vocabulary
from metatoken.data.history_shards import HistoryShards, part_name, write_histories
from metatoken.errors import ArgumentError, ArtifactError
from metatoken.tasks.sharded_datamodule import ShardedDataModule
from tests.conftest import SMALL

SHARDS = 4
TRAIN = """
import json, os, shutil, sys
from pathlib import Path

folder, out, devices, further = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
rank = int(os.environ.get("LOCAL_RANK", 0))
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

import lightning as L
import torch
from metatoken import MetaTokenModule, Vocabulary
from metatoken.tasks.sharded_datamodule import ShardedDataModule

# What a process does not own is not even there: each has a folder of its own, as on a machine of its own.
own = out / f"histories-{rank}"
shutil.copytree(folder / "histories", own)
for shard in range(4):
    if shard % devices != rank:
        (own / f"part-{shard:05}.parquet").unlink()
opened.clear()

L.seed_everything(0)
vocabulary = Vocabulary.load(folder / "vocabulary")
model = MetaTokenModule(vocabulary, **json.loads((folder / "model.json").read_text()) | further)
data = ShardedDataModule(own, vocabulary, batch_size=24, seed=3)
trainer = L.Trainer(
    max_epochs=2, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
)
trainer.fit(model, data)
names = sorted({Path(name).name for name in opened if Path(name).parent == own})
(out / f"opened-{rank}.json").write_text(json.dumps(names))
if rank == 0:
    torch.save({"steps": trainer.global_step, "weights": model.state_dict()}, out / "weights.pt")
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (out / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture(scope="module")
def folder(split: Any, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    write_histories(split, folder / "histories", SHARDS, seed=1)
    vocabulary.save(folder / "vocabulary")
    # Processes drop different units.
    model = {"preset": SMALL | {"dropout": 0.0}, "max_history": 20, "tasks": ["sequential"], "user_tokens": "none"}
    (folder / "model.json").write_text(json.dumps(model))
    return folder


def test_shards_hold_every_user_once(folder: Path, split: Any) -> None:
    shards = HistoryShards.load(folder / "histories")
    read = [shards.read(shard) for shard in range(SHARDS)]
    users = np.concatenate([shard.users for shard in read])
    assert sorted(users.tolist()) == list(range(len(split.log.users)))
    histories = split.train.sequences()
    held = dict(zip(split.validation.users.tolist(), split.validation.items.tolist(), strict=True))
    for shard in read:
        for user, items, validation in zip(shard.users.tolist(), shard.histories, shard.held_out, strict=True):
            assert items.tolist() == histories[user].tolist()
            assert validation.tolist() == ([held[user]] if user in held else [])


@pytest.mark.slow
@pytest.mark.parametrize("further", [{}, {"item_softmax": "sampled", "item_updates": "rows"}], ids=["all", "rows"])
def test_two_processes_learn_what_one_does_and_open_their_own_shards(
    folder: Path, tmp_path: Path, further: dict[str, str]
) -> None:
    """Also by sparse gradients, which name every item here, since processes would draw different samples."""
    found: dict[int, Any] = {}
    (tmp_path / "train.py").write_text(TRAIN)
    for devices in (1, 2):
        out = tmp_path / str(devices)
        out.mkdir()
        command = [sys.executable, tmp_path / "train.py", folder, out, str(devices), json.dumps(further)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stderr
        found[devices] = torch.load(out / "weights.pt", weights_only=True)
        for rank in range(devices):
            opened = json.loads((out / f"opened-{rank}.json").read_text())
            assert opened == ["manifest.json", *(part_name(shard) for shard in range(rank, SHARDS, devices))]
    one, two = found[1], found[2]
    assert one["steps"] == two["steps"] > 10
    for name, value in one["weights"].items():
        # As a whole: a weight whose gradient is rounding alone moves by whole steps of AdamW, in any direction.
        assert (two["weights"][name] - value).norm() < 1e-3 * value.norm() + 1e-3, name
    metrics = [json.loads((tmp_path / str(devices) / "metrics.json").read_text()) for devices in (1, 2)]
    ranked = {name for name in metrics[0] if "@" in name}
    assert ranked
    assert {name: metrics[0][name] for name in ranked} == pytest.approx(
        {name: metrics[1][name] for name in ranked}, abs=0.03
    )


class Place:
    """What a trainer tells a data module."""

    accumulate_grad_batches = 1

    def __init__(
        self, module: MetaTokenModule, world_size: int = 1, global_rank: int = 0, total: torch.Tensor | None = None
    ) -> None:
        self.lightning_module, self.world_size, self.global_rank = module, world_size, global_rank
        self.strategy, self.total, self.own = self, total, torch.zeros(0)

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.own = tensor
        return tensor if self.total is None else self.total


def loader_of(folder: Path, module: MetaTokenModule, place: Place, batch_size: int = 24) -> Any:
    data = ShardedDataModule(folder / "histories", module.vocabulary, batch_size=batch_size, seed=3)
    data.trainer = place  # type: ignore[assignment]
    return data.train_dataloader()


def test_an_epoch_supervises_what_a_whole_log_does(folder: Path, split: Any, make_module: Any) -> None:
    module = make_module(tasks=["sequential"])
    batches = loader_of(folder, module, Place(module)).dataset
    found = [batches[1, number] for number in range(len(batches))]
    whole = TaskDataModule(split, module.vocabulary, tasks=("sequential",), batch_size=24, seed=3)
    whole.connect(module.reader)
    expected = whole.training_batches()
    assert abs(len(batches) - len(expected)) <= 1
    targets = [int((batch.answers if batch.answers is not None else batch.targets).numel()) for batch in found]
    assert min(targets) > 0
    torch.testing.assert_close(
        found[0].normaliser * len(batches), expected[0, 0].normaliser * len(expected), rtol=1e-5, atol=1e-4
    )
    again = loader_of(folder, module, Place(module)).dataset
    assert torch.equal(again[1, 2].input_ids, found[2].input_ids)
    assert not torch.equal(again[0, 2].input_ids[:4, :4], found[2].input_ids[:4, :4])


def test_the_batches_of_two_processes_are_those_of_one(folder: Path, make_module: Any, tmp_path: Path) -> None:
    module = make_module(tasks=["sequential"])
    place = Place(module)
    one = loader_of(folder, module, place)
    loaders = []
    for rank in range(2):
        own = tmp_path / str(rank)
        shutil.copytree(folder / "histories", own / "histories")
        for shard in range(1 - rank, SHARDS, 2):
            (own / "histories" / part_name(shard)).unlink()  # as on a machine of its own
        loaders.append(loader_of(own, module, Place(module, 2, rank, place.own)))
    assert len(one) == len(loaders[0]) == len(loaders[1])

    def rows(batch: Any) -> list[list[int]]:
        return [row[mask.bool()].tolist() for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]

    for whole, left, right in zip(one, *loaders, strict=True):
        assert sorted(rows(whole)) == sorted([*rows(left), *rows(right)])
        torch.testing.assert_close(whole.normaliser, left.normaliser + right.normaliser)


def test_refusals(folder: Path, split: Any, make_module: Any, tmp_path: Path) -> None:
    module = make_module(tasks=["sequential"])
    with pytest.raises(ArgumentError, match="4 shards, fewer than 5 processes"):
        loader_of(folder, module, Place(module, world_size=5))
    with pytest.raises(ArgumentError, match="write fewer shards"):
        loader_of(folder, module, Place(module), batch_size=1)
    reads = make_module(tasks=["sequential"], user_tokens="prefix")
    with pytest.raises(ArgumentError, match=r"user_tokens: .* 'prefix'"):
        loader_of(folder, reads, Place(reads))
    with pytest.raises(ArgumentError, match="shards: expected an integer from 1 to 200"):
        write_histories(split, tmp_path / "h", 201)
    with pytest.raises(ArtifactError, match="is a vocabulary"):
        HistoryShards.load(folder / "vocabulary")
    write_histories(split, tmp_path / "h", 2)
    path = tmp_path / "h" / part_name(1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="altered or damaged"):
        HistoryShards.load(tmp_path / "h").read(1)
    path.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        HistoryShards.load(tmp_path / "h").read(1)
    HistoryShards.load(tmp_path / "h").read(0)
