"""Pretrained models: any Hugging Face causal or encoder-decoder model, by hub name or local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metatoken.config import expanded
from metatoken.errors import ConfigError
from metatoken.model.backbone.adaptation import is_tied
from metatoken.model.backbone.presets import PRESETS
from metatoken.model.backbone.smollm2 import NAME, resolve

OBJECT = "object:"  # what the name of a backbone begins with that was given as an object
NEAR = 0.85  # how like a name of ours a name without an owner is that nobody takes for one of the hub
STACKS = ("layers", "h")  # names of the list of blocks: Llama, Qwen, Gemma, Mistral, Phi, GPT-NeoX; GPT-2


def load_pretrained(name_or_path: str) -> tuple[nn.Module, Any]:
    """A pretrained model in float32 and its tokenizer, by hub name, local folder, or `smollm2-135m`.

    Raises:
        ConfigError: It cannot be loaded, or is neither causal nor encoder-decoder.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    with _found(name_or_path) as (source, config):
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with no_bar():
            model = loader.from_pretrained(source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source)
    return untied(model), tokenizer


def check_source(name_or_path: str) -> None:
    """Refuses the name of a model that is not there, before any work is done for it; reads no weights.

    Raises:
        ConfigError: See `load_pretrained`.
    """
    if name_or_path not in PRESETS:
        with _found(name_or_path):
            pass


@contextmanager
def _found(name_or_path: str) -> Iterator[tuple[str, Any]]:
    """Where a model is read from, and its configuration; what fails while it is read is a `ConfigError`."""
    from transformers import AutoConfig

    if name_or_path.startswith(OBJECT):
        kind = name_or_path.removeprefix(OBJECT)
        raise ConfigError(f"model.backbone: the model was made with a {kind} object; give such an object again")
    local = expanded(resolve(name_or_path))
    try:
        there = local.exists()
    except OSError as error:
        raise _refused(name_or_path, f"cannot be reached ({error.strerror})") from error
    if not there:
        _check_remote(name_or_path)
    source = str(local) if there else name_or_path
    try:
        yield source, AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _refused(name_or_path, f"cannot be loaded ({reason})") from error


def _check_remote(name: str) -> None:
    """Refuses what is no name of the hub, or one of ours with a slip, without asking the hub."""
    if name.startswith((".", "~", "/", "\\")) or name.count("/") > 1 or not name.strip():
        raise _refused(name, "is no folder that is there")
    if "/" not in name and (close := get_close_matches(name, [*PRESETS, NAME], 1, NEAR)):
        raise _refused(name, f"is none of these; did you mean {close[0]!r}?")


def _refused(name: str, said: str) -> ConfigError:
    known = f"{', '.join([*PRESETS, NAME])}, a folder with a Hugging Face model, or a hub name"
    return ConfigError(f"model.backbone: expected {known}; {name!r} {said}")


def load_saved(folder: Path) -> nn.Module:
    """The float32 model of a folder in a saved one; its weights are random where only its configuration is there."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = AutoConfig.from_pretrained(folder)
    loader: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if not any(folder.glob("*.safetensors")):
        return untied(loader.from_config(config, dtype=torch.float32))
    with no_bar():
        return untied(loader.from_pretrained(folder, dtype=torch.float32))


def untied(model: Any) -> nn.Module:
    """The model, whose configuration now says whether its head has weights of its own.

    transformers 5 forces the tie for every T5, and the next `tie_weights` (a resize calls it) would throw a separate
    head away.
    """
    if not is_tied(model):
        model.config.tie_word_embeddings = False
    found: nn.Module = model
    return found


def keep_layers(model: nn.Module, n: int) -> None:
    """Drops, in place, all blocks of a causal model but the first n; its final norm and head stay.

    The configuration follows, so that the model, not yet wrapped by PEFT, can be saved and loaded as it is.

    Raises:
        ConfigError: The model is an encoder-decoder, has its blocks under an unknown name, or has fewer than n.
    """
    config: Any = model.config
    body: Any = model.base_model
    name = next((name for name in STACKS if isinstance(getattr(body, name, None), nn.ModuleList)), None)
    if config.is_encoder_decoder or name is None:
        raise ConfigError(f"model.layers: expected a causal model with a list of blocks, got {type(model).__name__}")
    blocks = getattr(body, name)
    if not 1 <= n <= len(blocks):
        raise ConfigError(f"model.layers: expected 1 to {len(blocks)}, the blocks of this backbone, got {n}")
    setattr(body, name, blocks[:n])
    config.num_hidden_layers = n
    if getattr(config, "layer_types", None):  # which blocks attend to a window only
        config.layer_types = list(config.layer_types[:n])


@contextmanager
def no_bar() -> Iterator[None]:
    """Keeps the bar of transformers off stderr, where it appears even without a terminal."""
    from transformers.utils import logging

    had = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if had:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
