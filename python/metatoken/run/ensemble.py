"""`ensemble_run`: one run out of several of the same log, whose item heads are pooled in the fused list.

run/partners/0/model/  vocabulary/     of the second run, and so on; everything else is the first one's
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metatoken.artifacts.writing import replaced_folder
from metatoken.errors import ArgumentError, ConfigError
from metatoken.run.extend import write_run
from metatoken.run.folder import Run, RunFolder, load_run
from metatoken.run.manifest import backbone_checksum, seal
from metatoken.run.place import check_free, new_place
from metatoken.run.progress import Bar, Say, no_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metatoken.data.split import Part, Split
    from metatoken.model.model import MetaTokenModel
    from metatoken.predict.fusion import Fusion


def ensemble_run(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    like: str | Path | None = None,
    overwrite: bool = False,
    say: Say = print,
    bar: Bar | None = None,
) -> Run:
    """A run that recommends by several models of the same log at once.

    Its fused list pools the item heads of all of them (`metatoken.predict.partners`); the weights of this pool and of
    the prior are chosen anew on validation. Generation, the other lists, answers and exports are the first one's.

    Args:
        runs: Folders of finished runs of the same log and split, such as `metatoken train --seeds 0,1,2` makes. They
            stay as they are, and the new run does not need them.
        out: Folder of the new run; it appears there when it is whole.
        like: An earlier ensemble whose fusion weights are taken; needed where nothing is held out.
        overwrite: Replace an older run at `out`.
        say: Gets a line for each step.
        bar: Shows progress of long steps.

    Raises:
        ArgumentError: Fewer than two runs, or one of them twice.
        ArtifactError: A run is not finished, or damaged.
        ConfigError: The runs do not belong together, or `out` is taken.
    """
    folders = [Path(one) for one in runs]
    if len(folders) < 2 or len({one.resolve() for one in folders}) < len(folders):
        said = ", ".join(map(str, folders)) or "none"
        raise ArgumentError("runs", f"expected two or more different runs, got {said}")
    inputs = [*folders, *([] if like is None else [Path(like)])]
    with new_place(out, overwrite=overwrite, inputs=inputs):
        first, *others = (load_run(one) for one in folders)
        for one in (first, *others):
            check_partner(first, one)
        partners = [one.module for one in others]
        fusion = _fusion(first, partners, like, bar or no_bar)
        with replaced_folder(out, lambda _: check_free(out, overwrite=overwrite, inputs=inputs)) as work:
            into = RunFolder(work)
            run = Run(Path(out), first.config, first.split, first.module, fusion, first.catalogue, tuple(partners))
            write_run(into, run, first.module.vocabulary, None)
            _copy(RunFolder(folders[0]), into, [RunFolder(one) for one in folders[1:]])
            seal(into, "finished", backbone_checksum(first.module), [backbone_checksum(one) for one in partners])
    say(f"{len(folders)} models; fusion weights {fusion.sentence()}")
    return run


def check_partner(first: Run, one: Run) -> None:
    """Refuses a run that cannot be pooled with the first one of an ensemble: `ConfigError`."""
    if one.partners:
        raise ConfigError(f"{one.folder}: is an ensemble itself; name the runs that it was made of")
    from metatoken.predict.partners import Partners

    mine, theirs = (_held_out_of(run.split) for run in (first, one))
    if mine != theirs:
        said = f"was trained on another log, or another part of it, than {first.folder}"
        raise ConfigError(f"{one.folder}: {said}; an ensemble needs runs of one log and split")
    try:
        Partners([one.module], first.split.log.items.raw)
    except ArgumentError as error:
        raise ConfigError(f"{one.folder}: {error}") from error


def _held_out_of(split: Split) -> list[Any]:
    """All that says who took what, and what of it is held out; two runs may know their items by different tables."""
    parts: tuple[Part, Part] = ("validation", "test")
    held = [split.targets(part) for part in parts]
    logs = [split.log.edges_checksum(), split.train.edges_checksum()]
    return [*logs, *(values.tolist() for one in held for values in (one.users, one.items))]


def _fusion(first: Run, partners: Sequence[MetaTokenModel], like: str | Path | None, bar: Bar) -> Fusion:
    from metatoken.predict.fusion import Fusion, choose_fusion
    from metatoken.predict.partners import Partners

    if like is not None:
        return Fusion.load(RunFolder(like).fusion)
    if len(first.split.targets("validation")) == 0:
        said = "nothing is held out, so fusion weights cannot be chosen"
        raise ConfigError(f"{first.folder}: {said}; take those of an earlier ensemble with --like")
    about = first.config.evaluate
    with bar("choosing fusion weights") as progress:
        return choose_fusion(
            first.module, first.split, partners=Partners(partners, first.split.log.items.raw),
            limit=about.fusion_users, batch_size=about.batch_size, seed=first.config.seed, progress=progress,
        )  # fmt: skip


def _copy(first: RunFolder, into: RunFolder, others: Sequence[RunFolder]) -> None:
    """What is not written anew: how the first run was trained, its baselines, and the partners' models."""
    for old, new in ((first.training, into.training), (first.table, into.table), (first.source, into.source)):
        if old.is_file():
            shutil.copyfile(old, new)
    if first.baselines.is_dir():
        shutil.copytree(first.baselines, into.baselines)
    for number, one in enumerate(others):
        for old in (one.model, one.vocabulary):
            shutil.copytree(old, into.partners / str(number) / old.name)
