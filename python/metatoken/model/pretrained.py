"""Pretrained models: any Hugging Face causal or encoder-decoder model, by hub name or local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metatoken.errors import ConfigError
from metatoken.model.adaptation import is_tied
from metatoken.model.presets import PRESETS
from metatoken.model.smollm2 import resolve

if TYPE_CHECKING:
    from torch import nn


def load_pretrained(name_or_path: str) -> tuple[nn.Module, Any]:
    """A pretrained model in float32 and its tokenizer, by hub name, local folder, or `smollm2-135m`.

    Raises:
        ConfigError: It cannot be loaded, or is neither causal nor encoder-decoder.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    local = Path(resolve(name_or_path)).expanduser()
    source = str(local) if local.exists() else name_or_path
    try:
        config = AutoConfig.from_pretrained(source)
        loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with _no_bar():
            model = loader.from_pretrained(source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.backbone: expected {', '.join(PRESETS)}, a folder with a Hugging Face model, or a hub name; "
            f"{name_or_path!r} cannot be loaded ({reason})"
        ) from error
    if not is_tied(model):
        # transformers 5 forces this to true for every T5, and the next `tie_weights` (a resize calls it) would throw
        # a separate head away.
        model.config.tie_word_embeddings = False
    return model, tokenizer


@contextmanager
def _no_bar() -> Iterator[None]:
    """Keeps the bar of transformers off stderr, where it appears even without a terminal."""
    from transformers.utils import logging

    had = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if had:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
