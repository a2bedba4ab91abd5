"""Where a training writes, and how what it has made gets to its name without costing what is there.

A new run is put under its name as soon as it has all that is known before training, and is trained there. One that
replaces an older run is trained beside it and exchanged for it when it is whole:

.NAME.training/run/     the new run; afterwards the old one, until it is removed
.NAME.training/whole    says which folder is the new run: it only needs to be exchanged, or has been

The folder `.NAME.training` is locked while something is trained for that name, so that two trainings never mix.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from metatoken.artifacts import atomic_file
from metatoken.artifacts.failures import one_line
from metatoken.artifacts.places import OLD, flush_folder, hold, put, sweep, sweep_all, unlock
from metatoken.artifacts.writing import check_name, check_outside, check_writable, refuse_surroundings, resolved
from metatoken.errors import ArtifactError, ConfigError
from metatoken.run.contents import check_replaceable_run
from metatoken.run.folder import RunFolder
from metatoken.run.manifest import check_begun, identity, is_begun
from metatoken.run.trainer import check_checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from metatoken.data import Interactions
    from metatoken.run.config import Config
    from metatoken.tokens.vocabulary import Vocabulary

RUN, WHOLE = "run", "whole"  # in the folder beside


class TrainingPlace:
    """The place of one training; made by `training_place`.

    Args:
        out: The folder that the run shall have.

    Attributes:
        given: The same.
        out: The same, links followed.
        beside: The folder that is locked, and holds a run that is to replace another.
    """

    def __init__(self, out: str | Path) -> None:
        self.given, self.out = Path(out), resolved(out)
        self.beside = self.out.with_name(f".{self.out.name}.training")
        self._new, self._whole = self.beside / RUN, self.beside / WHOLE

    @property
    def folder(self) -> RunFolder:
        """Where is written by now: beside, if a run was begun there."""
        return RunFolder(self._new if self._new.exists() else self.out)

    @property
    def coming(self) -> RunFolder:
        """Where `begin` will put a new run: under its name if that is free, else beside it."""
        return RunFolder(self.out if self._is_free() else self._new)

    def _is_free(self) -> bool:
        return not self.out.exists() or not any(self.out.iterdir())

    def begin(self, config: Config, vocabulary: Vocabulary, log: Interactions, backbone: str | None) -> None:
        """Begins a new run, under its name if that is free: it appears there with all that is known before training."""
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir()
        with one_line(self.out, self.beside):
            RunFolder(self._new).begin(config, vocabulary, log, backbone)
            if self._is_free():
                put(self._new, self.out)
                shutil.rmtree(self._new, ignore_errors=True)  # the empty folder that was there

    def finish(self) -> None:
        """Puts a run that is whole under its name: `ArtifactError` if that is no longer free for it."""
        if self._new.exists():
            with atomic_file(self._whole) as work:
                work.write_text(_number(self._new))
            self.settle()

    def settle(self) -> None:
        """Finishes an exchange that a training had come to, or removes what one has left."""
        if not self._whole.is_file():
            return
        old = self.beside / OLD / self.out.name  # where the system cannot exchange
        if self._new.exists() and _number(self._new) == self._whole.read_text():  # else it is the old one by now
            if self.out.exists():
                check_replaceable_run(self.out)
            with one_line(self.out, self.beside):
                put(self._new, self.out)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self._new, ignore_errors=True)
        self._whole.unlink()
        flush_folder(self.beside)

    def abandon(self) -> None:
        """Removes a run that was begun and has nothing to go on from."""
        if not self.folder.checkpoint.exists():
            shutil.rmtree(self.folder.path, ignore_errors=True)


@contextmanager
def training_place(out: str | Path) -> Iterator[TrainingPlace]:
    """Locks the place of a run for a training, and finishes what an earlier one had come to.

    Nothing stays beside the run but one that was begun there and can be gone on with.

    Raises:
        ConfigError: Somebody else is training for this place.
        ArtifactError: It cannot be written.
    """
    place = TrainingPlace(out)
    absent = [folder for folder in place.out.parents if not folder.exists()]
    check_writable(place.out)
    lock = _hold(place.beside)
    try:
        sweep(place.out.parent)
        for run in (place.out, place.beside / RUN):
            sweep_all(run)
        place.settle()
        yield place
    finally:
        if not RunFolder(place.beside / RUN).checkpoint.exists():
            shutil.rmtree(place.beside, ignore_errors=True)
        unlock(lock)
        for folder in absent:
            with suppress(OSError):
                folder.rmdir()


def check_place(config: Config, out: str | Path, overwrite: bool, resume: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuses, before any work, a folder that is taken, or that cannot be gone on with.

    Raises:
        ConfigError: See `train_run`.
        ArtifactError: The checkpoint is damaged, or of another run.
    """
    if resume:
        folder = TrainingPlace(out).folder
        if not is_begun(folder) or folder.checkpoint.exists():
            check_checkpoints(folder.checkpoint, lambda: identity(folder, folder.load_config()))
        check_begun(folder)
        begun = folder.load_config()
        asked = config.filled(begun).resolved(0)  # a run of 0.1 has left open what a resumed one would have otherwise
        if (asked.model, config.seed) != (begun.model, begun.seed):
            raise ConfigError(f"--resume: the model and the seed must be those of {folder.config}")
        if (config.tokens, config.vocabulary) != (begun.tokens, begun.vocabulary):
            raise ConfigError(f"--resume: the run has its tokens already; leave tokens as {folder.config} has them")
    else:
        check_free(out, overwrite=overwrite, inputs=inputs, others=", --overwrite, or --resume")


def check_free(
    out: str | Path, *, overwrite: bool, inputs: Iterable[Path] = (), others: str = ", or --overwrite"
) -> None:
    """Refuses, before any work, a place that a new run must not take.

    Args:
        out: The folder of the run.
        overwrite: Whether it may replace a run.
        inputs: What is read; a folder that holds it is not replaced.
        others: What helps besides another folder.

    Raises:
        ConfigError: The place is taken by something else than a run, or by one that must not be replaced; or it lies
            within a run or another artifact.
    """
    place = resolved(out)
    try:
        check_outside(place)
        check_name(place)
        refuse_surroundings(place)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"{out}: exists already; give another folder{others}")
    check_replaceable_run(place, inputs)


@contextmanager
def new_place(out: str | Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> Iterator[None]:
    """Checks and locks the place of a run that is made of another one, for as long as it takes.

    Args:
        out: The folder of the run.
        overwrite: Whether it may replace a run.
        inputs: What is read; a folder that holds it is not replaced.

    Raises:
        ConfigError: See `check_free` and `training_place`.
        ArtifactError: It cannot be written.
    """
    check_free(out, overwrite=overwrite, inputs=inputs)
    with training_place(out):
        check_free(out, overwrite=overwrite, inputs=inputs)  # again: another one may have finished by now
        yield


def _hold(beside: Path) -> int | None:
    try:
        return hold(beside, (RUN, WHOLE, OLD))
    except BlockingIOError as error:
        said = "somebody else makes a run in this folder; wait for it, or give another folder"
        raise ConfigError(f"{beside.with_name(beside.name[1:].removesuffix('.training'))}: {said}") from error


def _number(folder: Path) -> str:
    """What a folder is to its disk, whatever its name."""
    about = folder.stat()
    return f"{about.st_dev} {about.st_ino}"
