"""What a run costs: time, memory, space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from metatoken.report.subject import Subject


def cost_section(subject: Subject) -> dict[str, Any]:
    """Facts about time and memory, and the size of each part on disk with its share of the largest."""
    folder = subject.folder
    parts = {
        "model": folder.model, "vocabulary": folder.vocabulary, "items": folder.items, "history": folder.history,
        "baselines": folder.baselines, "predictions": folder.predictions, "answers": folder.answers,
        "checkpoints (only to go on with training)": folder.checkpoint.parent, "TensorBoard": folder.tensorboard,
    }  # fmt: skip
    sizes = {name: size for name, path in parts.items() if (size := size_of(path))}
    largest = max(sizes.values(), default=1)
    disk = [
        {"name": name, "size": readable(size), "share": round(100 * size / largest, 1)} for name, size in sizes.items()
    ]
    return {"facts": list(_facts(subject)), "disk": disk, "total": readable(sum(sizes.values()))}


def _facts(subject: Subject) -> list[tuple[str, str]]:
    epochs, facts = subject.epochs, []
    if seconds := epochs.get("seconds"):
        told = f"{duration(float(np.nansum(seconds)))} in {len(seconds):,} epochs, validation included"
        facts.append(("training, by the clock", told))
    if (work := epochs.get("processor_seconds")) and np.isfinite(work).any():
        facts.append(("training, processor time", duration(float(np.nansum(work)))))
    if (memory := epochs.get("peak_memory_mb")) and np.isfinite(memory).any():
        facts.append(("most memory while training", readable(float(np.nanmax(memory)) * 1e6)))
    facts.append(("evaluation, by the clock", duration(float(subject.metrics["seconds"]))))
    vocabulary = subject.data.vocabulary
    facts.append(("tokens", f"{vocabulary.n_tokens:,}, a vector of {vocabulary.dim} numbers each"))
    return facts


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where nothing is."""
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file() and not one.is_symlink())


def readable(size: float) -> str:
    """Bytes as a person reads them: `12 kB`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if float(f"{size:.3g}") < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `8.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
